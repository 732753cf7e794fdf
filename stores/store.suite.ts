import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openTaskState, type TaskStateOptions } from "./open-stores.js";
import {
  changesOf,
  checkpointAt,
  commit,
  keyValueSpec,
  rowCounts,
  type StorePlace,
  table,
  windowSpec,
  windows,
} from "./store-fixtures.suite.js";
import { expiryRules, keyRules, restoreRules } from "./store-lasting.suite.js";
import { modelRules } from "./store-model.suite.js";
import type { TaskState } from "./task-state.js";

/** What every task state must do, wherever its rows lie. */
export function storeSuite(name: string, place: StorePlace): void {
  describe(`task state, ${name}`, () => {
    let file: string;
    let state: TaskState;
    const opened: TaskState[] = [];
    const open = (options: Partial<TaskStateOptions> = {}): TaskState => {
      state = openTaskState({
        file,
        stores: [windowSpec("spend", 120_000, place.advanceMs), keyValueSpec()],
        ...options,
      });
      opened.push(state);
      return state;
    };

    beforeEach(() => {
      file = place.make();
      open();
    });
    afterEach(() => {
      for (const each of opened.splice(0)) each.close();
      place.remove(file);
    });

    bufferRules(() => state);
    takingRules(() => state);
    readingRules(() => state);
    expiryRules(() => state);
    restoreRules(() => state);
    keyRules(open);
    modelRules(place);
  });
}

function bufferRules(state: () => TaskState): void {
  test("a read sees the write before it, as the same object", () => {
    const value = { sum: 1 };
    windows(state()).put("ann", 0, value, 5);

    expect(windows(state()).get("ann", 0)).toEqual({ value: { sum: 1 }, timestampMs: 5 });
    expect(windows(state()).get("ann", 0)?.value).toBe(value);
    expect(windows(state()).get("ann", 30_000)).toBeUndefined();
  });

  test("a record that fails takes back all its puts in every store, and nothing of the record before it", () => {
    windows(state()).put("ann", 0, { sum: 1 }, 1);
    state().keep();
    windows(state()).put("ann", 0, { sum: 2 }, 2);
    windows(state()).put("ann", 0, { sum: 3 }, 3);
    windows(state()).put("bob", 0, { sum: 4 }, 4);
    table(state()).put("ann", { sum: 5 }, 5);
    state().takeBack();

    expect(windows(state()).get("ann", 0)).toEqual({ value: { sum: 1 }, timestampMs: 1 });
    expect(windows(state()).get("bob", 0)).toBeUndefined();
    expect(table(state()).get("ann")).toBeUndefined();
    expect(changesOf(windows(state()))).toEqual([["ann", 0, { sum: 1 }, null, 1]]);
  });

  test("a taken back deletion brings the committed row back", () => {
    table(state()).put("ann", { sum: 1 }, 1);
    commit(state(), 1);
    table(state()).put("ann", null, 2);
    expect(table(state()).get("ann")).toBeUndefined();
    state().takeBack();

    expect(table(state()).get("ann")).toEqual({ value: { sum: 1 }, timestampMs: 1 });
    expect(changesOf(table(state()))).toEqual([]);
  });

  test("changes come once per row, in the order of the first change, with the row before the commit interval", () => {
    table(state()).put("ann", { sum: 1 }, 1);
    table(state()).put("dan", { sum: 9 }, 1);
    commit(state(), 1);
    table(state()).put("bob", { sum: 2 }, 2);
    table(state()).put("ann", { sum: 3 }, 3);
    table(state()).put("bob", { sum: 4 }, 4);
    table(state()).put("dan", null, 5);

    expect(changesOf(table(state()))).toEqual([
      ["bob", { sum: 4 }, null, 4],
      ["ann", { sum: 3 }, { sum: 1 }, 3],
      ["dan", null, { sum: 9 }, 5],
    ]);
  });

  test("a row that comes and goes within one commit has not changed", () => {
    table(state()).put("ann", { sum: 1 }, 1);
    table(state()).put("ann", null, 2);

    expect(changesOf(table(state()))).toEqual([]);
    expect(state().take()[1]?.rows).toHaveLength(0);
  });

  test("the buffered bytes grow with what is put, count what is in flight, and end with the commit", () => {
    expect(state().bufferedBytes).toBe(0);
    for (let i = 0; i < 100; i++) table(state()).put(`user-${i}`, { sum: i }, 1);
    expect(state().bufferedBytes).toBeGreaterThan(100 * 50);
    state().take();
    expect(state().bufferedBytes).toBeGreaterThan(100 * 50);
    state().apply(checkpointAt(1), { users: 0 });
    expect(state().bufferedBytes).toBe(0);
  });

  test("large values are counted before the first commit", () => {
    const wide = { sum: 1, text: "x".repeat(1_000_000) };
    for (let i = 0; i < 10; i++) table(state()).put(`user-${i}`, wide, 1);

    expect(state().bufferedBytes).toBeGreaterThan(9_000_000);
  });

  test("a taking of many rows after one of a single large row reserves no such room for each", () => {
    const large = { sum: 1, text: "x".repeat(1_000_000) };
    table(state()).put("large", large, 1);
    state().take();
    state().apply(checkpointAt(1), { users: 0 });
    for (let i = 0; i < 10_000; i++) table(state()).put(`user-${i}`, { sum: i }, 1);

    const users = state().take()[1]!;
    expect(users.rows).toHaveLength(10_000);
    expect(users.rows.bytes.length).toBeLessThan(16_000_000);
  });
}

