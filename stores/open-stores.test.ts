import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { int64, type Serde } from "../serdes/serde.js";
import { InvariantError } from "../topology/errors.js";
import type { StoreSpec } from "../topology/state-store.js";
import { CorruptStateError, stateError, UnusableStateError } from "./errors.js";
import { openTaskState } from "./open-stores.js";
import { isStateFileOpen, wipeStateFile } from "./sqlite-database.js";
import { StateReader } from "./state-reader.js";
import { storeSuite } from "./store.suite.js";
import { checkpointAt, commit, keyValueSpec, table, total, windowSpec, windows } from "./store-fixtures.suite.js";

const directory = mkdtempSync(join(tmpdir(), "millrace-stores-"));
afterAll(() => rmSync(directory, { recursive: true }));
let files = 0;
const makeFile = (): string => join(directory, `task-${files++}.db`);

storeSuite("in memory", { make: () => ":memory:", remove: () => undefined, durable: false });
const inFile = { make: makeFile, remove: (file: string) => wipeStateFile(file), durable: true };
storeSuite("in a file", inFile);
storeSuite("in a file, rows by start", { ...inFile, advanceMs: 30_000 });

const stores = [windowSpec(), keyValueSpec()];
let file: string;
beforeEach(() => {
  file = makeFile();
});

/** A file with 2,000 rows in each store, closed cleanly. */
function fill(): void {
  const state = openTaskState({ file, stores });
  for (let i = 0; i < 2_000; i++) {
    table(state).put(`user-${i}`, { sum: i }, i);
    windows(state).put(`user-${i}`, (i % 4) * 30_000, { sum: i }, i);
  }
  commit(state, 1);
  state.close();
}

/** As after a SIGKILL: the file and its log, as they are while the state is open. */
function copyOf(source: string): string {
  const copy = makeFile();
  for (const suffix of ["", "-wal"]) if (existsSync(source + suffix)) copyFileSync(source + suffix, copy + suffix);
  return copy;
}

/** 2,000 rows in four windows, the tables by key, and no note of that. */
function formatTwo(): string {
  fill();
  const raw = new Database(file);
  raw.exec("ALTER TABLE millrace_segments DROP COLUMN by_start");
  raw.pragma("user_version = 2");
  raw.close();
  return file;
}

function overwrite(path: string, page: number): void {
  const bytes = readFileSync(path);
  bytes.fill(0xa5, page * 8_192, (page + 1) * 8_192);
  writeFileSync(path, bytes);
}

