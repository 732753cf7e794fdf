import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MINUTE_MS, purchase, START_MS, useQueries } from "./query-fixture.suite.js";

/** More than SQLite lets one attach. */
const PARTITIONS = 13;
const instances = useQueries(PARTITIONS);
const users = Array.from({ length: 40 }, (_, at) => `user-${String(at).padStart(2, "0")}`);
const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    (result) => result,
    (error: { readonly code?: unknown }) => error.code ?? error,
  );

async function withPurchases() {
  const made = await instances.running();
  await instances.write(users.flatMap((user, at) => [purchase(user, at), purchase(user, 100, START_MS + MINUTE_MS)]));
  return made;
}

describe("stores are tables", () => {
  test("a windowed aggregate has key, window and a column for each field, over all partitions", async () => {
    const { streams } = await withPurchases();
    const { columns, rows, isComplete } = await streams.sql(
      `select * from "per-minute" where key = 'user-07' order by window_start`,
    );
    expect(columns).toEqual(["key", "window_start", "window_end", "n", "cents", "average", "timestamp", "partition"]);
    const iso = (timeMs: number): string => new Date(timeMs).toISOString();
    const window = (startMs: number) => ({ window_start: iso(startMs), window_end: iso(startMs + MINUTE_MS) });
    expect(rows).toMatchObject([
      { key: "user-07", ...window(START_MS), n: 1, cents: 7, average: 7, timestamp: iso(START_MS) },
      { key: "user-07", ...window(START_MS + MINUTE_MS), n: 1, cents: 100, average: 100 },
    ]);
    expect(isComplete).toBe(true);
    const sums = await streams.sql("select count(*) n, sum(cents) cents, count(distinct partition) p from totals");
    expect(sums.rows[0]).toMatchObject({ n: 40, cents: 40 * 100 + (39 * 40) / 2 });
    expect(sums.rows[0]?.p).toBeGreaterThan(10);
  });

  test("joins, names without quotes, parameters, and one key in brackets", async () => {
    const { streams } = await withPurchases();
    const joined = await streams.sql(
      "select t.key, sum(m.cents) = t.cents as is_same from totals t join per_minute m on m.key = t.key where t.key = ? group by t.key",
      { parameters: ["user-09"] },
    );
    expect(joined.rows).toEqual([{ key: "user-09", is_same: 1 }]);
    const named = await streams.sql("select cents from totals where key = :user", { parameters: { user: "user-01" } });
    expect(named.rows).toEqual([{ cents: 101 }]);
    expect((await streams.sql("select cents from totals('user-02')")).rows).toEqual([{ cents: 102 }]);
  });

  test("a whole number beyond 32 bits stays one", async () => {
    const { streams } = await instances.running();
    await instances.write([purchase("ann", 9_007_199_254_740_991)]);
    const { rows } = await streams.sql("select cents, typeof(cents) type, 9223372036854775807 big from totals");
    expect(rows).toEqual([{ cents: 9_007_199_254_740_991, type: "integer", big: 9_223_372_036_854_775_807n }]);
  });
});

describe("limits", () => {
  test("no more rows than asked for, and it says so", async () => {
    const { streams } = await withPurchases();
    const some = await streams.sql("select key from totals", { rowsMax: 10 });
    expect(some).toMatchObject({ isComplete: false });
    expect(some.rows).toHaveLength(10);
    expect((await streams.sql("select key from totals", { rowsMax: 40 })).isComplete).toBe(true);
    expect(await codeOf(streams.sql("select 1", { rowsMax: 10_001 }))).toBe("QUERY_REFUSED");
  });

  test("a statement without end is ended, the event loop turns meanwhile, and the next query works", async () => {
    const { streams } = await withPurchases();
    let turns = 0;
    const timer = setInterval(() => turns++, 10);
    const endless = "with recursive c(x) as (select 1 union all select x + 1 from c) select max(x) from c";
    expect(await codeOf(streams.sql(endless, { timeoutMs: 400 }))).toBe("QUERY_TIMEOUT");
    clearInterval(timer);
    expect(turns).toBeGreaterThan(10);
    expect((await streams.sql("select 1 as one")).rows).toEqual([{ one: 1 }]);
  });

  test("a statement that wants gigabytes is ended, and this process does not grow by them", async () => {
    const { streams } = await withPurchases();
    const beforeBytes = process.memoryUsage.rss();
    const large =
      "with recursive c(x) as (select 1 union all select x + 1 from c limit 4000) select sum(length(y)) from (select hex(randomblob(1000000)) y from c order by y)";
    expect(await codeOf(streams.sql(large, { timeoutMs: 30_000 }))).toBe("QUERY_TOO_LARGE");
    expect(process.memoryUsage.rss() - beforeBytes).toBeLessThan(100 * 2 ** 20);
  }, 60_000);
});