function takingRules(state: () => TaskState): void {
  test("changelog records have Kafka Streams' bytes: key, start as int64 BE, a zero int32; the plain value; the row's time", () => {
    windows(state()).put("ann", 0x1_0000_0001, { sum: 1 }, 7);
    table(state()).put("bob", { sum: 2 }, 8);
    table(state()).put("cat", { sum: 2 }, 8);
    commit(state(), 1);
    table(state()).put("cat", null, 9);
    windows(state()).put("ann", 0x1_0000_0001, { sum: 3 }, 10);
    const [spend, users] = state().take();

    expect([spend?.store, users?.store]).toEqual(["spend", "users"]);
    expect([...spend!.rows]).toEqual([
      {
        changelogKey: Buffer.from([0x61, 0x6e, 0x6e, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]),
        value: Buffer.from('{"sum":3}'),
        timestampMs: 10,
      },
    ]);
    expect([...users!.rows]).toEqual([{ changelogKey: Buffer.from("cat"), value: null, timestampMs: 9 }]);
  });

  test("a read in flight decodes a fresh value, and what is done to the old object reaches neither it nor SQLite", () => {
    const live = { sum: 1 };
    table(state()).put("ann", live, 1);
    state().take();
    live.sum = 99;

    expect(table(state()).get("ann")?.value).toEqual({ sum: 1 });
    state().apply(checkpointAt(1), { users: 0 });
    expect(table(state()).get("ann")?.value).toEqual({ sum: 1 });
  });

  test("a put in flight stays in the fresh buffer, and its old row is the one in flight", () => {
    table(state()).put("ann", { sum: 1 }, 1);
    state().take();
    table(state()).put("ann", { sum: 2 }, 2);
    expect(changesOf(table(state()))).toEqual([["ann", { sum: 2 }, { sum: 1 }, 2]]);
    state().apply(checkpointAt(1), { users: 0 });

    expect(table(state()).get("ann")?.value).toEqual({ sum: 2 });
    expect(
      state()
        .take()
        .flatMap(({ rows }) => [...rows].map(({ value }) => value?.toString())),
    ).toEqual(['{"sum":2}']);
  });

  test("a put taken back in flight leaves the row in flight", () => {
    table(state()).put("ann", { sum: 1 }, 1);
    state().take();
    table(state()).put("ann", { sum: 2 }, 2);
    state().takeBack();

    expect(table(state()).get("ann")).toEqual({ value: { sum: 1 }, timestampMs: 1 });
  });

  test("one taking at a time, and only what was taken is applied", () => {
    expect(() => state().apply(checkpointAt(1), {})).toThrow(/taken/);
    state().take();
    expect(() => state().take()).toThrow(/applied first/);
  });

  test("what is confirmed is read as committed, and SQLite has it once it is written", () => {
    table(state()).put("ann", { sum: 1 }, 1);
    state().take();
    state().confirm(checkpointAt(1, { users: 1 }), { users: 0 });
    expect(table(state()).get("ann")?.value).toEqual({ sum: 1 });
    expect(state().checkpoint()).toEqual(checkpointAt(1, { users: 1 }));
    expect([rowCounts(state()).users, state().unwrittenBytes > 0]).toEqual([0, true]);
    state().write();

    expect([rowCounts(state()).users, state().unwrittenBytes]).toEqual([1, 0]);
    expect(table(state()).get("ann")?.value).toEqual({ sum: 1 });
  });

  test("commits that wait are written as one: each row as the last of them has it, deletions as well", () => {
    table(state()).put("ann", { sum: 1 }, 1);
    table(state()).put("bob", { sum: 1 }, 1);
    state().take();
    state().confirm(checkpointAt(1), { users: 0 });
    table(state()).put("ann", { sum: 2 }, 2);
    table(state()).put("bob", null, 2);
    table(state()).put("cat", { sum: 1 }, 2);
    state().take();
    state().confirm(checkpointAt(2), { users: 2 });
    table(state()).put("ann", { sum: 3 }, 3);
    state().write();

    expect(rowCounts(state()).users).toBe(2);
    expect(table(state()).get("ann")?.value).toEqual({ sum: 3 });
    expect(changesOf(table(state())).map(([key, , before]) => [key, before])).toEqual([["ann", { sum: 2 }]]);
    expect(table(state()).get("bob")).toBeUndefined();
  });

  test("nothing is written while a taking is on its way: its rows may never be committed", () => {
    table(state()).put("ann", { sum: 1 }, 1);
    state().take();
    state().confirm(checkpointAt(1), { users: 0 });
    table(state()).put("ann", { sum: 2 }, 2);
    state().take();
    state().write();

    expect(rowCounts(state()).users).toBe(0);
  });

  test("the changelog is not cut above what waits to be written", () => {
    commit(state(), 1, 100);
    windows(state()).put("ann", 0, { sum: 1 }, 1);
    state().take();
    state().confirm(checkpointAt(2, { spend: 300 }), { spend: 200 });
    expect(state().changelogCuts().spend).toBe(200);
    state().write();

    expect(state().changelogCuts().spend).toBe(200);
  });

  test("a value that its serde refuses stops the taking, names store and key, and changes nothing", () => {
    table(state()).put("fine", { sum: 1 }, 1);
    const endless: { sum: number; self?: unknown } = { sum: 2 };
    endless.self = endless;
    table(state()).put("ann", endless, 1);

    expect(() => state().take()).toThrow(/store "users", key "ann": serde "total" refuses/);
    table(state()).put("ann", { sum: 3 }, 2);
    expect(state().take()[1]?.rows).toHaveLength(2);
  });

  test("the checkpoint is what the last apply wrote", () => {
    expect(state().checkpoint()).toBeUndefined();
    commit(state(), 7);
    expect(state().checkpoint()).toEqual(checkpointAt(7, { spend: 800, users: 800 }));
  });

  test("rows are counted as SQLite has them", () => {
    windows(state()).put("ann", 0, { sum: 1 }, 1);
    windows(state()).put("ann", 90_000, { sum: 1 }, 1);
    expect(rowCounts(state())).toEqual({ spend: 0, users: 0 });
    commit(state(), 1);
    expect(rowCounts(state())).toEqual({ spend: 2, users: 0 });
  });

  test.each([0, 4_999, 5_000, 5_001, 10_000])(
    "%i rows of each kind of table are counted, a slice at a time",
    (rows) => {
      const byStart = windows(state());
      for (let at = 0; at < rows; at++) {
        byStart.put(`user-${at >> 1}`, (at & 1) * 30_000, { sum: at }, 1);
        table(state()).put(`user-${at}`, { sum: at }, 1);
      }
      commit(state(), 1);
      expect(rowCounts(state())).toEqual({ spend: rows, users: rows });
    },
  );

  test("rows may be written, and segments dropped, between two steps of a count", () => {
    for (let at = 0; at < 6_000; at++) windows(state()).put(`user-${at}`, 0, { sum: at }, 1);
    commit(state(), 1);
    const counting = state().countRows();
    expect(counting.next()).toEqual({ done: false, value: undefined });
    windows(state()).put("user-0", 300_000, { sum: 1 }, 1);
    windows(state()).expire(300_000);
    commit(state(), 2);
    while (!counting.next().done);
    expect(rowCounts(state()).spend).toBe(1);
  });
}

