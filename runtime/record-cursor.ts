import type { Header, Headers } from "../topology/record.js";
import { CorruptBatchError } from "./compression.js";
import { crc32c } from "./crc32c.js";
import { ATTRIBUTE, BATCH, type NewRecord, type RecordBatch } from "./record-batch.js";
import type { AbortedTransaction } from "./transport.js";

const NO_HEADERS: Headers = [];

/**
 * Reads the records of a fetched record set one by one, without an object per record: the fields say where the cursor
 * stands, and `key`, `value` and `headers` are made when asked for, as views.
 *
 * Records of aborted transactions, control batches and what lies before the position are passed over (the broker's list
 * of aborted transactions says from where; only a control batch says up to where). `nextOffset` also counts what was
 * passed over, so that a tail of markers, a compacted tail or an empty batch never holds a position back.
 */
export class RecordCursor {
  offset = -1;
  timestampMs = -1;
  /** Where to fetch next, once `next()` has returned false. */
  nextOffset: number;

  readonly #set: Buffer;
  readonly #inflated: ReadonlyMap<number, Buffer> | undefined;
  readonly #aborted: readonly AbortedTransaction[];
  readonly #open = new Set<bigint>();
  #abortedSeen = 0;
  #batchEnd = 0;
  /** The bytes that records are read from: the set itself, or the inflated records of one batch. */
  #body: Buffer;
  /** Where the records of the batch end in `#body`. */
  #bodyEnd = 0;
  #at = 0;
  #left = 0;
  #baseOffset = 0;
  #baseTimestampMs = 0;
  #appendTimestampMs = -1;
  #keyStart = 0;
  #keyLength = -1;
  #valueStart = 0;
  #valueLength = -1;
  #headersAt = 0;
  #recordEnd = 0;
  readonly #from: number;

