import { expect, test } from "vitest";
import { int64, type Serde, string } from "../serdes/serde.js";
import type { KeyValueStore, StoreSpec } from "../topology/state-store.js";
import { windowChangelogKey } from "./changelog.js";
import type { TaskStateOptions } from "./open-stores.js";
import {
  changesOf,
  checkpointAt,
  commit,
  keyValueSpec,
  rowCounts,
  type Total,
  table,
  total,
  windows,
} from "./store-fixtures.suite.js";
import type { TaskState } from "./task-state.js";

// Retention is 120 s, so a segment is 60 s: windows that start at 0 and 30 s share one, 60 s and 90 s the next.
export function expiryRules(state: () => TaskState): void {
  test("a segment expires when its end is not after the boundary: not earlier, and for reads at once", () => {
    const store = windows(state());
    for (const startMs of [0, 30_000, 60_000]) store.put("ann", startMs, { sum: 1 }, 1);
    commit(state(), 1);
    store.expire(59_999);
    expect([...store.fetch("ann", 0, 100_000)].map(([startMs]) => startMs)).toEqual([0, 30_000, 60_000]);
    store.expire(60_000);

    expect(store.get("ann", 30_000)).toBeUndefined();
    expect([...store.fetch("ann", 0, 100_000)].map(([startMs]) => startMs)).toEqual([60_000]);
    expect([...store.range(0, 100_000)].map(([, startMs]) => startMs)).toEqual([60_000]);
  });

  test("the rows of an expired segment are dropped with the next commit, those in the buffer with it", () => {
    const store = windows(state());
    store.put("ann", 0, { sum: 1 }, 1);
    store.put("ann", 60_000, { sum: 1 }, 1);
    commit(state(), 1);
    store.put("bob", 0, { sum: 1 }, 1);
    store.expire(60_000);
    expect(rowCounts(state()).spend).toBe(2);
    commit(state(), 2);

    expect(rowCounts(state()).spend).toBe(1);
  });

  test("rows that have expired leave the cache with the next commit, and are found as long as their segment lasts", () => {
    const store = windows(state());
    for (const startMs of [0, 30_000, 60_000]) store.put("ann", startMs, { sum: 1 }, 1);
    commit(state(), 1);
    const before = state().cachedBytes;
    store.expire(30_000);
    store.put("bob", 60_000, { sum: 1 }, 1);
    commit(state(), 2);

    expect(state().cachedBytes).toBe(before);
    expect(store.get("ann", 0)).toEqual({ value: { sum: 1 }, timestampMs: 1 });
  });

  test("a changed row that expires before it is taken stays until it is", () => {
    const store = windows(state());
    store.put("ann", 0, { sum: 1 }, 1);
    state().take();
    store.put("ann", 0, { sum: 2 }, 2);
    store.expire(30_000);
    state().apply(checkpointAt(1), { spend: 0 });
    commit(state(), 2);

    expect(store.get("ann", 0)).toEqual({ value: { sum: 2 }, timestampMs: 2 });
  });

  test("an expiry that is said while a commit is in flight belongs to the next one", () => {
    windows(state()).put("ann", 0, { sum: 1 }, 1);
    state().take();
    windows(state()).expire(60_000);
    state().apply(checkpointAt(1), { spend: 0 });
    expect(rowCounts(state()).spend).toBe(1);
    commit(state(), 2);

    expect(rowCounts(state()).spend).toBe(0);
  });

  test("a put into an expired segment is ignored, and expiry never goes back", () => {
    windows(state()).expire(60_000);
    windows(state()).expire(0);
    windows(state()).put("ann", 59_999, { sum: 1 }, 1);
    windows(state()).put("ann", 60_000, { sum: 1 }, 1);

    expect(changesOf(windows(state())).map(([, startMs]) => startMs)).toEqual([60_000]);
  });

  test("the changelog may be cut below the first write of the oldest live segment, later writes do not move it", () => {
    const store = windows(state());
    store.put("ann", 0, { sum: 1 }, 1);
    commit(state(), 1, 100);
    store.put("ann", 60_000, { sum: 1 }, 1);
    commit(state(), 2, 200);
    store.put("ann", 0, { sum: 2 }, 1);
    store.put("ann", 60_000, { sum: 2 }, 1);
    commit(state(), 3, 300);
    expect(state().changelogCuts()).toEqual({ spend: 100 });
    store.expire(60_000);
    commit(state(), 4, 400);
    expect(state().changelogCuts()).toEqual({ spend: 200 });
    store.expire(120_000);
    commit(state(), 5, 500);

    expect(state().changelogCuts()).toEqual({ spend: 600 });
  });

  test("a late window makes its segment anew, with a first write of its own", () => {
    windows(state()).put("ann", 60_000, { sum: 1 }, 1);
    commit(state(), 1, 100);
    windows(state()).put("ann", 0, { sum: 1 }, 1);
    commit(state(), 2, 200);
    expect(state().changelogCuts()).toEqual({ spend: 100 });
  });

  test("no cut is known before anything was written", () => {
    expect(state().changelogCuts()).toEqual({});
  });
}

