import { type BytesOrText, writeShortAscii } from "../serdes/serde.js";
import type { StoreSpec } from "../topology/state-store.js";
import { suffixBytes, writeWindowSuffix } from "./changelog.js";
import type { EncodedRow } from "./sqlite-rows.js";

const BYTES_MIN = 1_024;
/** A UTF-16 unit is at most so many bytes of UTF-8. */
const UNIT_BYTES_MAX = 3;
/** A row begins with the length of its changelog key as int32, that of its value as int32, and its time as float64. */
const ROW = { valueLength: 4, timestampMs: 8, key: 16 } as const;
const DELETED = -1;

/** A row on its way to the changelog and to SQLite: both get these same bytes. */
export interface TakenEntry extends EncodedRow {
  /** The changelog record's key: for a window store the key's bytes, start as int64 BE, seq as int32 BE. */
  readonly changelogKey: Buffer;
}

/**
 * The rows of one taking, serialized, back to back in one buffer, each with its lengths and its time before it. They live until SQLite has them: as Buffers of
 * their own they were a quarter of what outlived a young collection. SQLite gets them sorted, so that each is looked for once more in memory: all of a row lies in
 * two or three cache lines. A row is known by its place, where it begins; the first is at 0, and behind the last is `end`.
 */
export class TakenRows implements Iterable<TakenEntry> {
  readonly #suffixBytes: number;
  #bytes: Buffer;
  #view: DataView;
  #end = 0;
  #length = 0;

  /** @param bytesExpected it grows beyond them, at the price of copies */
  constructor(kind: StoreSpec["kind"], bytesExpected: number) {
    this.#suffixBytes = suffixBytes(kind);
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(BYTES_MIN, Math.ceil(bytesExpected)));
    this.#view = viewOf(this.#bytes);
  }

  get length(): number {
    return this.#length;
  }

  /** Of all rows; and the place behind the last one. */
  get end(): number {
    return this.#end;
  }

  /** Of each row the changelog key, from `keyStart` to `keyEnd`, and the value, from there to `valueEnd`, which is -1 where the row is deleted. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  keyStart(at: number): number {
    return at + ROW.key;
  }

  keyEnd(at: number): number {
    return at + ROW.key + this.#view.getInt32(at);
  }

  valueEnd(at: number): number {
    const length = this.#view.getInt32(at + ROW.valueLength);
    return length === DELETED ? DELETED : this.keyEnd(at) + length;
  }

  timestampMs(at: number): number {
    return this.#view.getFloat64(at + ROW.timestampMs);
  }

  /** The place of the row behind this one. */
  next(at: number): number {
    return Math.max(this.keyEnd(at), this.valueEnd(at));
  }

  /** A null value deletes. */
  append(key: BytesOrText, startMs: number, value: BytesOrText | null, timestampMs: number): void {
    const at = this.#end;
    this.#reserve(ROW.key);
    this.#end += ROW.key;
    this.#write(key);
    if (this.#suffixBytes > 0) {
      this.#reserve(this.#suffixBytes);
      this.#end = writeWindowSuffix(this.#bytes, startMs, this.#end);
    }
    const keyEnd = this.#end;
    if (value !== null) this.#write(value);
    this.#view.setInt32(at, keyEnd - at - ROW.key);
    this.#view.setInt32(at + ROW.valueLength, value === null ? DELETED : this.#end - keyEnd);
    this.#view.setFloat64(at + ROW.timestampMs, timestampMs);
    this.#length++;
  }

  changelogKey(at: number): Buffer {
    return this.#bytes.subarray(this.keyStart(at), this.keyEnd(at));
  }

  /** The changelog key without what follows the row's key. */
  rowKey(at: number): Buffer {
    return this.#bytes.subarray(this.keyStart(at), this.keyEnd(at) - this.#suffixBytes);
  }

  value(at: number): Buffer | null {
    const end = this.valueEnd(at);
    return end === DELETED ? null : this.#bytes.subarray(this.keyEnd(at), end);
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
    const [start, end] = [this.keyStart(at), this.keyEnd(at)];
    return this.#bytes.compare(other.#bytes, other.keyStart(otherAt), other.keyEnd(otherAt), start, end);
  }

  *[Symbol.iterator](): IterableIterator<TakenEntry> {
    for (let at = 0; at < this.#end; at = this.next(at)) {
      yield { changelogKey: this.changelogKey(at), value: this.value(at), timestampMs: this.timestampMs(at) };
    }
  }

  #write(part: BytesOrText): void {
    if (typeof part === "string") {
      this.#reserve(part.length * UNIT_BYTES_MAX);
      if (writeShortAscii(this.#bytes, part, this.#end)) this.#end += part.length;
      else this.#end += this.#bytes.write(part, this.#end, "utf8");
    } else {
      this.#reserve(part.length);
      this.#bytes.set(part, this.#end);
      this.#end += part.length;
    }
  }

  #reserve(more: number): void {
    if (this.#end + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#end + more));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
    this.#view = viewOf(larger);
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