describe("what may not run", () => {
  const files = (): Map<string, string> => {
    const folder = join(instances.stateDir, "1", "app");
    return new Map(
      readdirSync(folder)
        // The index of the log is shared memory: readers mark in it how far they read.
        .filter((name) => !name.endsWith("-shm") && !name.startsWith("lock.db"))
        .map((name) => [
          name,
          createHash("sha256")
            .update(readFileSync(join(folder, name)))
            .digest("hex"),
        ]),
    );
  };

  const refused = [
    "",
    "select 1; select 2",
    "select 1; drop table totals",
    "insert into totals values (1)",
    "update totals set cents = 0",
    "delete from totals",
    "drop table totals",
    "create table t (x)",
    "create temp table t (x)",
    "with x as (select 1) insert into totals select * from x",
    "attach 'SECRET' as other",
    "/* select */ attach 'SECRET' as other",
    "select 1 union select * from other.sqlite_master",
    "detach main",
    "vacuum into 'SECRET'",
    "pragma journal_mode = delete",
    "pragma query_only = off",
    "pragma writable_schema = on",
    "explain select 1",
    "begin",
    "reindex",
    "select load_extension('SECRET')",
    "select writefile('SECRET', 'x')",
    "select readfile('/etc/passwd')",
    "select edit('x')",
    "select * from fsdir('/')",
    "select fts3_tokenizer('simple', x'41414141')",
    "create virtual table t using csv(filename = '/etc/passwd')",
    "-- select\nattach 'SECRET' as other",
  ];

  test("each is refused, and nothing is written", async () => {
    const { streams } = await withPurchases();
    const before = files();
    for (const sql of refused)
      expect([sql, await codeOf(streams.sql(sql))]).toEqual([sql, expect.stringMatching(/^QUERY_(REFUSED|INVALID)$/)]);
    expect(files()).toEqual(before);
    const list = await streams.sql("select file from pragma_database_list");
    expect(list.rows.every(({ file }) => file === "")).toBe(true);
  });

  test("fuzz: whatever is said, the files keep their bytes and no file appears", async () => {
    const { streams } = await withPurchases();
    const before = files();
    const target = join(instances.stateDir, "escaped");
    const word = fc.constantFrom(
      ...[
        "select",
        "*",
        "from",
        "totals",
        '"per-minute"',
        "where",
        "key",
        "=",
        "'",
        '"',
        "`",
        ";",
        "--",
        "/*",
        "*/",
        "(",
        ")",
      ],
      ...[
        "attach",
        "pragma",
        "vacuum",
        "into",
        "insert",
        "delete",
        "update",
        "with",
        "as",
        "union",
        "x'00'",
        "1",
        ",",
        "\\0",
      ],
      ...[
        "load_extension",
        "pragma_journal_mode('delete')",
        "sqlite_master",
        "returning",
        "\n",
        "?",
        ":a",
        "main.",
        "temp.",
      ],
      ...[
        `'${target}'`,
        `'file:${target}?mode=rwc'`,
        "values",
        "explain",
        "recursive",
        "order by",
        "limit",
        "zeroblob(9)",
      ],
    );
    const statement = fc.oneof(
      fc.array(word, { maxLength: 12 }).map((words) => words.join(" ")),
      fc.array(word, { maxLength: 8 }).map((words) => `select * from totals ${words.join(" ")}`),
      fc.string({ maxLength: 40 }),
    );
    const codes = new Set<unknown>();
    await fc.assert(
      fc.asyncProperty(statement, async (sql) => {
        const outcome = await codeOf(streams.sql(sql, { timeoutMs: 2_000 }));
        const code = typeof outcome === "object" && outcome !== null && "rows" in outcome ? "OK" : outcome;
        codes.add(code);
        expect(["OK", "QUERY_REFUSED", "QUERY_INVALID"]).toContain(code);
      }),
      { numRuns: 600 },
    );
    expect(codes).toEqual(new Set(["OK", "QUERY_REFUSED", "QUERY_INVALID"]));
    expect(files()).toEqual(before);
    expect(statSync(target, { throwIfNoEntry: false })).toBeUndefined();
    expect((await streams.sql("select count(*) n from totals")).rows).toEqual([{ n: 40 }]);
  }, 120_000);
});
