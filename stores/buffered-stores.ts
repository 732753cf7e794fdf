import type { KeyValueStore, Row, WindowStore } from "../topology/state-store.js";
import type { SqliteKeyValueStore } from "./sqlite-key-value-store.js";
import type { StoredRow } from "./sqlite-rows.js";
import type { SqliteWindowStore } from "./sqlite-window-store.js";
import type { WriteBuffer } from "./write-buffer.js";

const NO_WINDOW_MS = 0;

/** What processors see of a key-value store: the write buffer, and SQLite below it. */
export class BufferedKeyValueStore implements KeyValueStore {
  readonly #buffer: WriteBuffer;
  readonly #stored: SqliteKeyValueStore;

  constructor(buffer: WriteBuffer, stored: SqliteKeyValueStore) {
    this.#buffer = buffer;
    this.#stored = stored;
  }

  get(key: unknown): Row<unknown> | undefined {
    return this.#buffer.get(key, NO_WINDOW_MS);
  }

  put(key: unknown, value: unknown, timestampMs: number): void {
    this.#buffer.put(key, NO_WINDOW_MS, value, timestampMs);
  }

  all(): IterableIterator<readonly [unknown, Row<unknown>]> {
    return mergeByKey(this.#buffer, this.#stored.scan(), this.#buffer.overlay(NO_WINDOW_MS));
  }

  forEachChange(visit: Parameters<KeyValueStore["forEachChange"]>[0]): void {
    this.#buffer.forEachChange((key, _startMs, newValue, oldValue, timestampMs) =>
      visit(key, newValue, oldValue, timestampMs),
    );
  }
}

/** What processors see of a window store: the write buffer, and the SQLite segments below it. */
export class BufferedWindowStore implements WindowStore {
  readonly #buffer: WriteBuffer;
  readonly #stored: SqliteWindowStore;

  constructor(buffer: WriteBuffer, stored: SqliteWindowStore) {
    this.#buffer = buffer;
    this.#stored = stored;
  }

  get(key: unknown, startMs: number): Row<unknown> | undefined {
    return startMs < this.#stored.liveFromMs ? undefined : this.#buffer.get(key, startMs);
  }

  put(key: unknown, startMs: number, value: unknown, timestampMs: number): void {
    if (startMs >= this.#stored.liveFromMs) this.#buffer.put(key, startMs, value, timestampMs);
  }

  *range(fromMs: number, toMs: number): IterableIterator<readonly [unknown, number, Row<unknown>]> {
    for (const startMs of this.#startsIn(fromMs, toMs)) {
      for (const [key, row] of mergeByKey(this.#buffer, this.#stored.scan(startMs), this.#buffer.overlay(startMs))) {
        yield [key, startMs, row];
      }
    }
  }

  *fetch(key: unknown, fromMs: number, toMs: number): IterableIterator<readonly [number, Row<unknown>]> {
    const liveFromMs = Math.max(fromMs, this.#stored.liveFromMs);
    const rows = new Map<number, Row<unknown>>();
    for (const { startMs, value, timestampMs } of this.#stored.fetch(
      this.#buffer.serde.encodeKey(key),
      liveFromMs,
      toMs,
    )) {
      if (this.#buffer.changed(key, startMs) === undefined) {
        rows.set(startMs, this.#buffer.serde.decode(key, { value, timestampMs }));
      }
    }
    for (const startMs of this.#buffer.starts()) {
      if (startMs < liveFromMs || startMs >= toMs) continue;
      const entry = this.#buffer.changed(key, startMs);
      const row = entry && this.#buffer.current(entry);
      if (row !== undefined) rows.set(startMs, row);
    }
    yield* [...rows].sort(([a], [b]) => a - b);
  }

  forEachChange(visit: Parameters<WindowStore["forEachChange"]>[0]): void {
    this.#buffer.forEachChange(visit);
  }

  expire(beforeMs: number): void {
    this.#stored.expire(beforeMs);
  }

  #startsIn(fromMs: number, toMs: number): number[] {
    const liveFromMs = Math.max(fromMs, this.#stored.liveFromMs);
    const starts = new Set(this.#stored.starts(liveFromMs, toMs));
    for (const startMs of this.#buffer.starts()) if (startMs >= liveFromMs && startMs < toMs) starts.add(startMs);
    return [...starts].sort((a, b) => a - b);
  }
}

/** Two sorted sequences as one: a row that is in both is the buffer's, and a deleted one is neither's. */
function* mergeByKey(
  buffer: WriteBuffer,
  stored: IterableIterator<StoredRow>,
  overlay: ReturnType<WriteBuffer["overlay"]>,
): IterableIterator<readonly [key: unknown, row: Row<unknown>]> {
  let at = 0;
  let below = stored.next();
  for (;;) {
    const above = overlay[at];
    if (above === undefined && below.done) return;
    const order = above === undefined ? 1 : below.done ? -1 : above.key.compare(below.value.key);
    if (above !== undefined && order <= 0) {
      at++;
      if (order === 0) below = stored.next();
      const row = buffer.current(above.entry);
      if (row !== undefined) yield [above.entry.key, row];
    } else if (!below.done) {
      const { key: bytes, value, timestampMs } = below.value;
      const key = buffer.serde.decodeKey(bytes);
      below = stored.next();
      yield [key, buffer.serde.decode(key, { value, timestampMs })];
    }
  }
}