export function restoreRules(state: () => TaskState): void {
  const record = (key: Buffer | null, sum: number | null, offset: number) => ({
    key,
    value: sum === null ? null : Buffer.from(JSON.stringify({ sum })),
    timestampMs: offset + 1,
    offset,
  });

  test("changelog records are upserts and deletes, a record without a key is nobody's", () => {
    const first = [record(Buffer.from("ann"), 1, 0), record(Buffer.from("bob"), 2, 1), record(null, 3, 2)];
    state().restore("users", first, 4);
    state().restore("users", [record(Buffer.from("ann"), null, 4), record(Buffer.from("bob"), 5, 6)], 9);

    expect([...table(state()).all()]).toEqual([["bob", { value: { sum: 5 }, timestampMs: 7 }]]);
  });

  test("of a row that comes several times in a batch the last value stands, and the segment begins at the first", () => {
    const ann = windowChangelogKey(Buffer.from("ann"), 60_000);
    const bob = windowChangelogKey(Buffer.from("bob"), 60_000);
    const batch = [record(ann, 1, 7), record(bob, 2, 8), record(ann, null, 9), record(ann, 3, 10), record(bob, 4, 11)];
    state().restore("spend", batch, 12);
    expect([...windows(state()).range(0, 1_000_000)].map(([key, , row]) => [key, row])).toEqual([
      ["ann", { value: { sum: 3 }, timestampMs: 11 }],
      ["bob", { value: { sum: 4 }, timestampMs: 12 }],
    ]);
    expect(state().changelogCuts()).toEqual({ spend: 7 });

    state().restore("users", [record(Buffer.from("ann"), 1, 0), record(Buffer.from("ann"), null, 1)], 2);
    expect([...table(state()).all()]).toEqual([]);
  });

  test("a window that was written and deleted in one batch has moved the time all the same", () => {
    const deleted = windowChangelogKey(Buffer.from("ann"), 600_000);
    const old = windowChangelogKey(Buffer.from("ann"), 0);
    state().restore("spend", [record(deleted, 1, 0), record(old, 2, 1), record(deleted, null, 2)], 3);
    expect(state().newestWindowStartMs("spend")).toBe(600_000);
    expect([...windows(state()).range(0, 1_000_000)]).toEqual([]);
  });

  test("restoring moves the store's changelog offset alone, also past records that are no more", () => {
    commit(state(), 3, 0);
    const before = state().checkpoint();
    state().restore("users", [], 1_000);

    expect(state().checkpoint()).toMatchObject({
      ...before,
      changelogOffsets: { spend: 100, users: 1_000 },
      wallClockMs: expect.any(Number),
    });
  });

  test("rows of later commits take away the source offsets: going on from those would count twice (protocol 15)", () => {
    commit(state(), 3, 0);
    expect(state().checkpoint()?.sourceOffsets).not.toEqual([]);
    state().restore("users", [record(Buffer.from("ann"), 1, 1_000)], 1_001, { changelog: "id-1" });

    expect(state().checkpoint()).toMatchObject({ sourceOffsets: [], topicIds: { changelog: "id-1" } });
  });

  test("a row that was read before is read anew after a restore", () => {
    expect(table(state()).get("ann")).toBeUndefined();
    state().restore("users", [record(Buffer.from("ann"), 1, 0)], 1);
    expect(table(state()).get("ann")?.value).toEqual({ sum: 1 });
  });

  test("records restored in views of a larger buffer keep their own bytes", () => {
    const shared = Buffer.from('ann{"sum":4}');
    state().restore(
      "users",
      [
        {
          key: shared.subarray(0, 3),
          value: new Uint8Array(shared.buffer, shared.byteOffset + 3, 9),
          timestampMs: 1,
          offset: 0,
        },
      ],
      1,
    );
    shared.fill(0);
    expect([...table(state()).all()]).toEqual([["ann", { value: { sum: 4 }, timestampMs: 1 }]]);
  });

  test("a long changelog expires while it is restored: rows older than newest minus retention do not stay", () => {
    const records = Array.from({ length: 1_000 }, (_, i) =>
      record(windowChangelogKey(Buffer.from("ann"), i * 30_000), i, i),
    );
    state().restore("spend", records.slice(0, 500), 500);
    state().restore("spend", records.slice(500), 1_000);

    // Newest 29,970,000; live from 29,850,000, in the segment from 29,820,000: six windows.
    expect(rowCounts(state()).spend).toBe(6);
    expect(state().newestWindowStartMs("spend")).toBe(29_970_000);
    expect(state().changelogCuts()).toEqual({ spend: 994 });
  });

  test("an old record behind a new one is not brought back to life", () => {
    const key = Buffer.from("ann");
    state().restore(
      "spend",
      [record(windowChangelogKey(key, 600_000), 1, 0), record(windowChangelogKey(key, 0), 2, 1)],
      2,
    );

    expect([...windows(state()).range(0, 1_000_000)].map(([, startMs]) => startMs)).toEqual([600_000]);
  });

  test("a key that is too short for a window names store and offset", () => {
    expect(() => state().restore("spend", [record(Buffer.from("short"), 1, 42)], 43)).toThrow(
      /window store "spend".*5 bytes at offset 42/,
    );
  });

  test("a restored store with changes of its own is a mistake of the engine", () => {
    table(state()).put("ann", { sum: 1 }, 1);
    expect(() => state().restore("users", [], 1)).toThrow(/holds changes/);
  });

  test("the newest window is that of the file: undefined at first, and for a store without windows", () => {
    windows(state()).put("ann", 90_000, { sum: 1 }, 1);
    expect(state().newestWindowStartMs("spend")).toBeUndefined();
    commit(state(), 1);
    expect(state().newestWindowStartMs("spend")).toBe(90_000);
    expect(state().newestWindowStartMs("users")).toBeUndefined();
  });
}

