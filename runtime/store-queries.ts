import type { Window } from "../serdes/windowed.js";
import type { CommittedRow, RowBounds } from "../stores/state-reader.js";
import type { TableView } from "../topology/dsl-types.js";
import type {
  KeyRange,
  KeyValueEntry,
  ReadOnlyKeyValueStore,
  ReadOnlyStore,
  ReadOnlyWindowStore,
  WindowEntry,
  WindowTimes,
} from "../topology/read-only-store.js";
import type { RecordContext } from "../topology/record.js";
import type { LocalState, QueriedStore, StorePart } from "./local-state.js";

/** Opens a store for queries, as the table of `view` shows it. */
export function openReadOnlyStore(
  local: LocalState,
  store: QueriedStore,
  read: TableView["read"] = (state) => store.spec.result?.(state) ?? state,
): ReadOnlyStore {
  const rows = new StoreRows(local, store, read);
  return store.spec.kind === "window"
    ? new WindowQueries(rows, store.spec)
    : new KeyValueQueries(rows, store.spec.name);
}

interface DecodedRow {
  readonly key: unknown;
  readonly startMs: number;
  readonly value: unknown;
  readonly timestampMs: number;
}

/** The rows of one store over the tasks that are here, decoded. A row that is not in the table (filtered) is left out. */
class StoreRows {
  readonly #local: LocalState;
  readonly #store: QueriedStore;
  readonly #read: TableView["read"];

  constructor(local: LocalState, store: QueriedStore, read: TableView["read"]) {
    this.#local = local;
    this.#store = store;
    this.#read = read;
  }

  encodeKey(key: unknown): Uint8Array {
    return this.#store.spec.key.serialize(key);
  }