function readingRules(state: () => TaskState): void {
  test("a range merges the buffer, the commit in flight and SQLite by start, then key bytes, without the deleted", () => {
    const store = windows(state());
    for (const [key, startMs] of [
      ["b", 0],
      ["z", 0],
      ["c", 30_000],
      ["x", 60_000],
    ] as const)
      store.put(key, startMs, { sum: 1 }, 1);
    commit(state(), 1);
    store.put("a", 30_000, { sum: 2 }, 2);
    store.put("z", 0, null, 2);
    store.put("b", 0, { sum: 2 }, 2);
    state().take();
    store.put("b", 0, { sum: 3 }, 3);
    store.put("ä", 0, { sum: 3 }, 3);
    store.put("y", 90_000, { sum: 3 }, 3);

    expect([...store.range(0, 90_000)].map(([key, startMs, row]) => [key, startMs, row.value.sum])).toEqual([
      ["b", 0, 3],
      ["ä", 0, 3],
      ["a", 30_000, 2],
      ["c", 30_000, 1],
      ["x", 60_000, 1],
    ]);
    expect([...store.range(1, 30_000)]).toEqual([]);
  });

  test("a key's windows are fetched by start from all layers, the end of the range left out", () => {
    const store = windows(state());
    for (const startMs of [-30_000, 0, 30_000, 60_000, 90_000]) store.put("ann", startMs, { sum: startMs }, 1);
    store.put("anna", 0, { sum: 1 }, 1);
    commit(state(), 1);
    store.put("ann", 0, null, 2);
    store.put("ann", 30_000, { sum: 7 }, 2);
    state().take();
    store.put("ann", 45_000, { sum: 8 }, 3);

    expect([...store.fetch("ann", -30_000, 90_000)].map(([startMs, row]) => [startMs, row.value.sum])).toEqual([
      [-30_000, -30_000],
      [30_000, 7],
      [45_000, 8],
      [60_000, 60_000],
    ]);
  });

  test("reads of many slices give every row once, and may read other rows meanwhile", () => {
    const names = Array.from({ length: 2_500 }, (_, i) => `user-${String(i).padStart(4, "0")}`);
    for (const name of [...names].reverse()) table(state()).put(name, { sum: 1 }, 1);
    for (const name of names) windows(state()).put(name, 0, { sum: 1 }, 1);
    commit(state(), 1);

    const seen: string[] = [];
    for (const [key] of table(state()).all()) {
      seen.push(key);
      expect(table(state()).get(`other-${key}`)).toBeUndefined();
    }
    expect(seen).toEqual(names);
    expect([...windows(state()).range(0, 1)].map(([key]) => key)).toEqual(names);
  });

  test("an empty value is a value, and an empty key a key", () => {
    const empty = { sum: 0 };
    table(state()).put("", empty, 1);
    windows(state()).put("", 0, empty, 1);
    commit(state(), 1);

    expect([...table(state()).all()]).toEqual([["", { value: empty, timestampMs: 1 }]]);
    expect([...windows(state()).range(0, 1)]).toEqual([["", 0, { value: empty, timestampMs: 1 }]]);
  });
}