export function keyRules(open: (options: Partial<TaskStateOptions>) => TaskState): void {
  const inMemory = (spec: StoreSpec): TaskState => open({ file: ":memory:", stores: [spec] });

  test("the smallest cache forgets no row that SQLite does not have yet", () => {
    const state = open({ file: ":memory:", stores: [keyValueSpec()], cacheBytesMax: 0 });
    table(state).put("ann", { sum: 1 }, 1);
    state.take();
    table(state).put("bob", { sum: 2 }, 1);
    for (let i = 0; i < 20; i++) table(state).get(`user-${i}`);

    expect([table(state).get("ann")?.value.sum, table(state).get("bob")?.value.sum]).toEqual([1, 2]);
  });

  // The row asked for last is at hand without a lookup, while others of its window keep that alive.
  test("a row that the cache forgot is not changed where nobody finds it", () => {
    const state = open({ file: ":memory:", stores: [keyValueSpec()], cacheBytesMax: 0 });
    table(state).put("ann", { sum: 1 }, 1);
    state.take();
    table(state).put("bob", { sum: 1 }, 1);
    table(state).get("ann");
    state.apply(checkpointAt(1), { users: 0 });
    table(state).put("ann", { sum: 2 }, 2);
    table(state).get("bob");

    expect(table(state).get("ann")?.value).toEqual({ sum: 2 });
  });

  test("keys that are no strings are one key when their bytes are", () => {
    const state = inMemory(keyValueSpec("users", int64 as Serde<unknown>));
    const store = state.store("users") as KeyValueStore<number, Total>;
    store.put(1, { sum: 1 }, 1);
    store.put(256, { sum: 2 }, 1);
    expect(store.get(1)?.value).toEqual({ sum: 1 });
    commit(state, 1);
    store.put(2, { sum: 3 }, 1);

    expect([...store.all()].map(([key, row]) => [key, row.value.sum])).toEqual([
      [1, 1],
      [2, 3],
      [256, 2],
    ]);
  });

  test("strings that UTF-8 writes alike are one key", () => {
    const state = inMemory(keyValueSpec());
    table(state).put("\ud800", { sum: 1 }, 1);
    table(state).put("\udc00", { sum: 2 }, 1);

    expect(table(state).get("\ufffd")?.value).toEqual({ sum: 2 });
    expect(state.take()[0]?.rows).toHaveLength(1);
  });

  test("strings are told apart by their bytes behind a serde that folds them", () => {
    const folded: Serde<string> = { ...string, name: "folded", serialize: (text) => Buffer.from(text.toLowerCase()) };
    const state = inMemory(keyValueSpec("users", folded as Serde<unknown>));
    table(state).put("Ann", { sum: 1 }, 1);

    expect(table(state).get("ann")?.value).toEqual({ sum: 1 });
  });

  test("what the stored bytes no longer mean is told with store, key and serde", () => {
    const strict: Serde<Total> = {
      ...total,
      deserialize: () => {
        throw new TypeError("not my bytes");
      },
    };
    const state = inMemory({ ...keyValueSpec(), value: strict as Serde<unknown> });
    state.restore("users", [{ key: Buffer.from("ann"), value: Buffer.from("{}"), timestampMs: 1, offset: 0 }], 1);
    expect(() => table(state).get("ann")).toThrow(/store "users", key "ann": serde "total" cannot read.*not my bytes/);
  });
}
