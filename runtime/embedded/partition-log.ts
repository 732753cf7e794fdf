import { crc32c } from "../crc32c.js";
import { ATTRIBUTE, BATCH, controlBatch, type ProducerStamp } from "../record-batch.js";
import type { AbortedTransaction, FetchedPartition } from "../transport.js";
import type { LogDatabase } from "./log-database.js";

const NOTHING = Buffer.alloc(0);

/** How much of a partition one read may bring. */
export interface ReadLimits {
  readonly bytesMax: number;
  /** The first batch comes whole even when it alone is larger than `bytesMax`. */
  readonly oneAtLeast: boolean;
  readonly readCommitted: boolean;
}

/**
 * One partition: record batches by base offset, markers among them. Offsets behave as on a broker: a transaction's end
 * takes one of its own, aborted records stay, and readers of committed records stop at the first open transaction.
 */
export class PartitionLog {
  /** By producer id: the first offset of its open transaction. */
  readonly open = new Map<bigint, number>();
  /** Called when there is more to read; each reader takes itself out again. */
  readonly readers = new Set<() => void>();
  #logStart: number;
  #end: number;
  #lastAborted: number;
  readonly #database: LogDatabase;

  constructor(
    database: LogDatabase,
    readonly topic: string,
    readonly partition: number,
    readonly key: number,
    logStart: number,
  ) {
    this.#database = database;
    this.#logStart = logStart;
    this.#end = Math.max(logStart, (database.sql.lastOffset.get(key)?.last_offset ?? -1) + 1);
    this.#lastAborted = database.sql.lastAborted.get(key)?.offset ?? -1;
  }

  get logStart(): number {
    return this.#logStart;
  }

  get highWatermark(): number {
    return this.#end;
  }

  get lastStableOffset(): number {
    let stable = this.#end;
    for (const firstOffset of this.open.values()) stable = Math.min(stable, firstOffset);
    return stable;
  }

  /** Stamps offset and, with `appendTimestampMs`, time into `batch`, and keeps a copy. Returns its base offset. */
  append(batch: Buffer, appendTimestampMs?: number): number {
    const baseOffset = this.#end;
    const lastOffset = baseOffset + batch.readInt32BE(BATCH.lastOffsetDelta);
    batch.writeBigInt64BE(BigInt(baseOffset), BATCH.baseOffset);
    if (appendTimestampMs !== undefined) {
      batch.writeInt16BE(batch.readInt16BE(BATCH.attributes) | ATTRIBUTE.logAppendTime, BATCH.attributes);
      batch.writeBigInt64BE(BigInt(appendTimestampMs), BATCH.maxTimestamp);
      batch.writeUInt32BE(crc32c(batch, BATCH.attributes, batch.length), BATCH.crc);
    }
    this.#database.sql.addBatch.run(this.key, baseOffset, lastOffset, batch.length, batch);
    this.#end = lastOffset + 1;
    this.wakeReaders();
    return baseOffset;
  }

  /** Ends the producer's transaction here. The marker takes an offset even where the transaction wrote nothing. */
  end(outcome: "abort" | "commit", stamp: ProducerStamp, nowMs: number): void {
    const firstOffset = this.open.get(stamp.producerId);
    const marker = this.append(controlBatch(outcome, stamp, nowMs, 0n));
    this.open.delete(stamp.producerId);
    if (outcome === "abort" && firstOffset !== undefined) {
      this.#database.sql.addAborted.run(this.key, marker, firstOffset, Number(stamp.producerId));
      this.#lastAborted = marker;
    }
  }

  /** Whole batches only: a broker may cut the last one short, but what it sends of it is thrown away by every reader. */
  read(position: number, limits: ReadLimits): FetchedPartition {
    const lastStableOffset = this.lastStableOffset;
    const end = limits.readCommitted ? lastStableOffset : this.#end;
    const isInRange = position >= this.#logStart && position <= this.#end;
    const found = isInRange && position < end ? this.#span(position, end, limits) : undefined;
    return {
      topic: this.topic,
      partition: this.partition,
      offset: position,
      records: found === undefined ? NOTHING : this.#bytes(found.first, found.last),
      aborted: found === undefined || !limits.readCommitted ? [] : this.#aborted(position, found.end),
      highWatermark: this.#end,
      lastStableOffset,
      logStartOffset: this.#logStart,
      fault: isInRange ? undefined : "out-of-range",
    };
  }

  /** Moves the log start up to `offset`, and frees the batches that lie wholly before it. */
  deleteBefore(offset: number): void {
    if (offset <= this.#logStart) return;
    this.#database.sql.setLogStart.run(offset, this.key);
    this.#database.sql.cutBatches.run(this.key, offset, offset);
    this.#database.sql.cutAborted.run(this.key, offset);
    this.#logStart = offset;
  }

  /** Frees everything: the topic is gone. */
  drop(): void {
    this.#database.sql.cutBatches.run(this.key, this.#end, this.#end);
    this.#database.sql.cutAborted.run(this.key, this.#end);
    this.#database.sql.forgetPartition.run(this.key);
    this.wakeReaders();
  }

  wakeReaders(): void {
    for (const wake of this.readers) wake();
  }

  /** Base offsets of the first and the last batch that fit, and the offset behind them. */
  #span(position: number, end: number, limits: ReadLimits): { first: number; last: number; end: number } | undefined {
    const first = this.#database.sql.batchAt.get(this.key, position)?.base_offset ?? position;
    let span: { first: number; last: number; end: number } | undefined;
    let bytes = 0;
    for (const batch of this.#database.sql.sizes.iterate(this.key, first, end)) {
      bytes += batch.size;
      if (bytes > limits.bytesMax && !(span === undefined && limits.oneAtLeast)) break;
      span = { first: span?.first ?? batch.base_offset, last: batch.base_offset, end: batch.last_offset + 1 };
    }
    return span;
  }

  #bytes(first: number, last: number): Buffer {
    const rows = this.#database.sql.bytes.all(this.key, first, last);
    return rows.length === 1 ? (rows[0] as { bytes: Buffer }).bytes : Buffer.concat(rows.map((row) => row.bytes));
  }

  /** In the order of their markers, as a broker lists them. */
  #aborted(position: number, end: number): readonly AbortedTransaction[] {
    if (position > this.#lastAborted) return [];
    const rows = this.#database.sql.aborted.all(this.key, position, end);
    return rows.map((row) => ({ producerId: BigInt(row.producer_id), firstOffset: row.first_offset }));
  }
}
