import { type Serde, string } from "../serdes/serde.js";
import type { KeyValueStore, StoreSpec, WindowStore } from "../topology/state-store.js";
import type { Checkpoint, TaskState } from "./task-state.js";

export interface Total {
  readonly sum: number;
}

export const total: Serde<Total> = {
  name: "total",
  serialize: (value) => Buffer.from(JSON.stringify(value)),
  deserialize: (bytes) => JSON.parse(Buffer.from(bytes).toString()) as Total,
};

/** Windows that do not overlap have their rows by start, others by key. */
export function windowSpec(name = "spend", retentionMs = 120_000, advanceMs?: number): StoreSpec {
  return {
    kind: "window",
    name,
    key: string as Serde<unknown>,
    value: total as Serde<unknown>,
    changelog: true,
    sizeMs: 30_000,
    advanceMs,
    retentionMs,
  };
}

export function keyValueSpec(name = "users", key: Serde<unknown> = string as Serde<unknown>): StoreSpec {
  return { kind: "key-value", name, key, value: total as Serde<unknown>, changelog: true };
}

export function checkpointAt(
  commitNumber: number,
  changelogOffsets: Readonly<Record<string, number>> = {},
): Checkpoint {
  return {
    commitNumber,
    sourceOffsets: [{ topic: "purchases", partition: 3, offset: commitNumber * 10 }],
    changelogOffsets,
    clocks: { "spend-node": { streamTimeMs: commitNumber, emittedUpToMs: -1 } },
    topicIds: { purchases: "id" },
    wallClockMs: 1_000,
  };
}

/** Takes and applies in one step: `offset` is the first changelog offset of the commit, for every store. */
export function commit(state: TaskState, commitNumber: number, offset = commitNumber * 100): void {
  const names = state.take().map(({ store }) => store);
  const offsets = Object.fromEntries(names.map((name) => [name, offset]));
  const ends = Object.fromEntries(names.map((name) => [name, offset + 100]));
  state.apply(checkpointAt(commitNumber, ends), offsets);
}

/** Rows now in SQLite, by store. */
export function rowCounts(state: TaskState): Readonly<Record<string, number>> {
  const counting = state.countRows();
  for (;;) {
    const step = counting.next();
    if (step.done) return step.value;
  }
}

export const windows = (state: TaskState, name = "spend") => state.store(name) as WindowStore<string, Total>;
export const table = (state: TaskState, name = "users") => state.store(name) as KeyValueStore<string, Total>;

/** What `forEachChange` visits. */
export function changesOf<Change extends readonly unknown[]>(store: {
  forEachChange(visit: (...change: Change) => void): void;
}): Change[] {
  const changes: Change[] = [];
  store.forEachChange((...change) => changes.push(change));
  return changes;
}

export interface StorePlace {
  /** A new, empty place at every call. */
  readonly make: () => string;
  readonly remove: (file: string) => void;
  /** Whether what was applied is there again after a close. */
  readonly durable: boolean;
  /** Of the window store. */
  readonly advanceMs?: number;
}
