import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openTaskState } from "./open-stores.js";
import { type RowBounds, StateReader } from "./state-reader.js";
import { commit, windowSpec, windows } from "./store-fixtures.suite.js";

const directory = mkdtempSync(join(tmpdir(), "millrace-reader-"));
afterAll(() => rmSync(directory, { recursive: true }));

const USERS = 700;
const STARTS = [0, 30_000, 60_000, 90_000, 120_000];
const SEGMENT_MS = 60_000;
const name = (user: number): string => `user-${String(user).padStart(4, "0")}`;
/** A seventh of the rows is missing, another one in each window. */
const isThere = (user: number, at: number): boolean => (user + at) % 7 !== 0;

type Row = readonly [key: string, startMs: number];

/** Kafka Streams' order: segment by segment, and in one by key, then start. */
function expected(keep: (key: string, startMs: number) => boolean): Row[] {
  const rows: Row[] = [];
  for (let user = 0; user < USERS; user++) {
    for (const [at, startMs] of STARTS.entries()) if (isThere(user, at)) rows.push([name(user), startMs]);
  }
  const segment = (startMs: number): number => Math.floor(startMs / SEGMENT_MS);
  return rows
    .filter(([key, startMs]) => keep(key, startMs))
    .sort((a, b) => segment(a[1]) - segment(b[1]) || (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1]));
}

describe.each([
  ["by key", undefined],
  ["by start", 30_000],
])("rows that lie %s", (layout, advanceMs) => {
  const file = join(directory, `${layout}.db`);
  const state = openTaskState({ file, stores: [windowSpec("spend", 120_000, advanceMs)] });
  for (let user = USERS - 1; user >= 0; user--) {
    for (const [at, startMs] of STARTS.entries()) {
      if (isThere(user, at)) windows(state).put(name(user), startMs, { sum: user }, user);
    }
  }
  commit(state, 1);
  const reader = StateReader.open(file) as StateReader;
  afterAll(() => {
    reader.close();
    state.close();
  });
  const scanned = (bounds: RowBounds): Row[] =>
    [...reader.scan("spend", bounds)].map(({ key, startMs }) => [key.toString(), startMs]);

  test("come segment by segment, and in one by key and start, over many slices", () => {
    expect(scanned({})).toEqual(expected(() => true));
  });

  test("of one key, by start", () => {
    expect(scanned({ key: Buffer.from(name(8)) })).toEqual(expected((key) => key === name(8)));
    expect(scanned({ key: Buffer.from("nobody") })).toEqual([]);
  });

  test("of a range of keys and times, their ends left out", () => {
    const bounds = { fromKey: Buffer.from(name(20)), toKey: Buffer.from(name(650)), fromMs: 30_000, toMs: 120_000 };
    const keep = (key: string, startMs: number): boolean =>
      key >= name(20) && key < name(650) && startMs >= 30_000 && startMs < 120_000;
    expect(scanned(bounds)).toEqual(expected(keep));
  });

  test("of times at which no window starts, none", () => {
    expect(scanned({ fromMs: 30_001, toMs: 60_000 })).toEqual([]);
  });

  test("one row by key and start", () => {
    expect(reader.get("spend", Buffer.from(name(8)), 30_000)?.timestampMs).toBe(8);
    expect(reader.get("spend", Buffer.from(name(7)), 0)).toBeUndefined();
  });
});
