import { string } from "../serdes/serde.js";
import type { Row, StoreSpec } from "../topology/state-store.js";
import { BufferedRow, BufferedWindow, byStartAndBytes, byStartAndText, type HeldRow, NO_ROW } from "./buffered-rows.js";
import { suffixBytes, windowChangelogKey } from "./changelog.js";
import { UnusableStateError } from "./errors.js";
import type { EncodedRow, SqliteRows } from "./sqlite-rows.js";
import type { TakenEntry } from "./task-state.js";

/** What a row costs in memory beside its bytes, roughly: the objects, the map's slot, the changelog key. */
const ROW_OVERHEAD_BYTES = 240;
/** Every so many puts a value is serialized for its size alone, so that growing values are noticed before a commit. */
const SIZE_SAMPLE_PUTS = 64;
/** A record that changes more rows than this leaves undo arrays that are worth giving back. */
const UNDO_KEPT = 1_024;

/** Aggregators that answer with a new state and never change one: their rows stay decoded when they are taken. */
const PURE_AGGREGATORS: ReadonlySet<string> = new Set(["count", "countIf", "sum", "mean", "min", "max"]);

const LONE_SURROGATE = /\p{Surrogate}/gu;

export interface BufferedChange {
  readonly entry: BufferedRow;
  readonly now: Row<unknown> | undefined;
  readonly before: Row<unknown> | undefined;
  /** Of the last put, which may be a deletion. */
  readonly timestampMs: number;
}

function rowOf(held: HeldRow): Row<unknown> | undefined {
  return held.value === null ? undefined : held;
}

/**
 * The rows of one store that are in memory: changed ones, those of a commit in flight, and a bounded cache of what was
 * read or written lately. Values are live objects until they are taken; after that a read decodes a fresh one from the
 * frozen bytes. Keys and values are serialized when they are taken, not when they are put. A key-value store is a
 * window store whose only window starts at 0.
 */
export class WriteBuffer {
  readonly #spec: StoreSpec;
  readonly #stored: SqliteRows;
  readonly #textKeys: boolean;
  readonly #cacheBytesMax: number;
  /** A row that is changed often would be parsed from its own frozen bytes after each commit. */
  readonly #keepsDecoded: boolean;

  readonly #windows = new Map<number, BufferedWindow>();
  #lastStartMs = Number.NaN;
  #lastWindow: BufferedWindow | undefined;
  #size = 0;

  /** In the order of their first change. */
  #dirty: BufferedRow[] = [];
  #inFlight: BufferedRow[] = [];
  /** Of what was taken and is not committed yet. */
  #takenBytes = 0;

  readonly #undoRows: BufferedRow[] = [];
  readonly #undoBefore: (HeldRow | undefined)[] = [];
  readonly #undoFirst: boolean[] = [];
  #undoLength = 0;

  #puts = 0;
  #rowBytes = ROW_OVERHEAD_BYTES;

  constructor(spec: StoreSpec, stored: SqliteRows, options: { readonly cacheBytesMax: number }) {
    this.#spec = spec;
    this.#stored = stored;
    // Only this serde is known to give different bytes to different strings; behind any other the bytes are the identity.
    this.#textKeys = spec.key === string;
    this.#cacheBytesMax = options.cacheBytesMax;
    const aggregators = Object.values(spec.fields ?? {});
    this.#keepsDecoded = aggregators.length > 0 && aggregators.every((name) => PURE_AGGREGATORS.has(name));
  }

  /** Rows that are not committed, estimated: the cache is bounded by itself and no commit makes it smaller. */
  get bufferedBytes(): number {
    return this.#dirty.length * this.#rowBytes + this.#takenBytes;
  }

  /** Rows that SQLite has still to get, estimated. */
  get unwrittenBytes(): number {
    return this.#inFlight.length * this.#rowBytes;
  }

  /** Rows that SQLite has as well, kept to be found faster, estimated. */
  get cachedBytes(): number {
    return this.#cleanBytes();
  }

  get isClean(): boolean {
    return this.#dirty.length === 0 && this.#inFlight.length === 0;
  }