function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("a state file opened again", () => {
  test("has the rows, the checkpoint, the cuts, the newest window and the expiry of the last apply", () => {
    const state = openTaskState({ file, stores });
    windows(state).put("ann", 0, { sum: 1 }, 1);
    windows(state).put("ann", 60_000, { sum: 2 }, 2);
    table(state).put("ann", { sum: 3 }, 3);
    commit(state, 1, 100);
    windows(state).expire(60_000);
    commit(state, 2, 200);
    table(state).put("bob", { sum: 4 }, 4);
    state.close();
    const again = openTaskState({ file, stores });

    expect([...table(again).all()]).toEqual([["ann", { value: { sum: 3 }, timestampMs: 3 }]]);
    expect([...windows(again).range(0, 100_000)]).toEqual([["ann", 60_000, { value: { sum: 2 }, timestampMs: 2 }]]);
    expect(again.checkpoint()).toEqual(checkpointAt(2, { spend: 300, users: 300 }));
    expect(again.changelogCuts()).toEqual({ spend: 100 });
    expect(again.newestWindowStartMs("spend")).toBe(60_000);
    windows(again).put("ann", 0, { sum: 9 }, 9);
    expect(windows(again).get("ann", 0)).toBeUndefined();
    again.close();
  });

  test("without a close has what was applied and nothing of what was only taken", () => {
    const state = openTaskState({ file, stores });
    table(state).put("ann", { sum: 1 }, 1);
    commit(state, 1);
    table(state).put("ann", { sum: 2 }, 2);
    state.take();
    const crashed = openTaskState({ file: copyOf(file), stores });
    state.close();

    expect(table(crashed).get("ann")?.value).toEqual({ sum: 1 });
    expect(crashed.checkpoint()?.commitNumber).toBe(1);
    crashed.close();
  });

  test("finds its stores by name, in whatever order they are given", () => {
    fill();
    const again = openTaskState({ file, stores: [...stores].reverse() });
    expect(table(again).get("user-7")?.value).toEqual({ sum: 7 });
    expect(windows(again).get("user-7", 90_000)?.value).toEqual({ sum: 7 });
    again.close();
  });

  test("keeps stores apart whose names differ in case only", () => {
    const state = openTaskState({ file, stores: [keyValueSpec("a"), keyValueSpec("A")] });
    table(state, "a").put("x", { sum: 1 }, 1);
    table(state, "A").put("x", { sum: 2 }, 1);
    commit(state, 1);
    state.close();
    const again = openTaskState({ file, stores: [keyValueSpec("a"), keyValueSpec("A")] });
    expect([table(again, "a").get("x")?.value.sum, table(again, "A").get("x")?.value.sum]).toEqual([1, 2]);
    again.close();
  });

  test("is refused while this process has it open, and free after the close", () => {
    const state = openTaskState({ file, stores });
    expect(isStateFileOpen(file)).toBe(true);
    expect(() => openTaskState({ file, stores })).toThrow(InvariantError);
    expect(() => wipeStateFile(file)).toThrow(InvariantError);
    state.close();
    expect(isStateFileOpen(file)).toBe(false);
    openTaskState({ file, stores }).close();
  });

  test("is free again after an open that failed", () => {
    fill();
    expect(() => openTaskState({ file, stores: [keyValueSpec("spend")] })).toThrow(UnusableStateError);
    expect(isStateFileOpen(file)).toBe(false);
    openTaskState({ file, stores }).close();
  });

  test("is gone with all that SQLite kept beside it after a wipe, and is not read after a close", () => {
    fill();
    const state = openTaskState({ file, stores });
    state.wipe();
    expect([file, `${file}-wal`, `${file}-shm`].filter((path) => existsSync(path))).toEqual([]);
    expect(() => table(state).get("somebody")).toThrow(/after it was closed/);
  });

  test("does not grow with the windows that came and went", () => {
    const state = openTaskState({ file, stores });
    const grow = (from: number, to: number): number => {
      for (let window = from; window < to; window++) {
        for (let i = 0; i < 200; i++) windows(state).put(`user-${i}`, window * 30_000, { sum: i }, 1);
        windows(state).expire(window * 30_000 - 120_000);
        commit(state, window + 1);
      }
      return statSync(file).size + statSync(`${file}-wal`).size;
    };
    // SQLite moves its log into the file whenever it has 256 pages: the first 150 windows are past that.
    const early = grow(0, 150);
    expect(early).toBeGreaterThan(256 * 8_192);
    expect(grow(150, 450)).toBeLessThan(early * 1.1);
    state.close();
  });

  test("has a longer log while it is restored, which the first commits give back", () => {
    const state = openTaskState({ file, stores });
    const logBytes = (): number => statSync(`${file}-wal`).size;
    const slice = (at: number) =>
      Array.from({ length: 2_000 }, (_, i) => {
        const offset = at * 2_000 + i;
        return { key: Buffer.from(`user-${offset}`), value: Buffer.from('{"sum":1}'), timestampMs: offset, offset };
      });
    for (let at = 0; at < 40; at++) state.restore("users", slice(at), (at + 1) * 2_000);
    expect(logBytes()).toBeGreaterThan(2 * 256 * 8_192);
    expect(logBytes()).toBeLessThan(2_200 * 8_192);

    // The first one moves the log into the file, the next one begins it anew.
    for (let number = 1; number <= 2; number++) {
      table(state).put("ann", { sum: number }, 1);
      commit(state, number);
    }
    expect(logBytes()).toBeLessThanOrEqual(256 * 8_192);
    state.close();
  });
});

