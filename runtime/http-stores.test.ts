import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "../testing/log-probe.suite.js";
import { type HttpEndpoints, serveHttp } from "./http-endpoints.js";
import { MINUTE_MS, purchase, START_MS, useQueries } from "./query-fixture.suite.js";

const instances = useQueries();
const iso = (timeMs: number): string => new Date(timeMs).toISOString();
let endpoints: HttpEndpoints;

beforeEach(async () => {
  const { streams } = await instances.running();
  endpoints = await serveHttp(streams, { port: 0 });
});
afterEach(() => endpoints.close());

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Node's own client: fetch would mend paths and headers. */
function ask(path: string, { method = "GET", body = "", headers = {} } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: endpoints.port, path, method, headers, agent: false };
    const sent = request(options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          type: String(response.headers["content-type"]),
          body: text === "" ? {} : (JSON.parse(text) as Answer["body"]),
        }),
      );
    });
    sent.on("error", reject).end(body);
  });
}

const codeOf = ({ body }: Answer): unknown => (body.error as { readonly code?: unknown } | undefined)?.code;

describe("/stores", () => {
  test("lists the stores, what they hold, and what of them is here", async () => {
    const { body } = await ask("/stores");
    expect(body.stores).toMatchObject([
      {
        name: "per-minute",
        kind: "window",
        key: "string",
        window_size_ms: MINUTE_MS,
        fields: { n: "count", cents: "sum", average: "mean" },
        partitions: [0, 1, 2],
      },
      { name: "totals", kind: "key-value", sql_columns: ["key", "n", "cents", "timestamp", "partition"] },
    ]);
    expect((await ask("/stores/totals")).body).toMatchObject({ name: "totals" });
    expect(await ask("/stores/nowhere")).toMatchObject({ status: 404, body: { error: { code: "UNKNOWN_STORE" } } });
  });

  test("a key's row; one window by its start, in ISO or milliseconds; all its windows", async () => {
    await instances.write([purchase("a/b ü", 250), purchase("a/b ü", 50, START_MS + MINUTE_MS)]);
    const key = encodeURIComponent("a/b ü");
    expect((await ask(`/stores/totals/keys/${key}`)).body).toEqual({
      key: "a/b ü",
      value: { n: 2, cents: 300 },
      timestamp: iso(START_MS + MINUTE_MS),
    });
    const row = {
      key: "a/b ü",
      window_start: iso(START_MS),
      window_end: iso(START_MS + MINUTE_MS),
      value: { n: 1, cents: 250, average: 250 },
      timestamp: iso(START_MS),
    };
    expect((await ask(`/stores/per-minute/keys/${key}?window=${START_MS}`)).body).toEqual(row);
    expect((await ask(`/stores/per-minute/keys/${key}?window=${iso(START_MS)}`)).body).toEqual(row);
    const all = await ask(`/stores/per-minute/keys/${key}`);
    expect(all.body).toMatchObject({ is_complete: true, rows: [row, { window_start: row.window_end }] });
    expect((await ask(`/stores/per-minute/keys/${key}?from=${iso(START_MS + 1)}`)).body.rows).toHaveLength(1);
    expect(codeOf(await ask("/stores/totals/keys/eve"))).toBe("ROW_NOT_FOUND");
  });

  test("rows of a range, bounded, and it says when there are more", async () => {
    const users = Array.from({ length: 30 }, (_, at) => `u${String(at).padStart(2, "0")}`);
    await instances.write(users.map((user) => purchase(user, 1)));
    const some = (await ask("/stores/totals/rows?from_key=u10&to_key=u20")).body;
    expect((some.rows as { key: string }[]).map(({ key }) => key).sort()).toEqual(users.slice(10, 20));
    expect(some).toMatchObject({ is_complete: true, partitions: [0, 1, 2] });
    expect((await ask("/stores/per-minute/rows?limit=7")).body).toMatchObject({ is_complete: false });
    expect((await ask(`/stores/per-minute/rows?to=${START_MS}`)).body.rows).toEqual([]);
  });

  test.each([
    ["/stores/per-minute/keys/a?window=yesterday", "BAD_TIME"],
    ["/stores/per-minute/rows?from=1e400", "BAD_TIME"],
    ["/stores/totals/rows?limit=0", "BAD_LIMIT"],
    ["/stores/totals/rows?limit=10001", "BAD_LIMIT"],
    ["/stores/totals/rows?limit=-1", "BAD_LIMIT"],
    ["/sql?q=select+1&limit=x", "BAD_LIMIT"],
  ])("%s is %s", async (path, code) => {
    expect(await ask(path)).toMatchObject({ status: 400, body: { error: { code } } });
  });
});

