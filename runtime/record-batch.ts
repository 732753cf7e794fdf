import type { BytesOrText } from "../serdes/serde.js";
import type { Header, Headers } from "../topology/record.js";
import { crc32c } from "./crc32c.js";

/**
 * Record batches, format v2 (magic 2): the only format that Kafka 4 writes. Encoded here, decoded in `record-cursor.ts`.
 *
 *   base offset int64 | length int32 | leader epoch int32 | magic int8 | crc int32 | attributes int16 |
 *   last offset delta int32 | base timestamp int64 | max timestamp int64 | producer id int64 | producer epoch int16 |
 *   base sequence int32 | count int32 | records
 *
 * The checksum covers everything from the attributes on.
 */
export const BATCH = {
  baseOffset: 0,
  length: 8,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  count: 57,
  records: 61,
  /** Bytes before the part that `length` counts. */
  overhead: 12,
} as const;

export const ATTRIBUTE = { codecMask: 0x07, logAppendTime: 0x08, transactional: 0x10, control: 0x20 } as const;

/** So that a batch and its header fit into one produce request as ADR 011 has it. Below the 700 KB and 5,000 records of the protocol (rule 6). */
export const BATCH_BYTES_MAX = 400_000;
export const BATCH_RECORDS_MAX = 5_000;

/** What a record may take beside its key and value. */
const RECORD_OVERHEAD_BYTES = 64;

const NO_PRODUCER = -1n;
const INITIAL_BYTES = 4_096;
/** A UTF-16 unit is at most so many bytes of UTF-8. */
const UNIT_BYTES_MAX = 3;
const SPAN_BYTES_COPIED_MAX = 128;

/** The identity that a batch is stamped with when it is sent. */
export interface ProducerStamp {
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly transactional: boolean;
}

/** A record to be written. Key and value bytes are copied by `append`. */
export interface NewRecord {
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: Headers;
}

/** Records of one partition on their way out, encoded as they are appended. */
export class RecordBatch {
  #bytes: Buffer;
  #end: number = BATCH.records;
  #count = 0;
  #baseTimestampMs = 0;
  #maxTimestampMs = -1;
  // The mark, in fields of the batch: one is set for each record that is put out.
  #markedEnd: number = BATCH.records;
  #markedCount = 0;
  #markedMaxTimestampMs = -1;
  /** The batch with its records compressed: header bytes left free, then the records. */
  #packed: { readonly codec: number; readonly bytes: Buffer } | undefined;

  /** `bytesExpected`: it grows beyond them, at the price of a copy. */
  constructor(bytesExpected = INITIAL_BYTES) {
    this.#bytes = Buffer.allocUnsafe(Math.max(INITIAL_BYTES, Math.ceil(bytesExpected)));
  }

  get count(): number {
    return this.#count;
  }

  get sizeBytes(): number {
    return this.#end;
  }

  /** The records as they stand in the batch, uncompressed: a view, valid until the next `append`. */
  get body(): Buffer {
    return this.#bytes.subarray(BATCH.records, this.#end);
  }

  /** True when it was packed since the last `append`, also where the records stayed as they were. */
  get isPacked(): boolean {
    return this.#packed !== undefined;
  }

  /** From now on it is sealed with these bytes for its records, unless they are no fewer. */
  pack(codec: number, body: Buffer): void {
    if (body.length >= this.#end - BATCH.records) {
      this.#packed = { codec: 0, bytes: this.#bytes.subarray(0, this.#end) };
      return;
    }
    const bytes = Buffer.allocUnsafe(BATCH.records + body.length);
    body.copy(bytes, BATCH.records);
    this.#packed = { codec, bytes };
  }

  /** False when the batch should be closed first; an empty batch takes any record, however large. Of a text, that it may be all of ASCII is not relied upon. */
  hasRoomFor(key: Uint8Array | null, value: BytesOrText | null): boolean {
    // Here and below `length`: V8 calls a function for the `byteLength` of a Uint8Array, 8 ns each.
    const valueBytes = typeof value === "string" ? value.length * UNIT_BYTES_MAX : (value?.length ?? 0);
    return this.hasRoom((key?.length ?? 0) + valueBytes);
  }