  get hasInFlight(): boolean {
    return this.#inFlight.length > 0;
  }

  /** The rows in flight, by start and then by key: so a row's place in SQLite is next to that of the row before (1.9 µs each, 3.2 in any order). */
  inFlight(): readonly BufferedRow[] {
    return this.#inFlight.sort(this.#textKeys ? byStartAndText : byStartAndBytes);
  }

  get(key: unknown, startMs: number): Row<unknown> | undefined {
    const entry = this.#entryOf(key, startMs);
    entry.touched = true;
    const row = entry.row ?? this.#load(entry);
    return rowOf(row);
  }

  put(key: unknown, startMs: number, value: unknown, timestampMs: number): void {
    const entry = this.#entryOf(key, startMs);
    if (this.#puts++ % SIZE_SAMPLE_PUTS === 0 && value !== null) this.#sampleSize(value);
    const at = this.#undoLength++;
    this.#undoRows[at] = entry;
    this.#undoBefore[at] = entry.row;
    this.#undoFirst[at] = !entry.dirty;
    if (!entry.dirty) {
      entry.dirty = true;
      entry.before = entry.row;
      this.#dirty.push(entry);
    }
    entry.touched = true;
    entry.row = { value, timestampMs };
  }

  keep(): void {
    if (this.#undoLength > UNDO_KEPT) {
      this.#undoRows.length = 0;
      this.#undoBefore.length = 0;
      this.#undoFirst.length = 0;
    }
    this.#undoLength = 0;
  }

  takeBack(): void {
    for (let at = this.#undoLength - 1; at >= 0; at--) {
      const entry = this.#undoRows[at]!;
      entry.row = this.#undoBefore[at];
      if (this.#undoFirst[at]) {
        entry.dirty = false;
        entry.before = undefined;
        // Backwards, the first change of a row is always the newest of the list.
        this.#dirty.pop();
      }
    }
    this.keep();
  }

  /** Changed rows in the order of their first change; a row that was not there before and is not now has not changed. */
  *changes(): IterableIterator<BufferedChange> {
    for (const entry of this.#dirty) {
      const now = entry.row ?? NO_ROW;
      const before = this.#rowBefore(entry);
      if (now.value === null && before.value === null) continue;
      yield { entry, now: rowOf(now), before: rowOf(before), timestampMs: now.timestampMs };
    }
  }

  /** Serializes the changed rows. Changes nothing, so that a value its serde refuses leaves every store as it was. */
  encode(): { readonly rows: BufferedRow[]; readonly entries: TakenEntry[] } {
    const rows: BufferedRow[] = [];
    const entries: TakenEntry[] = [];
    for (const entry of this.#dirty) {
      const { value, timestampMs } = entry.row ?? NO_ROW;
      if (value === null && this.#rowBefore(entry).value === null) continue;
      rows.push(entry);
      entries.push({
        changelogKey: this.#changelogKey(entry),
        value: value === null ? null : this.#serialize(entry, value),
        timestampMs,
      });
    }
    return { rows, entries };
  }

  /** What was encoded is in flight now, and the buffer is fresh. */
  freeze(encoded: { readonly rows: BufferedRow[]; readonly entries: readonly TakenEntry[] }): void {
    this.keep();
    for (const entry of this.#dirty) {
      entry.dirty = false;
      entry.before = undefined;
    }
    let bytes = 0;
    for (let at = 0; at < encoded.rows.length; at++) {
      const entry = encoded.rows[at]!;
      const taken = encoded.entries[at]!;
      if (!entry.inFlight) this.#inFlight.push(entry);
      entry.inFlight = true;
      entry.encoded = taken;
      if (!this.#keepsDecoded) entry.row = undefined;
      bytes += ROW_OVERHEAD_BYTES + taken.changelogKey.byteLength + (taken.value?.byteLength ?? 0);
    }
    this.#dirty = [];
    this.#takenBytes = bytes;
    if (encoded.rows.length > 0) this.#rowBytes = bytes / encoded.rows.length;
  }

  /** What was taken is committed, and waits to be written. */
  confirm(): void {
    this.#takenBytes = 0;
  }

  /** What was in flight is in SQLite now. Rows that start before `liveFromMs` have expired and are forgotten. */
  settle(liveFromMs: number): void {
    for (const entry of this.#inFlight) {
      entry.inFlight = false;
      if (entry.row !== undefined) entry.encoded = undefined;
      // A few bytes that hold a whole slab of Node's pool in memory, for a row that may never change again.
      if (!entry.dirty) entry.changelogKey = undefined;
    }
    this.#inFlight = [];
    for (const [startMs, window] of this.#windows) {
      if (startMs >= liveFromMs) continue;
      this.#windows.delete(startMs);
      this.#size -= window.rows.size;
    }
    this.#lastStartMs = Number.NaN;
    this.#sweep();
  }

  /** Forgets every row that SQLite has: it was changed below. */
  forgetClean(): void {
    this.#windows.clear();
    this.#size = 0;
    this.#lastStartMs = Number.NaN;
  }

  /** Window starts in memory, in no order. */
  starts(): IterableIterator<number> {
    return this.#windows.keys();
  }

  /** The rows of one window that SQLite does not have as they are now, by the key's bytes. */
  overlay(startMs: number): BufferedRow[] {
    const rows: BufferedRow[] = [];
    for (const entry of this.#windows.get(startMs)?.rows.values() ?? []) {
      if (entry.dirty || entry.inFlight) rows.push(entry);
    }
    return rows.sort((a, b) => this.keyBytes(a).compare(this.keyBytes(b)));
  }

  /** The row in memory, if SQLite may not have it as it is now. */
  changed(key: unknown, startMs: number): BufferedRow | undefined {
    const entry = this.#windows.get(startMs)?.rows.get(this.#wellFormed(this.#nameOf(key)));
    return entry !== undefined && (entry.dirty || entry.inFlight) ? entry : undefined;
  }

  /** The row now, as `get` gives it. */
  current(entry: BufferedRow): Row<unknown> | undefined {
    const row = entry.row ?? this.#load(entry);
    return rowOf(row);
  }

  keyBytes(entry: BufferedRow): Buffer {
    const changelogKey = this.#changelogKey(entry);
    return changelogKey.subarray(0, changelogKey.byteLength - suffixBytes(this.#spec.kind));
  }

  encodeKey(key: unknown): Uint8Array {
    return this.#spec.key.serialize(key);
  }

  decodeKey(bytes: Uint8Array): unknown {
    return this.#spec.key.deserialize(bytes);
  }

  /** @throws UnusableStateError when the serde does not read what it wrote */
  decode(key: unknown, encoded: EncodedRow & { readonly value: Uint8Array }): Row<unknown> {
    try {
      return { value: this.#spec.value.deserialize(encoded.value), timestampMs: encoded.timestampMs };
    } catch (error) {
      const { name, value } = this.#spec;
      const message =
        `store "${name}", key ${JSON.stringify(key)}: serde "${value.name}" cannot read the stored value ` +
        `(${error instanceof Error ? error.message : String(error)}): did the serde change without its name? ` +
        "Bring the old one back, or give the store a new name";
      throw new UnusableStateError("STATE_ROW_UNREADABLE", message, { cause: error });
    }
  }

  #entryOf(key: unknown, startMs: number): BufferedRow {
    let window = this.#lastWindow;
    if (startMs !== this.#lastStartMs || window === undefined) {
      window = this.#windowOf(startMs);
    }
    const name = this.#nameOf(key);
    return window.rows.get(name) ?? this.#addEntry(window, name, key, startMs);
  }

  #windowOf(startMs: number): BufferedWindow {
    let window = this.#windows.get(startMs);
    if (window === undefined) {
      window = new BufferedWindow(!this.#stored.mayHold(startMs));
      this.#windows.set(startMs, window);
    }
    this.#lastStartMs = startMs;
    this.#lastWindow = window;
    return window;
  }

  #nameOf(key: unknown): string {
    if (this.#textKeys && typeof key === "string") return key;
    const bytes = this.#spec.key.serialize(key);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  }

  /** UTF-8 has one replacement for every lone surrogate, so strings that differ in nothing else are one key. */
  #wellFormed(name: string): string {
    return this.#textKeys ? name.replace(LONE_SURROGATE, "\ufffd") : name;
  }

  #addEntry(window: BufferedWindow, name: string, key: unknown, startMs: number): BufferedRow {
    // Asked here only, where a row is new to the buffer: the hot path finds its row.
    const wellFormed = this.#wellFormed(name);
    const known = wellFormed === name ? undefined : window.rows.get(wellFormed);
    if (known !== undefined) return known;
    if (this.#cleanBytes() > this.#cacheBytesMax) this.#sweep();
    const entry = new BufferedRow(key, startMs);
    // The sweep may have dropped the window when its last row went.
    const kept = this.#windowOf(startMs);
    if (kept.isComplete) entry.row = NO_ROW;
    kept.rows.set(wellFormed, entry);
    this.#size++;
    return entry;
  }

  #load(entry: BufferedRow): HeldRow {
    const encoded = entry.encoded ?? this.#stored.read(this.keyBytes(entry), entry.startMs);
    entry.row = this.#held(entry, encoded);
    if (!entry.inFlight) entry.encoded = undefined;
    return entry.row;
  }

  #rowBefore(entry: BufferedRow): HeldRow {
    entry.before ??= this.#held(entry, entry.encoded ?? this.#stored.read(this.keyBytes(entry), entry.startMs));
    return entry.before;
  }

  #held(entry: BufferedRow, encoded: EncodedRow | undefined): HeldRow {
    if (encoded === undefined || encoded.value === null) return NO_ROW;
    return this.decode(entry.key, { value: encoded.value, timestampMs: encoded.timestampMs });
  }

  #changelogKey(entry: BufferedRow): Buffer {
    if (entry.changelogKey === undefined) {
      const bytes = this.encodeKey(entry.key);
      // A key-value store's key is copied as well: it outlives the call, and the serde may hand out its argument.
      entry.changelogKey = this.#spec.kind === "window" ? windowChangelogKey(bytes, entry.startMs) : Buffer.from(bytes);
    }
    return entry.changelogKey;
  }

  #serialize(entry: BufferedRow, value: unknown): Uint8Array {
    try {
      return this.#spec.value.serialize(value);
    } catch (error) {
      const message =
        `store "${this.#spec.name}", key ${JSON.stringify(entry.key)}: serde "${this.#spec.value.name}" refuses the value ` +
        `that an operator put (${error instanceof Error ? error.message : String(error)}): fix the operator or the serde`;
      throw new UnusableStateError("STATE_ROW_REFUSED", message, { cause: error });
    }
  }

