import type { Window, Windowed } from "../serdes/windowed.js";

/** Times `fromMs <= start < toMs` of windows; without a bound, all that there are. */
export interface WindowTimes {
  readonly fromMs?: number;
  readonly toMs?: number;
}

/** Keys `from <= key < to`, by their bytes; without a bound, all that there are. */
export interface KeyRange<K> {
  readonly from?: K;
  readonly to?: K;
}

export interface KeyValueEntry<K, V> {
  readonly key: K;
  readonly value: V;
  /** The largest event time that went into the row. */
  readonly timestampMs: number;
}

export interface WindowEntry<K, V> {
  readonly key: K;
  readonly window: Window;
  readonly value: V;
  /** The largest event time that went into the row. */
  readonly timestampMs: number;
}

/**
 * A key-value store as a query sees it: the committed rows of the tasks that this instance runs.
 *
 * Iterators read a slice of rows at a time, task after task and within a task in the order of the key's bytes, and hold
 * nothing open between slices: rows that change meanwhile are seen as they are when their slice is read.
 *
 * @throws StoreUnavailableError from every method, and from an iterator in the middle, when the rows are not here now
 */
export interface ReadOnlyKeyValueStore<K, V> {
  readonly kind: "key-value";
  readonly name: string;
  get(key: K): V | undefined;
  /** The row of one key with its timestamp, or none. */
  entries(key: K): IterableIterator<KeyValueEntry<K, V>>;
  /** All rows, or those of a range of keys. */
  range(keys?: KeyRange<K>): IterableIterator<KeyValueEntry<K, V>>;
}

/** A window store as a query sees it; as `ReadOnlyKeyValueStore` otherwise. */
export interface ReadOnlyWindowStore<K, V> {
  readonly kind: "window";
  readonly name: string;
  readonly sizeMs: number;
  /** One window of one key; `window` is found by its start. */
  get(key: { readonly key: K; readonly window: Pick<Window, "startMs"> }): V | undefined;
  /** The windows of one key, by start. */
  fetch(key: K, times?: WindowTimes): IterableIterator<WindowEntry<K, V>>;
  /** The windows of all keys: by time as far as segments go, within one by key and start. */
  fetchAll(times?: WindowTimes): IterableIterator<WindowEntry<K, V>>;
  /** The windows of a range of keys, in the order of `fetchAll`. */
  range(keys: KeyRange<K>, times?: WindowTimes): IterableIterator<WindowEntry<K, V>>;
}

export type ReadOnlyStore = ReadOnlyKeyValueStore<unknown, unknown> | ReadOnlyWindowStore<unknown, unknown>;

/** The store that a table is read from: its key decides the kind, and the table's own operators are applied to what is read. */
export type StoreOf<K, V> = [K] extends [Windowed<infer W>]
  ? ReadOnlyWindowStore<W, Exclude<V, null>>
  : ReadOnlyKeyValueStore<K, Exclude<V, null>>;