  constructor(fetched: {
    readonly records: Buffer;
    readonly aborted: readonly AbortedTransaction[];
    readonly offset: number;
    readonly inflated?: ReadonlyMap<number, Buffer>;
  }) {
    this.#set = fetched.records;
    this.#inflated = fetched.inflated;
    this.#body = fetched.records;
    this.#from = fetched.offset;
    this.nextOffset = fetched.offset;
    // The broker lists them by the offset of their markers; they are needed by that of their first record.
    this.#aborted =
      fetched.aborted.length < 2 ? fetched.aborted : [...fetched.aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  }

  /** Moves to the next record; false at the end of what was fetched. */
  next(): boolean {
    for (;;) {
      if (this.#left === 0) {
        if (!this.#openBatch()) return false;
        continue;
      }
      this.#readRecord();
      if (this.offset >= this.#from) return true;
    }
  }

  get key(): Buffer | null {
    return this.#keyLength < 0 ? null : this.#body.subarray(this.#keyStart, this.#keyStart + this.#keyLength);
  }

  get value(): Buffer | null {
    return this.#valueLength < 0 ? null : this.#body.subarray(this.#valueStart, this.#valueStart + this.#valueLength);
  }

  /** The key's bytes read as UTF-8; what is none becomes U+FFFD. */
  get keyText(): string | null {
    if (this.#keyLength < 0) return null;
    return this.#body.toString("utf8", this.#keyStart, this.#keyStart + this.#keyLength);
  }

  get valueText(): string | null {
    if (this.#valueLength < 0) return null;
    return this.#body.toString("utf8", this.#valueStart, this.#valueStart + this.#valueLength);
  }

  get headers(): Headers {
    const resume = this.#at;
    this.#at = this.#headersAt;
    const count = this.#varint();
    if (count === 0) {
      this.#at = resume;
      return NO_HEADERS;
    }
    const headers: Header[] = [];
    for (let i = 0; i < count; i++) {
      const name = this.#field();
      headers.push([name === null ? "" : name.toString("utf8"), this.#field()]);
      if (this.#at > this.#recordEnd) throw new CorruptBatchError("the headers of a record reach past its end");
    }
    this.#at = resume;
    return headers;
  }

  /** Enters the next batch with records to give; false when there is none. */
  #openBatch(): boolean {
    const set = this.#set;
    while (this.#batchEnd + BATCH.records <= set.length) {
      const start = this.#batchEnd;
      const end = start + BATCH.overhead + set.readInt32BE(start + BATCH.length);
      // A length too small for its own header would lead back to where the cursor has been, for ever.
      if (end < start + BATCH.records) throw new CorruptBatchError("a record batch is shorter than its header");
      if (end > set.length) return false; // cut short by the fetch's byte limit: it comes whole next time
      if (set[start + BATCH.magic] !== 2) {
        throw new CorruptBatchError(`a record batch has format ${set[start + BATCH.magic]}, only 2 is read`);
      }
      if (crc32c(set, start + BATCH.attributes, end) !== set.readUInt32BE(start + BATCH.crc)) {
        throw new CorruptBatchError("a record batch fails its checksum");
      }
      this.#batchEnd = end;
      const baseOffset = Number(set.readBigInt64BE(start + BATCH.baseOffset));
      const lastOffset = baseOffset + set.readInt32BE(start + BATCH.lastOffsetDelta);
      if (this.#isVisible(start, lastOffset) && lastOffset >= this.#from) {
        this.#enter(start, end, baseOffset);
      }
      if (lastOffset + 1 > this.nextOffset) this.nextOffset = lastOffset + 1;
      if (this.#left > 0) return true;
    }
    return false;
  }

  /** False for control batches and for records of an aborted transaction. */
  #isVisible(start: number, lastOffset: number): boolean {
    const set = this.#set;
    for (; this.#abortedSeen < this.#aborted.length; this.#abortedSeen++) {
      const transaction = this.#aborted[this.#abortedSeen] as AbortedTransaction;
      if (transaction.firstOffset > lastOffset) break;
      this.#open.add(transaction.producerId);
    }
    const attributes = set.readInt16BE(start + BATCH.attributes);
    if (attributes & ATTRIBUTE.control) {
      if (this.#open.size > 0) this.#settle(start);
      return false;
    }
    if (this.#open.size === 0 || !(attributes & ATTRIBUTE.transactional)) return true;
    return !this.#open.has(set.readBigInt64BE(start + BATCH.producerId));
  }

  /** An abort marker ends its producer's aborted transaction. */
  #settle(start: number): void {
    if (this.#set.readInt32BE(start + BATCH.count) === 0) return;
    this.#body = this.#set;
    this.#bodyEnd = this.#batchEnd;
    this.#at = start + BATCH.records;
    this.#readHead();
    const type = this.#keyLength >= 4 ? this.#body.readInt16BE(this.#keyStart + 2) : -1;
    if (type === 0) this.#open.delete(this.#set.readBigInt64BE(start + BATCH.producerId));
  }

  #enter(start: number, end: number, baseOffset: number): void {
    const set = this.#set;
    const attributes = set.readInt16BE(start + BATCH.attributes);
    this.#left = set.readInt32BE(start + BATCH.count);
    if (this.#left < 0) throw new CorruptBatchError(`a record batch says that it holds ${this.#left} records`);
    this.#baseOffset = baseOffset;
    this.#baseTimestampMs = Number(set.readBigInt64BE(start + BATCH.baseTimestamp));
    this.#appendTimestampMs =
      attributes & ATTRIBUTE.logAppendTime ? Number(set.readBigInt64BE(start + BATCH.maxTimestamp)) : -1;
    if ((attributes & ATTRIBUTE.codecMask) === 0) {
      this.#body = set;
      this.#bodyEnd = end;
      this.#at = start + BATCH.records;
    } else {
      const inflated = this.#inflated?.get(start);
      if (inflated === undefined) throw new CorruptBatchError("a record batch is compressed, and was not unpacked");
      this.#body = inflated;
      this.#bodyEnd = inflated.length;
      this.#at = 0;
    }
  }

  #readRecord(): void {
    this.#left--;
    this.#readHead();
    this.#at = this.#recordEnd;
  }

  /**
   * Reads one record's fields up to its headers. Checked by two comparisons a record: what lies between is then inside
   * the batch, and each record is at least a byte further on, so that no number in it can hold the cursor for ever.
   */
  #readHead(): void {
    const length = this.#varint();
    const end = this.#at + length;
    if (length < 0 || end > this.#bodyEnd) throw new CorruptBatchError("a record reaches past the end of its batch");
    this.#at++; // attributes, unused
    const delta = this.#varlong();
    this.timestampMs = this.#appendTimestampMs >= 0 ? this.#appendTimestampMs : this.#baseTimestampMs + delta;
    this.offset = this.#baseOffset + this.#varint();
    this.#keyLength = this.#varint();
    this.#keyStart = this.#at;
    if (this.#keyLength > 0) this.#at += this.#keyLength;
    this.#valueLength = this.#varint();
    this.#valueStart = this.#at;
    if (this.#valueLength > 0) this.#at += this.#valueLength;
    this.#headersAt = this.#at;
    this.#recordEnd = end;
    if (this.#at > end) throw new CorruptBatchError("a field of a record reaches past its end");
  }

  #field(): Buffer | null {
    const length = this.#varint();
    if (length < 0) return null;
    const start = this.#at;
    this.#at += length;
    return this.#body.subarray(start, this.#at);
  }

  #varint(): number {
    const body = this.#body;
    let byte = body[this.#at++] as number;
    let value = byte & 0x7f;
    for (let shift = 7; byte & 0x80; shift += 7) {
      if (shift > 28) throw new CorruptBatchError("a record holds a number of more than 32 bits");
      byte = body[this.#at++] as number;
      value |= (byte & 0x7f) << shift;
    }
    return (value >>> 1) ^ -(value & 1);
  }

  #varlong(): number {
    const body = this.#body;
    let byte = body[this.#at++] as number;
    let value = byte & 0x7f;
    for (let factor = 128; byte & 0x80; factor *= 128) {
      if (factor > 2 ** 63) throw new CorruptBatchError("a record holds a number of more than 64 bits");
      byte = body[this.#at++] as number;
      value += (byte & 0x7f) * factor;
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}

/** The position behind the whole batches of a record set, read from their headers alone: what a prefetch asks for next. */
export function positionAfter(records: Buffer, offset: number): number {
  let position = offset;
  for (let start = 0; start + BATCH.records <= records.length; ) {
    const end = start + BATCH.overhead + records.readInt32BE(start + BATCH.length);
    if (end > records.length || end <= start) break;
    const last =
      Number(records.readBigInt64BE(start + BATCH.baseOffset)) + records.readInt32BE(start + BATCH.lastOffsetDelta);
    position = Math.max(position, last + 1);
    start = end;
  }
  return position;
}

/** The records of a batch that was built here, as copies: for splitting a refused one. */
export function recordsOf(batch: RecordBatch): NewRecord[] {
  const cursor = new RecordCursor({ records: Buffer.from(batch.sealPlain()), aborted: [], offset: 0 });
  const records: NewRecord[] = [];
  while (cursor.next()) {
    records.push({ timestampMs: cursor.timestampMs, key: cursor.key, value: cursor.value, headers: cursor.headers });
  }
  return records;
}