  /** What the serde refuses is refused here as well, early: the record that brought it is still at hand. */
  #sampleSize(value: unknown): void {
    const bytes = ROW_OVERHEAD_BYTES + this.#spec.value.serialize(value).byteLength;
    this.#rowBytes = Math.max(bytes, this.#rowBytes + (bytes - this.#rowBytes) / 8);
  }

  #cleanBytes(): number {
    return (this.#size - this.#dirty.length - this.#inFlight.length) * this.#rowBytes;
  }

  /** Second chance: rows untouched since the last sweep go first, then any, until the cache is half full. */
  #sweep(): void {
    if (this.#cleanBytes() <= this.#cacheBytesMax) return;
    for (let round = 0; round < 2; round++) {
      for (const [startMs, window] of this.#windows) {
        for (const [name, entry] of window.rows) {
          if (entry.dirty || entry.inFlight) continue;
          if (entry.touched) {
            entry.touched = false;
            continue;
          }
          window.rows.delete(name);
          window.isComplete = false;
          this.#size--;
          if (this.#cleanBytes() <= this.#cacheBytesMax / 2) {
            this.#forgetEmpty();
            return;
          }
        }
        if (window.rows.size === 0) this.#windows.delete(startMs);
      }
    }
    this.#forgetEmpty();
  }

  #forgetEmpty(): void {
    for (const [startMs, window] of this.#windows) if (window.rows.size === 0) this.#windows.delete(startMs);
    this.#lastStartMs = Number.NaN;
  }
}