describe("/sql", () => {
  test("by q, and by a body with parameters", async () => {
    await instances.write([purchase("ann", 250), purchase("bob", 7)]);
    const q = encodeURIComponent("select key, cents from totals order by key");
    expect((await ask(`/sql?q=${q}`)).body).toEqual({
      columns: ["key", "cents"],
      rows: [
        { key: "ann", cents: 250 },
        { key: "bob", cents: 7 },
      ],
      is_complete: true,
    });
    const post = (body: unknown) => ask("/sql", { method: "POST", body: JSON.stringify(body) });
    const one = await post({ sql: "select cents from totals where key = ?", parameters: ["bob"] });
    expect(one.body.rows).toEqual([{ cents: 7 }]);
    expect(codeOf(await post({ sql: "drop table totals" }))).toBe("QUERY_REFUSED");
    expect(codeOf(await post({ sql: "select" }))).toBe("QUERY_INVALID");
    expect(codeOf(await post([]))).toBe("BAD_BODY");
    expect(codeOf(await post({ sql: "select 1", parameters: "x" }))).toBe("BAD_BODY");
    expect((await post({ sql: "select x'0102' b, 9223372036854775807 n" })).body.rows).toEqual([
      { b: "AQI=", n: "9223372036854775807" },
    ]);
  });
});

describe("fuzz", () => {
  const files = (): Map<string, string> => {
    const folder = join(instances.stateDir, "1", "app");
    return new Map(
      readdirSync(folder)
        .filter((name) => !name.endsWith("-shm") && !name.startsWith("lock.db"))
        .map((name) => [
          name,
          createHash("sha256")
            .update(readFileSync(join(folder, name)))
            .digest("hex"),
        ]),
    );
  };

  test("whatever is asked, the answer is JSON with a code, no file is told of, and the state keeps its bytes", async () => {
    await instances.write([purchase("ann", 250)]);
    const before = files();
    const part = fc.oneof(
      fc.constantFrom(
        ...[
          "stores",
          "sql",
          "totals",
          "per-minute",
          "keys",
          "rows",
          "owner",
          "ann",
          "..",
          ".",
          "%2e%2e",
          "..%2f..%2f",
          "%00",
        ],
        ...["etc", "passwd", "%252e", "%c0%af", "%", "", "constructor", "__proto__", "a".repeat(2_000), "%F0%9F%92%A9"],
      ),
      fc.string({ maxLength: 8, unit: "grapheme" }).map((text) => encodeURIComponent(text)),
    );
    const name = fc.constantFrom("q", "limit", "window", "from", "to", "from_key", "to_key", "__proto__", "x");
    const text = fc.oneof(
      fc.constantFrom(
        "select 1",
        "select * from totals",
        "attach '/tmp/x' as y",
        "-1",
        "0",
        "1e9",
        "NaN",
        "9".repeat(400),
        "",
      ),
      fc.string({ maxLength: 12, unit: "grapheme" }),
    );
    const query = fc.array(fc.tuple(name, text), { maxLength: 4 });
    const asked = fc.record({
      method: fc.constantFrom("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"),
      path: fc.array(part, { maxLength: 6 }).map((parts) => `/${parts.join("/")}`),
      query,
      body: fc.oneof(fc.json(), fc.string({ maxLength: 30 })),
    });
    const statuses = new Set<number>();
    await fc.assert(
      fc.asyncProperty(asked, async ({ method, path, query: pairs, body }) => {
        const search = new URLSearchParams(pairs).toString();
        const answer = await ask(search === "" ? path : `${path}?${search}`, {
          method,
          body: method === "POST" ? body : "",
        });
        statuses.add(answer.status);
        expect([200, 400, 404, 405, 413]).toContain(answer.status);
        expect(answer.type).toBe("application/json; charset=utf-8");
        if (answer.status !== 200 && method !== "HEAD") expect(codeOf(answer)).toMatch(/^[A-Z_]+$/);
        expect(JSON.stringify(answer.body)).not.toMatch(/root:|millrace-queries-|\.db\b/);
      }),
      {
        numRuns: 600,
        examples: [
          [{ method: "GET", path: "/stores/..%2f..%2f..%2fetc%2fpasswd", query: [], body: "" }],
          [{ method: "GET", path: "/sql", query: [["q", "select file from pragma_database_list"]], body: "" }],
          [{ method: "GET", path: "/stores/totals/keys/ann", query: [], body: "" }],
        ],
      },
    );
    expect([...statuses]).toEqual(expect.arrayContaining([200, 400, 404, 405]));
    expect(files()).toEqual(before);
    expect((await ask("/healthz")).status).toBe(200);
  }, 120_000);

  test("whatever comes over the socket, the server answers the next request", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, isHttp) => {
        await new Promise<void>((resolve, reject) => {
          const socket = connect(endpoints.port, "127.0.0.1", () => {
            if (isHttp) socket.write("POST /sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300\r\n");
            socket.write(bytes);
            socket.end();
          });
          socket.on("close", () => resolve()).on("data", () => undefined);
          socket.on("error", (error: NodeJS.ErrnoException) =>
            error.code === "ECONNRESET" ? resolve() : reject(error),
          );
        });
      }),
      { numRuns: 200 },
    );
    expect((await ask("/healthz")).status).toBe(200);
  }, 120_000);
});

