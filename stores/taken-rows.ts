import type { BytesOrText } from "../serdes/serde.js";
import type { StoreSpec } from "../topology/state-store.js";
import { suffixBytes, writeWindowSuffix } from "./changelog.js";
import type { EncodedRow } from "./sqlite-rows.js";

const BYTES_MIN = 1_024;
/** A UTF-16 unit is at most so many bytes of UTF-8. */
const UNIT_BYTES_MAX = 3;
const DELETED = -1;

/** A row on its way to the changelog and to SQLite: both get these same bytes. */
export interface TakenEntry extends EncodedRow {
  /** The changelog record's key: for a window store the key's bytes, start as int64 BE, seq as int32 BE. */
  readonly changelogKey: Buffer;
}

/**
 * The rows of one taking, serialized, back to back in one buffer. They live until SQLite has them: as Buffers of their own they were a quarter of what
 * outlived a young collection.
 */
export class TakenRows implements Iterable<TakenEntry> {
  readonly #suffixBytes: number;
  #bytes: Buffer;
  #end = 0;
  #length = 0;
  // Made as long as they will be, as numbers pushed one by one were 6 % of all that was allocated.
  readonly #keyStarts: number[];
  readonly #keyEnds: number[];
  readonly #valueEnds: number[];
  readonly #timestampsMs: number[];

  /** It grows beyond what is expected, at the price of copies. */
  constructor(kind: StoreSpec["kind"], expected: { readonly rows: number; readonly bytes: number }) {
    this.#suffixBytes = suffixBytes(kind);
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(BYTES_MIN, Math.ceil(expected.bytes)));
    this.#keyStarts = new Array(expected.rows);
    this.#keyEnds = new Array(expected.rows);
    this.#valueEnds = new Array(expected.rows);
    this.#timestampsMs = new Array(expected.rows);
  }

  get length(): number {
    return this.#length;
  }

  get byteLength(): number {
    return this.#end;
  }

  /** All rows: of each the changelog key, from `keyStart` to `keyEnd`, and the value, from there to `valueEnd`, which is -1 where the row is deleted. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  keyStart(at: number): number {
    return this.#keyStarts[at]!;
  }

  keyEnd(at: number): number {
    return this.#keyEnds[at]!;
  }

  valueEnd(at: number): number {
    return this.#valueEnds[at]!;
  }

  /** A null value deletes. */
  append(key: BytesOrText, startMs: number, value: BytesOrText | null, timestampMs: number): void {
    const at = this.#length++;
    this.#keyStarts[at] = this.#end;
    this.#write(key);
    if (this.#suffixBytes > 0) {
      this.#reserve(this.#suffixBytes);
      this.#end = writeWindowSuffix(this.#bytes, startMs, this.#end);
    }
    this.#keyEnds[at] = this.#end;
    if (value !== null) this.#write(value);
    this.#valueEnds[at] = value === null ? DELETED : this.#end;
    this.#timestampsMs[at] = timestampMs;
  }

  changelogKey(at: number): Buffer {
    return this.#bytes.subarray(this.#keyStarts[at], this.#keyEnds[at]);
  }

  /** The changelog key without what follows the row's key. */
  rowKey(at: number): Buffer {
    return this.#bytes.subarray(this.#keyStarts[at], this.#keyEnds[at]! - this.#suffixBytes);
  }

  value(at: number): Buffer | null {
    const end = this.#valueEnds[at];
    return end === DELETED ? null : this.#bytes.subarray(this.#keyEnds[at], end);
  }

  timestampMs(at: number): number {
    return this.#timestampsMs[at]!;
  }

  /** As SQLite gives it. */
  encodedRow(at: number): EncodedRow {
    return { value: this.value(at), timestampMs: this.timestampMs(at) };
  }

  /** A copy of `encodedRow`, for whoever keeps one row longer than all of them. */
  copiedRow(at: number): EncodedRow {
    const value = this.value(at);
    return { value: value === null ? null : Buffer.from(value), timestampMs: this.timestampMs(at) };
  }

  /** As Buffer.compare of the changelog keys, without two views of them. */
  compareKeys(at: number, other: TakenRows, otherAt: number): number {
    const [start, end] = [this.#keyStarts[at], this.#keyEnds[at]];
    return this.#bytes.compare(other.#bytes, other.#keyStarts[otherAt], other.#keyEnds[otherAt], start, end);
  }

  *[Symbol.iterator](): IterableIterator<TakenEntry> {
    for (let at = 0; at < this.length; at++) {
      yield { changelogKey: this.changelogKey(at), value: this.value(at), timestampMs: this.timestampMs(at) };
    }
  }

  #write(part: BytesOrText): void {
    if (typeof part === "string") {
      this.#reserve(part.length * UNIT_BYTES_MAX);
      this.#end += this.#bytes.write(part, this.#end, "utf8");
    } else {
      this.#reserve(part.byteLength);
      this.#bytes.set(part, this.#end);
      this.#end += part.byteLength;
    }
  }

  #reserve(more: number): void {
    if (this.#end + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#end + more));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}