  /**
   * Where the key is by its hash it is looked for first; a topic that is partitioned in another way has it somewhere else.
   * What is not found is "there is none" only if the partition where it would be is here.
   */
  get(key: unknown, startMs: number): unknown {
    const bytes = this.encodeKey(key);
    const home = this.#local.homeOf(this.#store, bytes);
    const parts = this.#local
      .parts(this.#store)
      .sort((a, b) => Number(b.partition === home) - Number(a.partition === home));
    for (const { reader, partition } of parts) {
      const row = reader.get(this.#store.spec.name, bytes, startMs);
      if (row?.value == null) continue;
      const decoded = this.#decode({ key: Buffer.from(bytes), startMs, ...row } as CommittedRow, partition);
      return decoded?.value;
    }
    if (home !== undefined && !parts.some(({ partition }) => partition === home))
      throw this.#local.unavailable(this.#store, home);
    return undefined;
  }

  /** @throws StoreUnavailableError as `scan`, and while a part of the store is being restored here */
  scanAll(bounds: RowBounds): IterableIterator<DecodedRow> {
    this.#local.expectWhole(this.#store);
    return this.scan(bounds);
  }

  /** @throws StoreUnavailableError when no part of the store is here, or one goes while it is read */
  *scan(bounds: RowBounds): IterableIterator<DecodedRow> {
    for (const part of this.#local.parts(this.#store)) {
      for (const row of this.#checked(part, bounds)) {
        const decoded = this.#decode(row, part.partition);
        if (decoded !== undefined) yield decoded;
      }
    }
  }

  /** As for `get`: where none is found, the partition must be here. */
  *fetch(key: unknown, times: WindowTimes): IterableIterator<DecodedRow> {
    const bytes = this.encodeKey(key);
    const home = this.#local.homeOf(this.#store, bytes);
    let isFound = false;
    for (const row of this.scan({ key: bytes, ...times })) {
      isFound = true;
      yield row;
    }
    if (!isFound && home !== undefined && this.#local.part(this.#store, home) === undefined)
      throw this.#local.unavailable(this.#store, home);
  }

  /** A part that has gone to another instance, or whose file was made anew, must not be read to its end. */
  *#checked({ reader, partition }: StorePart, bounds: RowBounds): IterableIterator<CommittedRow> {
    const rows = reader.scan(this.#store.spec.name, bounds);
    for (let count = 0; ; count++) {
      const isDue = count % ROWS_BETWEEN_CHECKS === 0 || reader.isClosed;
      if (isDue && this.#local.part(this.#store, partition)?.reader !== reader)
        throw this.#local.unavailable(this.#store, partition);
      const next = rows.next();
      if (next.done) return;
      yield next.value;
    }
  }

  #decode(row: CommittedRow, partition: number): DecodedRow | undefined {
    const { spec } = this.#store;
    const { startMs, timestampMs } = row;
    const key = spec.key.deserialize(row.key);
    const window = spec.kind === "window" ? windowOf(startMs, spec.sizeMs) : undefined;
    const record: RecordContext = {
      key: window === undefined ? key : { key, window },
      timestampMs,
      recordTimestampMs: timestampMs,
      topic: "",
      partition,
      offset: -1,
      headers: [],
    };
    const value = this.#read(spec.value.deserialize(row.value), record);
    return value === null || value === undefined ? undefined : { key, startMs, value, timestampMs };
  }
}

const ROWS_BETWEEN_CHECKS = 500;

function windowOf(startMs: number, sizeMs: number): Window {
  return { startMs, endMs: startMs + sizeMs };
}

class KeyValueQueries implements ReadOnlyKeyValueStore<unknown, unknown> {
  readonly kind = "key-value";
  readonly name: string;
  readonly #rows: StoreRows;

  constructor(rows: StoreRows, name: string) {
    this.#rows = rows;
    this.name = name;
  }

  get(key: unknown): unknown {
    return this.#rows.get(key, 0);
  }

  *entries(key: unknown): IterableIterator<KeyValueEntry<unknown, unknown>> {
    for (const row of this.#rows.fetch(key, {})) yield { key: row.key, value: row.value, timestampMs: row.timestampMs };
  }

  *range(keys: KeyRange<unknown> = {}): IterableIterator<KeyValueEntry<unknown, unknown>> {
    for (const { key, value, timestampMs } of this.#rows.scanAll(boundsOf(this.#rows, keys)))
      yield { key, value, timestampMs };
  }
}

class WindowQueries implements ReadOnlyWindowStore<unknown, unknown> {
  readonly kind = "window";
  readonly name: string;
  readonly sizeMs: number;
  readonly #rows: StoreRows;

  constructor(rows: StoreRows, { name, sizeMs }: { readonly name: string; readonly sizeMs: number }) {
    this.#rows = rows;
    this.name = name;
    this.sizeMs = sizeMs;
  }

  get({ key, window }: { readonly key: unknown; readonly window: Pick<Window, "startMs"> }): unknown {
    return this.#rows.get(key, window.startMs);
  }

  *fetch(key: unknown, times: WindowTimes = {}): IterableIterator<WindowEntry<unknown, unknown>> {
    for (const row of this.#rows.fetch(key, times)) yield this.#entry(row);
  }

  fetchAll(times: WindowTimes = {}): IterableIterator<WindowEntry<unknown, unknown>> {
    return this.range({}, times);
  }

  *range(keys: KeyRange<unknown>, times: WindowTimes = {}): IterableIterator<WindowEntry<unknown, unknown>> {
    for (const row of this.#rows.scanAll({ ...boundsOf(this.#rows, keys), ...times })) yield this.#entry(row);
  }

  #entry({ key, startMs, value, timestampMs }: DecodedRow): WindowEntry<unknown, unknown> {
    return { key, window: windowOf(startMs, this.sizeMs), value, timestampMs };
  }
}

function boundsOf(rows: StoreRows, { from, to }: KeyRange<unknown>): RowBounds {
  return {
    fromKey: from === undefined ? undefined : rows.encodeKey(from),
    toKey: to === undefined ? undefined : rows.encodeKey(to),
  };
}