describe("two instances", () => {
  test("a question about a key is answered by whoever has it, whichever is asked", async () => {
    const first = instances.create({ instance: "2", applicationServer: "http://127.0.0.1:1" });
    const other = await serveHttp(first.streams, { port: 0 });
    await endpoints.close();
    const [one] = instances.opened;
    await one?.close();
    const restarted = instances.create();
    endpoints = await serveHttp(restarted.streams, { port: 0 });
    const addresses = [endpoints, other].map(({ port }) => `http://127.0.0.1:${port}`);
    await restarted.streams.start({ applicationServer: addresses[0] });
    await first.streams.start();
    await eventually("both run", () =>
      [restarted, first].every(({ streams }) => streams.state === "RUNNING" && streams.status.tasks.length > 0),
    );
    const users = Array.from({ length: 20 }, (_, at) => `u${at}`);
    await instances.write(users.map((user, at) => purchase(user, at)));
    let unreachable = 0;
    for (const [at, user] of users.entries()) {
      const owner = (await ask(`/stores/totals/keys/${user}/owner`)).body;
      // From the second one, which knows the address of the first.
      const answer = await fetch(`${addresses[1]}/stores/totals/keys/${user}`);
      expect(await answer.json()).toMatchObject({ key: user, value: { cents: at } });
      expect(answer.headers.get("x-millrace-instance")).toBe(owner.is_here === true ? addresses[0] : null);
      if (owner.is_here === true) continue;
      // From the first one: where the second says it can be asked nobody listens.
      unreachable++;
      expect(owner.instance).toBe("http://127.0.0.1:1");
      expect(await ask(`/stores/totals/keys/${user}`)).toMatchObject({
        status: 502,
        body: { error: { code: "OWNER_UNREACHABLE" } },
      });
      // Passed on once already, it is not passed on again.
      const again = await ask(`/stores/totals/keys/${user}`, { headers: { "x-millrace-forwarded": "1" } });
      expect(again).toMatchObject({ status: 503, body: { error: { code: "STORE_MOVED" } } });
    }
    expect(unreachable).toBeGreaterThan(0);
    expect(unreachable).toBeLessThan(users.length);
    await other.close();
  });
});
