import type { Serde } from "../serdes/serde.js";

/** A row: the value, and the largest event time that went into it. */
export interface Row<V> {
  readonly value: V;
  readonly timestampMs: number;
}

interface StoreSpecBase {
  /** Names the store, its changelog topic and its metric label. */
  readonly name: string;
  readonly key: Serde<unknown>;
  readonly value: Serde<unknown>;
  /** False: not replicated; gone when its file is. */
  readonly changelog: boolean;
  /** Aggregators by field, where each row is a named aggregate. */
  readonly fields?: Readonly<Record<string, string>> | undefined;
  /** What a stored state is to the table's readers; itself by default. */
  readonly result?: (state: unknown) => unknown;
}

export interface KeyValueStoreSpec extends StoreSpecBase {
  readonly kind: "key-value";
}

export interface WindowStoreSpec extends StoreSpecBase {
  readonly kind: "window";
  readonly sizeMs: number;
  /** From one window's start to the next one's; undefined where windows may start at any time. */
  readonly advanceMs?: number | undefined;
  /** How long after its start a window is kept, by stream time; at least size + grace. */
  readonly retentionMs: number;
}

export type StoreSpec = KeyValueStoreSpec | WindowStoreSpec;

/**
 * Is given the rows changed since the last commit took them, each once, in the order of their first change: the value now
 * and the value before, null where there is none. This is what thins a table's updates. `timestampMs` is that of the last
 * put, so that a deletion has a time as well. Calls, since a generator's steps were 200 bytes for each row.
 */
type ChangeVisitor<Key extends readonly unknown[], V> = (
  ...change: [...key: Key, newValue: V | null, oldValue: V | null, timestampMs: number]
) => void;

/**
 * What a processor sees of a key-value store. Reads see this task's own uncommitted writes. Values are shared, not
 * copied: whoever changes one in place spoils the store, so put a new one.
 */
export interface KeyValueStore<K = unknown, V = unknown> {
  get(key: K): Row<V> | undefined;
  /** A null value deletes. */
  put(key: K, value: V | null, timestampMs: number): void;
  /** Every row, in the order of the key's bytes. Do not write while iterating. */
  all(): IterableIterator<readonly [key: K, row: Row<V>]>;
  forEachChange(visit: ChangeVisitor<[key: K], V>): void;
}

/** What a processor sees of a window store: rows by key and window start. */
export interface WindowStore<K = unknown, V = unknown> {
  get(key: K, startMs: number): Row<V> | undefined;
  /** A null value deletes. */
  put(key: K, startMs: number, value: V | null, timestampMs: number): void;
  /** Rows with `fromMs <= start < toMs`, by start, then by the key's bytes. Do not write while iterating. */
  range(fromMs: number, toMs: number): IterableIterator<readonly [key: K, startMs: number, row: Row<V>]>;
  /** Every window of one key with `fromMs <= start < toMs`, by start. */
  fetch(key: K, fromMs: number, toMs: number): IterableIterator<readonly [startMs: number, row: Row<V>]>;
  forEachChange(visit: ChangeVisitor<[key: K, startMs: number], V>): void;
  /** Rows are kept while `start >= beforeMs`; older segments are dropped with the next commit. Never goes back. */
  expire(beforeMs: number): void;
}

export type StateStore = KeyValueStore | WindowStore;