describe("a damaged state file is one to wipe and restore", () => {
  const expectCorrupt = (work: () => unknown): void => {
    const error = errorOf(work);
    expect(error).toBeInstanceOf(CorruptStateError);
    expect(String(error)).toContain("wiped and restored");
  };

  test("when it is no SQLite file", () => {
    writeFileSync(file, "hello, this is not a database ".repeat(1_000));
    expectCorrupt(() => openTaskState({ file, stores }));
    wipeStateFile(file);
    openTaskState({ file, stores }).close();
  });

  test("when it was cut short", () => {
    fill();
    truncateSync(file, 3 * 8_192 + 100);
    expectCorrupt(() => openTaskState({ file, stores }));
  });

  test("when a page was overwritten and it was not closed: found at the open", () => {
    fill();
    const state = openTaskState({ file, stores });
    const crashed = copyOf(file);
    state.close();
    overwrite(crashed, 6);
    expectCorrupt(() => openTaskState({ file: crashed, stores }));
  });

  test("when a page was overwritten after a clean close: found by the read, and every later use is refused", () => {
    fill();
    const raw = new Database(file, { readonly: true });
    const { rootpage } = raw.prepare("SELECT rootpage FROM sqlite_master WHERE name = 'rows_2'").get() as {
      rootpage: number;
    };
    raw.close();
    overwrite(file, rootpage - 1);
    const state = openTaskState({ file, stores });
    expectCorrupt(() => [...table(state).all()]);
    expectCorrupt(() => table(state).get("user-1"));
    state.wipe();
    expect(existsSync(file)).toBe(false);
  });

  test("when its own tables are missing, or its checkpoint is torn", () => {
    fill();
    const raw = new Database(file);
    raw.exec("UPDATE millrace_task SET checkpoint = '{'");
    expectCorrupt(() => openTaskState({ file, stores }));
    raw.exec("DROP TABLE millrace_segments");
    expectCorrupt(() => openTaskState({ file, stores }));
    raw.close();
  });
});

describe("a state file of an older format", () => {
  test("the first one is made into one of now, rows and checkpoint as they were", () => {
    fill();
    const raw = new Database(file);
    raw.exec("ALTER TABLE millrace_segments DROP COLUMN by_start");
    raw.exec("ALTER TABLE millrace_task DROP COLUMN topology");
    // The first format noted no fields.
    raw.exec("UPDATE millrace_stores SET definition = json_remove(definition, '$.fields')");
    raw.pragma("user_version = 1");
    raw.close();

    const state = openTaskState({ file, stores, topology: "hash" });
    expect(state.checkpoint()).toEqual(checkpointAt(1, { spend: 200, users: 200 }));
    expect(table(state).get("user-7")?.value).toEqual({ sum: 7 });
    state.close();
    const migrated = new Database(file, { readonly: true });
    expect(migrated.pragma("user_version", { simple: true })).toBe(3);
    expect(migrated.prepare("SELECT topology FROM millrace_task").pluck().get()).toBe("hash");
    migrated.close();
  });

  test("the second one keeps its segments by key until they expire, and begins new ones by start", () => {
    const file2 = formatTwo();
    const byStart = [windowSpec("spend", 120_000, 30_000), keyValueSpec()];
    const state = openTaskState({ file: file2, stores: byStart });
    windows(state).put("user-0", 30_000, { sum: -1 }, 1);
    windows(state).put("user-0", 120_000, { sum: -2 }, 2);
    windows(state).put("user-0", 150_000, { sum: -3 }, 3);
    commit(state, 2);
    expect([...windows(state).fetch("user-0", 0, 1_000_000)].map(([startMs, row]) => [startMs, row.value.sum])).toEqual(
      [
        [0, 0],
        [30_000, -1],
        [120_000, -2],
        [150_000, -3],
      ],
    );
    expect([...windows(state).range(0, 1_000_000)]).toHaveLength(2_003);
    const raw = new Database(file2, { readonly: true });
    const orders = raw.prepare("SELECT segment, by_start FROM millrace_segments ORDER BY segment").raw().all();
    expect(orders).toEqual([
      [0, 0],
      [1, 0],
      [2, 1],
    ]);
    raw.close();
    windows(state).expire(120_000);
    commit(state, 3);
    expect([...windows(state).range(0, 1_000_000)].map(([, startMs]) => startMs)).toEqual([120_000, 150_000]);
    state.close();
  });

  test("the second one is read as it is by who may not write", () => {
    const reader = StateReader.open(formatTwo());
    expect(reader?.get("spend", Buffer.from("user-2"), 60_000)?.timestampMs).toBe(2);
    expect([...(reader?.scan("spend", { key: Buffer.from("user-2") }) ?? [])].map(({ startMs }) => startMs)).toEqual([
      60_000,
    ]);
    reader?.close();
  });

  test("one that no release made any more is wiped and restored", () => {
    fill();
    const raw = new Database(file);
    raw.pragma("user_version = 0");
    raw.close();
    expect(errorOf(() => openTaskState({ file, stores }))).toBeInstanceOf(CorruptStateError);
  });
});