  /** As `hasRoomFor` a key and a value of so many bytes. */
  hasRoom(bytes: number): boolean {
    if (this.#count === 0) return true;
    return this.#count < BATCH_RECORDS_MAX && this.#end + bytes + RECORD_OVERHEAD_BYTES <= BATCH_BYTES_MAX;
  }

  append(timestampMs: number, key: Uint8Array | null, value: BytesOrText | null, headers: Headers): void {
    const keyLength = key === null ? -1 : key.length;
    // A text is taken for ASCII, as most are.
    const valueLength = value === null ? -1 : value.length;
    const room = typeof value === "string" ? (UNIT_BYTES_MAX - 1) * value.length : 0;
    let at = this.#begin(timestampMs, keyLength, valueLength, headersSize(headers), room);
    const out = this.#bytes;
    at = writeField(out, key, at);
    if (typeof value === "string") {
      at = writeVarint(out, valueLength, at);
      const written = out.write(value, at, "utf8");
      if (written !== valueLength) {
        this.append(timestampMs, key, Buffer.from(value, "utf8"), headers);
        return;
      }
      at += written;
    } else at = writeField(out, value, at);
    at = writeVarint(out, headers.length, at);
    for (const [name, header] of headers) {
      at = writeField(out, Buffer.from(name, "utf8"), at);
      at = writeField(out, header, at);
    }
    this.#finish(timestampMs, at);
  }

  /** A record without headers whose key and value lie one behind the other in `source`, as `append` of two views of it, without making them. A negative end is no value. */
  appendSpan(timestampMs: number, source: Uint8Array, keyStart: number, keyEnd: number, valueEnd: number): void {
    const valueLength = valueEnd < 0 ? -1 : valueEnd - keyEnd;
    let at = this.#begin(timestampMs, keyEnd - keyStart, valueLength, 1, 0);
    const out = this.#bytes;
    at = copySpan(out, source, keyStart, keyEnd, writeVarint(out, keyEnd - keyStart, at));
    at = writeVarint(out, valueLength, at);
    if (valueLength > 0) at = copySpan(out, source, keyEnd, valueEnd, at);
    this.#finish(timestampMs, writeVarint(out, 0, at));
  }

  /** Writes what comes before a record's key, and returns where that begins: with room for all of it, and for `moreBytes`. */
  #begin(timestampMs: number, keyLength: number, valueLength: number, headersBytes: number, moreBytes: number): number {
    const delta = this.#count === 0 ? 0 : timestampMs - this.#baseTimestampMs;
    const bodyLength =
      1 + varlongSize(delta) + varintSize(this.#count) + fieldSize(keyLength) + fieldSize(valueLength) + headersBytes;
    this.#packed = undefined;
    this.#reserve(bodyLength + 5 + moreBytes);
    const out = this.#bytes;
    let at = writeVarint(out, bodyLength, this.#end);
    out[at++] = 0;
    at = writeVarlong(out, delta, at);
    return writeVarint(out, this.#count, at);
  }

  /** Only now: an append that threw before, on a header that is none, has left no trace. */
  #finish(timestampMs: number, end: number): void {
    if (this.#count === 0) this.#baseTimestampMs = timestampMs;
    if (timestampMs > this.#maxTimestampMs) this.#maxTimestampMs = timestampMs;
    this.#end = end;
    this.#count++;
  }

  /** A place to go back to when the record that wrote behind it fails: the newest counts. */
  mark(): void {
    this.#markedEnd = this.#end;
    this.#markedCount = this.#count;
    this.#markedMaxTimestampMs = this.#maxTimestampMs;
  }

  /** Forgets what was appended since `mark`. */
  backToMark(): void {
    this.#packed = undefined;
    this.#end = this.#markedEnd;
    this.#count = this.#markedCount;
    this.#maxTimestampMs = this.#markedMaxTimestampMs;
  }

  /** The finished bytes: a view, valid until the next `append` or `seal`. Sealing again stamps anew. */
  seal(stamp?: ProducerStamp, baseOffset = 0n): Buffer {
    return this.#packed === undefined
      ? this.sealPlain(stamp, baseOffset)
      : this.#seal(this.#packed.bytes, this.#packed.codec, stamp, baseOffset);
  }

  /** As `seal`, uncompressed also when the batch was packed. */
  sealPlain(stamp?: ProducerStamp, baseOffset = 0n): Buffer {
    return this.#seal(this.#bytes.subarray(0, this.#end), 0, stamp, baseOffset);
  }

  #seal(out: Buffer, codec: number, stamp: ProducerStamp | undefined, baseOffset: bigint): Buffer {
    out.writeBigInt64BE(baseOffset, BATCH.baseOffset);
    out.writeInt32BE(out.length - BATCH.overhead, BATCH.length);
    out.writeInt32BE(-1, BATCH.length + 4);
    out[BATCH.magic] = 2;
    out.writeInt16BE(codec | (stamp?.transactional ? ATTRIBUTE.transactional : 0), BATCH.attributes);
    out.writeInt32BE(this.#count - 1, BATCH.lastOffsetDelta);
    out.writeBigInt64BE(BigInt(this.#baseTimestampMs), BATCH.baseTimestamp);
    out.writeBigInt64BE(BigInt(this.#maxTimestampMs), BATCH.maxTimestamp);
    out.writeBigInt64BE(stamp?.producerId ?? NO_PRODUCER, BATCH.producerId);
    out.writeInt16BE(stamp?.producerEpoch ?? -1, BATCH.producerEpoch);
    out.writeInt32BE(stamp?.baseSequence ?? -1, BATCH.baseSequence);
    out.writeInt32BE(this.#count, BATCH.count);
    out.writeUInt32BE(crc32c(out, BATCH.attributes, out.length), BATCH.crc);
    return out;
  }

  #reserve(more: number): void {
    if (this.#end + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#end + more));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}

/** The marker that ends a transaction: a control batch of one record, key = version int16 0, type int16. */
export function controlBatch(
  type: "abort" | "commit",
  stamp: ProducerStamp,
  timestampMs: number,
  baseOffset: bigint,
): Buffer {
  const key = Buffer.from([0, 0, 0, type === "commit" ? 1 : 0]);
  const value = Buffer.alloc(6);
  const batch = new RecordBatch();
  batch.append(timestampMs, key, value, []);
  const bytes = Buffer.from(batch.seal(stamp, baseOffset));
  bytes.writeInt16BE(ATTRIBUTE.transactional | ATTRIBUTE.control, BATCH.attributes);
  bytes.writeUInt32BE(crc32c(bytes, BATCH.attributes, bytes.length), BATCH.crc);
  return bytes;
}

// ---- variable-length integers: zigzag, seven bits a byte, lowest first ----

function varintSize(value: number): number {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  let size = 1;
  while (rest > 0x7f) {
    rest >>>= 7;
    size++;
  }
  return size;
}

function writeVarint(out: Buffer, value: number, at: number): number {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  while (rest > 0x7f) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at++] = rest;
  return at;
}

/** Timestamps differ by more than 32 bits hold when event time jumps by weeks; doubles keep this exact up to 2^52. */
function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

function varlongSize(value: number): number {
  let rest = zigzag(value);
  let size = 1;
  while (rest > 0x7f) {
    rest = Math.floor(rest / 128);
    size++;
  }
  return size;
}

function writeVarlong(out: Buffer, value: number, at: number): number {
  let rest = zigzag(value);
  while (rest > 0x7f) {
    out[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  out[at++] = rest;
  return at;
}

function fieldSize(length: number): number {
  return varintSize(length) + Math.max(length, 0);
}

function writeField(out: Buffer, bytes: Uint8Array | null, at: number): number {
  if (bytes === null) return writeVarint(out, -1, at);
  const start = writeVarint(out, bytes.length, at);
  out.set(bytes, start);
  return start + bytes.length;
}

/** Short ones byte by byte: a view of them takes longer. */
function copySpan(out: Buffer, source: Uint8Array, start: number, end: number, at: number): number {
  if (end - start > SPAN_BYTES_COPIED_MAX) out.set(source.subarray(start, end), at);
  else for (let from = start, to = at; from < end; from++, to++) out[to] = source[from]!;
  return at + end - start;
}

function headersSize(headers: readonly Header[]): number {
  let size = varintSize(headers.length);
  for (const [name, value] of headers) {
    size += fieldSize(Buffer.byteLength(name, "utf8")) + fieldSize(value === null ? -1 : value.byteLength);
  }
  return size;
}
