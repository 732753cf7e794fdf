import { invariant } from "../../topology/errors.js";
import type { TopicPartition } from "../../topology/record.js";
import { FatalError, FencedError, UnavailableError } from "../errors.js";
import { ATTRIBUTE, BATCH } from "../record-batch.js";
import type { ProduceResult } from "../transport.js";
import { Alarm } from "./alarm.js";
import type { LogDatabase } from "./log-database.js";
import type { PartitionLog } from "./partition-log.js";
import type { TopicConfigs } from "./topic-configs.js";

/** A broker's `transaction.max.timeout.ms`. */
const TIMEOUT_MS_MAX = 900_000;
/** A broker's `offset.metadata.max.bytes`, which it counts in UTF-16 units. */
const METADATA_MAX = 4_096;
const EPOCH_MAX = 32_767;
const SEQUENCE_MAX = 2 ** 31 - 1;
/** How many batches back a broker knows a duplicate. */
const DUPLICATES_KNOWN = 5;
const NO_SEQUENCE = -1;
const RETRY_MS = 1_000;

export interface ProducerIdentity {
  readonly producerId: bigint;
  readonly epoch: number;
}

export interface OffsetCommit extends TopicPartition {
  readonly offset: number;
  readonly metadata: string;
}

interface AppendedBatch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: number;
}

interface ProducerState {
  readonly producerId: bigint;
  epoch: number;
  /** Undefined for a producer that is only idempotent. */
  readonly transactionalId: string | undefined;
  timeoutMs: number;
  transaction: { readonly startedMs: number; readonly partitions: Set<PartitionLog> } | undefined;
  /** Of the epoch: what a resent batch is known by. Weak, so that a deleted partition takes its own along. */
  recent: WeakMap<PartitionLog, AppendedBatch[]>;
}

/**
 * Who may write, and what is written together: producer ids, epochs, sequences, and the transactions that are open. A
 * transaction ends in one write of the file, so the states in which a broker waits for its markers do not exist here.
 */
export class Transactions {
  readonly #database: LogDatabase;
  readonly #write: (work: () => void) => void;
  readonly #nowMs: () => number;
  readonly #byId = new Map<bigint, ProducerState>();
  readonly #byName = new Map<string, ProducerState>();
  readonly #alarm: Alarm;

  constructor(options: {
    readonly database: LogDatabase;
    readonly nowMs: () => number;
    readonly write: (work: () => void) => void;
  }) {
    this.#database = options.database;
    this.#nowMs = options.nowMs;
    this.#write = options.write;
    this.#alarm = new Alarm(this.#nowMs, () => this.#abortOverdue());
  }