describe("a state file that is not for us is refused and left as it is", () => {
  const refusal = (specs = stores): UnusableStateError => {
    const error = errorOf(() => openTaskState({ file, stores: specs }));
    expect(error).toBeInstanceOf(UnusableStateError);
    return error as UnusableStateError;
  };

  test("a database of another program", () => {
    const raw = new Database(file);
    raw.exec("CREATE TABLE theirs (x)");
    raw.close();
    const before = readFileSync(file);

    expect(refusal()).toMatchObject({ code: "STATE_FILE_FOREIGN" });
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  test("a newer format", () => {
    fill();
    const raw = new Database(file);
    raw.pragma("user_version = 4");
    raw.close();
    expect(refusal()).toMatchObject({ code: "STATE_FORMAT_NEWER" });
  });

  test("stores that are not what they were, with what changed and the ways out", () => {
    fill();
    const error = refusal([windowSpec("spend", 240_000), keyValueSpec("users", int64 as Serde<unknown>)]);
    expect(error.code).toBe("STATE_DEFINITION_CHANGED");
    expect(error.message).toContain(`store "spend" is not the one in ${file}: retentionMs was 120000 and is 240000`);
    expect(error.message).toMatch(/new name.*state directories/);
    expect(refusal([keyValueSpec("users", int64 as Serde<unknown>)]).message).toContain("key was string and is int64");
  });

  test("a field of an aggregate added is taken, and noted: the next change is one to that", () => {
    const withFields = (...names: string[]): StoreSpec => ({
      ...keyValueSpec(),
      fields: Object.fromEntries(names.map((name) => [name, "count"])),
    });
    openTaskState({ file, stores: [withFields("n")] }).close();
    openTaskState({ file, stores: [withFields("n", "m")] }).close();
    expect(refusal([{ ...withFields("n"), fields: { n: "count", m: "sum" } }]).message).toContain(
      "field m was count and is sum",
    );
  });

  test("a file in a directory that is not there", () => {
    file = join(directory, "nowhere", "task.db");
    expect(refusal()).toMatchObject({ code: "STATE_FILE_UNUSABLE" });
  });

  test("one that another program writes to: the commit stops, and the file keeps the commit before", () => {
    fill();
    const state = openTaskState({ file, stores });
    table(state).put("ann", { sum: 1 }, 1);
    state.take();
    const lock = new Database(file);
    lock.exec("BEGIN IMMEDIATE");
    const error = errorOf(() => state.apply(checkpointAt(2), { users: 0 }));
    lock.close();
    state.close();

    expect(error).toMatchObject({ code: "STATE_FILE_UNUSABLE" });
    const again = openTaskState({ file, stores });
    expect(again.checkpoint()?.commitNumber).toBe(1);
    again.close();
  });

  test("a full disk and a read-only file say what to do", () => {
    const raw = new Database(file);
    raw.exec("CREATE TABLE t (x)");
    raw.pragma("max_page_count = 3");
    const full = errorOf(() => raw.exec("INSERT INTO t SELECT randomblob(100000)"));
    raw.close();
    const readOnly = new Database(file, { readonly: true });
    const refused = errorOf(() => readOnly.exec("DROP TABLE t"));
    readOnly.close();

    expect(stateError(full, file)).toMatchObject({
      code: "STATE_DISK_FULL",
      message: expect.stringContaining("make room"),
    });
    expect(stateError(refused, file)).toMatchObject({
      code: "STATE_READ_ONLY",
      message: expect.stringContaining(file),
    });
    expect(stateError(new Error("other"), file)).toEqual(new Error("other"));
  });
});

test("a row of counts and sums is not read again from the bytes that it was frozen into; one of another aggregator is", () => {
  const reads = { pure: 0, other: 0 };
  const spec = (name: "pure" | "other", fields: Readonly<Record<string, string>>): StoreSpec => ({
    ...keyValueSpec(name),
    fields,
    value: {
      ...total,
      deserialize: (bytes: Uint8Array) => {
        reads[name]++;
        return total.deserialize(bytes);
      },
    } as Serde<unknown>,
  });
  const stores = [spec("pure", { sum: "sum" }), spec("other", { sum: "sum", all: "custom" })];
  const state = openTaskState({ file: ":memory:", stores });
  for (const name of ["pure", "other"]) table(state, name).put("ann", { sum: 1 }, 1);
  state.take();
  state.confirm(checkpointAt(1), { pure: 0, other: 0 });
  for (const name of ["pure", "other"]) expect(table(state, name).get("ann")?.value).toEqual({ sum: 1 });
  state.close();

  expect(reads).toEqual({ pure: 0, other: 1 });
});