  /** Takes the transactional producers from the file again. Their transactions stay open until they are settled or time out. */
  load(partitionOf: (key: number) => PartitionLog | undefined): void {
    for (const state of this.#byName.values()) this.#byId.delete(state.producerId);
    this.#byName.clear();
    for (const row of this.#database.sql.producers.all()) {
      const state = newState(BigInt(row.producer_id), row.epoch, row.transactional_id, row.timeout_ms);
      this.#add(state);
      if (row.started_ms === null) continue;
      const partitions = new Set<PartitionLog>();
      for (const open of this.#database.sql.openPartitions.all(row.producer_id)) {
        const partition = partitionOf(open.partition_key);
        if (partition === undefined) continue;
        partitions.add(partition);
        if (open.first_offset !== null) partition.open.set(state.producerId, open.first_offset);
      }
      state.transaction = { startedMs: row.started_ms, partitions };
      this.#alarm.by(row.started_ms + row.timeout_ms);
    }
  }

  /** A producer without transactions: it lives as long as the process. */
  openIdempotent(): ProducerIdentity {
    const state = newState(BigInt(this.#database.count("producer id")), 0, undefined, 0);
    this.#add(state);
    return { producerId: state.producerId, epoch: 0 };
  }

  closeIdempotent(producer: ProducerIdentity): void {
    this.#byId.delete(producer.producerId);
  }

  /** Fences every earlier user of the id, and aborts what it left open. */
  initialize(transactionalId: string, timeoutMs: number): ProducerIdentity {
    if (!(timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX)) {
      const message = `transaction timeout ${timeoutMs} ms of ${transactionalId}: it must be above 0 and at most ${TIMEOUT_MS_MAX}`;
      throw new FatalError("INVALID_TRANSACTION_TIMEOUT", message);
    }
    let state = this.#byName.get(transactionalId);
    if (state?.transaction !== undefined) this.#fenceAndAbort(state);
    if (state === undefined || state.epoch + 1 >= EPOCH_MAX) {
      if (state !== undefined) this.#byId.delete(state.producerId);
      state = newState(BigInt(this.#database.count("producer id")), 0, transactionalId, timeoutMs);
      this.#add(state);
    } else {
      this.#nextEpoch(state);
    }
    state.timeoutMs = timeoutMs;
    this.#save(state);
    return { producerId: state.producerId, epoch: state.epoch };
  }

  /** Appends one sealed batch, as a broker would: refused, known already, or at a new offset. */
  append(partition: PartitionLog, configs: TopicConfigs, batch: Buffer): ProduceResult {
    const producerId = batch.readBigInt64BE(BATCH.producerId);
    const state = this.#known({ producerId, epoch: batch.readInt16BE(BATCH.producerEpoch) });
    const isTransactional = (batch.readInt16BE(BATCH.attributes) & ATTRIBUTE.transactional) !== 0;
    invariant(isTransactional === (state.transactionalId !== undefined), "a batch must be what its producer is");
    if (isTransactional) this.#addPartition(state, partition);
    const nowMs = this.#nowMs();
    const refusal = configs.refusalOf(partition.topic, batch, nowMs);
    if (refusal !== undefined) return refusal;

    const recent = state.recent.get(partition) ?? [];
    const firstSequence = batch.readInt32BE(BATCH.baseSequence);
    const lastSequence = sequenceAfter(firstSequence, batch.readInt32BE(BATCH.count) - 1);
    const known = recent.find((one) => one.firstSequence === firstSequence && one.lastSequence === lastSequence);
    if (known !== undefined) return { baseOffset: known.baseOffset };
    const expected = sequenceAfter(recent.at(-1)?.lastSequence ?? NO_SEQUENCE, 1);
    if (firstSequence !== expected) {
      throw new FencedError(
        `producer ${producerId} sent sequence ${firstSequence} to ${partition.topic}-${partition.partition}, which waits for ${expected}: a batch is missing`,
      );
    }
    const baseOffset = partition.append(batch, configs.logAppendTime ? nowMs : undefined);
    state.recent.set(partition, [...recent.slice(1 - DUPLICATES_KNOWN), { firstSequence, lastSequence, baseOffset }]);
    if (isTransactional && !partition.open.has(producerId)) {
      partition.open.set(producerId, baseOffset);
      this.#database.sql.setOpenPartition.run(Number(producerId), partition.key, baseOffset);
    }
    return { baseOffset };
  }

  /** Opens the transaction, where it is not, and has it touch these as well. */
  addPartitions(producer: ProducerIdentity, partitions: readonly PartitionLog[]): void {
    const state = this.#known(producer);
    this.#opened(state);
    for (const partition of partitions) this.#addPartition(state, partition);
  }

  /** The offsets wait for the commit. The caller has checked who commits. */
  addOffsets(producer: ProducerIdentity, groupId: string, offsets: readonly OffsetCommit[]): void {
    const state = this.#known(producer);
    for (const { topic, partition, metadata } of offsets) {
      if (metadata.length > METADATA_MAX) {
        const message = `the metadata of ${topic}-${partition} in group ${groupId} has ${metadata.length} characters, at most ${METADATA_MAX} are kept`;
        throw new FatalError("OFFSET_METADATA_TOO_LARGE", message);
      }
    }
    this.#opened(state);
    for (const { topic, partition, offset, metadata } of offsets) {
      this.#database.sql.setPendingOffset.run(Number(producer.producerId), groupId, topic, partition, offset, metadata);
    }
  }

  end(producer: ProducerIdentity, outcome: "abort" | "commit"): void {
    const state = this.#known(producer);
    invariant(
      state.transaction !== undefined,
      "a transaction that ends must have been opened by a batch or by offsets",
    );
    this.#end(state, outcome);
  }

  /** A partition was deleted: nothing is left to be marked there. */
  forget(partitions: readonly PartitionLog[]): void {
    for (const state of this.#byName.values()) {
      for (const partition of partitions) state.transaction?.partitions.delete(partition);
    }
  }

  /** Aborts what has been open for longer than its timeout; a timer does so as well. */
  expire(): void {
    this.#alarm.ifDue();
  }

  stop(): void {
    this.#alarm.stop();
  }

  #known(producer: ProducerIdentity): ProducerState {
    const state = this.#byId.get(producer.producerId);
    if (state === undefined || state.epoch !== producer.epoch) {
      const whose = state?.transactionalId ?? `${producer.producerId}`;
      throw new FencedError(
        `producer ${whose} is fenced at epoch ${producer.epoch}: it was initialised again, or its transaction timed out`,
      );
    }
    return state;
  }

  #addPartition(state: ProducerState, partition: PartitionLog): void {
    const transaction = this.#opened(state);
    if (transaction.partitions.has(partition)) return;
    transaction.partitions.add(partition);
    this.#database.sql.setOpenPartition.run(Number(state.producerId), partition.key, null);
  }

  #opened(state: ProducerState): NonNullable<ProducerState["transaction"]> {
    if (state.transaction === undefined) {
      state.transaction = { startedMs: this.#nowMs(), partitions: new Set() };
      this.#save(state);
      this.#alarm.by(state.transaction.startedMs + state.timeoutMs);
    }
    return state.transaction;
  }

  #end(state: ProducerState, outcome: "abort" | "commit"): void {
    const nowMs = this.#nowMs();
    const { producerId, epoch } = state;
    const stamp = { producerId, producerEpoch: epoch, baseSequence: NO_SEQUENCE, transactional: true };
    for (const partition of state.transaction?.partitions ?? []) partition.end(outcome, stamp, nowMs);
    const id = Number(producerId);
    if (outcome === "commit") this.#database.sql.commitPending.run(id);
    this.#database.sql.dropPendingOf.run(id);
    this.#database.sql.dropOpenPartitions.run(id);
    state.transaction = undefined;
    this.#save(state);
  }

  /** As a broker does: the abort has an epoch of its own, so that a late batch of the old one finds itself fenced. */
  #fenceAndAbort(state: ProducerState): void {
    this.#nextEpoch(state);
    this.#end(state, "abort");
  }

  #abortOverdue(): number | undefined {
    const nowMs = this.#nowMs();
    const open = [...this.#byName.values()].filter((state) => state.transaction !== undefined);
    const overdue = open.filter((state) => deadlineMs(state) <= nowMs);
    try {
      this.#write(() => {
        for (const state of overdue) this.#fenceAndAbort(state);
      });
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      return nowMs + RETRY_MS; // a full disk, say: whoever writes next is told, and readers wait until there is room
    }
    const next = Math.min(...open.filter((state) => deadlineMs(state) > nowMs).map(deadlineMs));
    return Number.isFinite(next) ? next : undefined;
  }

  #add(state: ProducerState): void {
    this.#byId.set(state.producerId, state);
    if (state.transactionalId !== undefined) this.#byName.set(state.transactionalId, state);
  }

  #nextEpoch(state: ProducerState): void {
    state.epoch++;
    state.recent = new WeakMap();
  }

  #save(state: ProducerState): void {
    if (state.transactionalId === undefined) return;
    const startedMs = state.transaction?.startedMs ?? null;
    this.#database.sql.setProducer.run(
      state.transactionalId,
      Number(state.producerId),
      state.epoch,
      state.timeoutMs,
      startedMs,
    );
  }
}

/** The sequence `by` further on; after the largest comes 0. */
export function sequenceAfter(sequence: number, by: number): number {
  return sequence > SEQUENCE_MAX - by ? by - (SEQUENCE_MAX - sequence) - 1 : sequence + by;
}

function newState(
  producerId: bigint,
  epoch: number,
  transactionalId: string | undefined,
  timeoutMs: number,
): ProducerState {
  return { producerId, epoch, transactionalId, timeoutMs, transaction: undefined, recent: new WeakMap() };
}

function deadlineMs(state: ProducerState): number {
  return state.transaction === undefined ? Number.POSITIVE_INFINITY : state.transaction.startedMs + state.timeoutMs;
}
