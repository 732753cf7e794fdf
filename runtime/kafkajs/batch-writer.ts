import type { TopicPartition } from "../../topology/record.js";
import { FatalError, FencedError, NotAuthorizedError, UnavailableError } from "../errors.js";
import type { PartitionBatch, ProduceResult, Refusal } from "../transport.js";
import type { Cluster } from "./cluster.js";
import {
  CODE,
  ConnectionLostError,
  codeName,
  isFencingCode,
  isRetriable,
  isRetriableCode,
  ProtocolError,
} from "./protocol-errors.js";
import { type ProducedPartition, type ProducePartition, produceRequest } from "./requests.js";
import { Backoff, Deadline, pause } from "./retry.js";

/**
 * Below half of a heap region of a broker with the default heap of 1 GB. A larger request is read into a humongous object, which G1 puts among the old ones
 * and marks the heap for: 37 % of a core with requests of a megabyte (ADR 011). A larger record goes alone.
 */
const REQUEST_BYTES_MAX = 420_000;
/** A topic that was made a moment ago may not have reached every broker. */
const UNKNOWN_TOPIC_PATIENCE_MS = 1_000;
const SEQUENCES = 2 ** 31;

const REFUSALS: ReadonlyMap<number, Refusal> = new Map([
  [CODE.MESSAGE_TOO_LARGE, "message-too-large"],
  [CODE.RECORD_LIST_TOO_LARGE, "message-too-large"],
  [CODE.INVALID_TIMESTAMP, "invalid-timestamp"],
  [CODE.INVALID_RECORD, "invalid-record"],
  [CODE.INVALID_TOPIC_EXCEPTION, "unknown-topic"],
  [CODE.TOPIC_AUTHORIZATION_FAILED, "not-authorized"],
]);

export interface ProducerIdentity {
  readonly producerId: bigint;
  readonly producerEpoch: number;
}

/** What writing needs of the cluster. */
export type PartitionLeaders = Pick<
  Cluster,
  "findLeaders" | "leaderOf" | "errorOf" | "forgetLeaders" | "sendTo" | "requestTimeoutMs" | "signal"
>;

/** A batch on its way, with the place of its result. */
export interface Outgoing extends PartitionBatch {
  result: ProduceResult | undefined;
}

/**
 * Stamps batches with sequence numbers and writes them to their leaders. A batch stays with its number until a broker
 * has answered for it, so that sending it again after a broken connection cannot write it twice.
 */
export class BatchWriter {
  readonly #cluster: PartitionLeaders;
  readonly #transactionalId: string | null;
  readonly #sequences = new Map<string, number>();
  readonly #mayWrite: () => boolean;
  #identity: ProducerIdentity | undefined;

  constructor(cluster: PartitionLeaders, transactionalId: string | null, mayWrite = (): boolean => true) {
    this.#mayWrite = mayWrite;
    this.#cluster = cluster;
    this.#transactionalId = transactionalId;
  }

  get identity(): ProducerIdentity | undefined {
    return this.#identity;
  }

  /** A new identity starts every partition at sequence 0. */
  become(identity: ProducerIdentity | undefined): void {
    this.#identity = identity;
    this.#sequences.clear();
  }

  /**
   * Writes at most one batch per partition, and fills in their results.
   * @throws ProtocolError with a fencing code; FencedError when it may not be written any more; UnavailableError when the time is over: what was sent may be written
   */
  async write(batches: readonly Outgoing[]): Promise<void> {
    const deadline = new Deadline(this.#cluster.requestTimeoutMs);
    const backoff = new Backoff();
    let failure: unknown;
    for (let left = batches; left.length > 0; left = left.filter((batch) => batch.result === undefined)) {
      if (left !== batches || failure !== undefined) {
        const waitMs = backoff.nextMs(failure);
        if (waitMs >= deadline.leftMs) throw this.#tooLong(failure);
        await pause(waitMs, this.#cluster.signal);
      }
      if (this.#cluster.signal.aborted) throw new UnavailableError("produce: closed meanwhile");
      failure = await this.#attempt(left, deadline);
    }
  }

  #tooLong(cause: unknown): UnavailableError {
    const why = cause instanceof Error ? cause.message : "no answer";
    return new UnavailableError(`produce: gave up after ${this.#cluster.requestTimeoutMs} ms: ${why}`, { cause });
  }

  /** Sends each batch once; returns why some are left without a result. */
  async #attempt(batches: readonly Outgoing[], deadline: Deadline): Promise<unknown> {
    try {
      await this.#cluster.findLeaders(batches);
    } catch (error) {
      if (!isRetriable(error)) throw error;
      return error;
    }
    let failure: unknown;
    const byLeader = new Map<number, Outgoing[]>();
    for (const batch of batches) {
      const leader = this.#cluster.leaderOf(batch);
      if (leader === undefined) {
        failure = this.#withoutLeader(batch, deadline);
        continue;
      }
      const those = byLeader.get(leader);
      if (those === undefined) byLeader.set(leader, [batch]);
      else those.push(batch);
    }
    const sendings = [...byLeader].flatMap(([leader, those]) =>
      inRequests(those).map((part) => this.#send(leader, part, deadline)),
    );
    // All have to come to an end before any error leaves: a request still under way would use the sequence numbers.
    for (const outcome of await Promise.allSettled(sendings)) {
      if (outcome.status === "rejected") throw outcome.reason;
      failure ??= outcome.value;
    }
    return failure;
  }

  async #send(leader: number, batches: readonly Outgoing[], deadline: Deadline): Promise<unknown> {
    const timeoutMs = this.#cluster.requestTimeoutMs;
    const request = produceRequest({
      transactionalId: this.#transactionalId,
      timeoutMs: Math.min(timeoutMs, Math.max(1_000, Math.ceil(deadline.leftMs))),
      partitions: batches.map((batch) => this.#stamped(batch)),
    });
    // As late as can be: what was retried for long, or frozen with its process, may be older than what the next owner has written.
    if (!this.#mayWrite()) throw new FencedError("produce: the records' partitions may have another owner by now");
    try {
      const answer = await this.#cluster.sendTo(leader, request, timeoutMs);
      const answers = new Map(answer.partitions.map((partition) => [nameOf(partition), partition]));
      let failure: unknown;
      for (const batch of batches) failure = this.#settle(batch, answers.get(nameOf(batch)), deadline) ?? failure;
      return failure;
    } catch (error) {
      if (!(error instanceof ConnectionLostError)) throw error;
      this.#cluster.forgetLeaders(batches);
      return error;
    }
  }

  #stamped({ topic, partition, batch }: Outgoing): ProducePartition {
    const identity = this.#identity;
    if (identity === undefined)
      throw new FatalError("NO_PRODUCER_ID", "a batch was sent before its producer was initialised");
    const baseSequence = this.#sequences.get(nameOf({ topic, partition })) ?? 0;
    const transactional = this.#transactionalId !== null;
    return { topic, partition, records: batch.seal({ ...identity, baseSequence, transactional }) };
  }

  /** Fills in the batch's result, or returns why it has to be sent again. */
  #settle(batch: Outgoing, answer: ProducedPartition | undefined, deadline: Deadline): unknown {
    const errorCode = answer?.errorCode ?? CODE.UNKNOWN_SERVER_ERROR;
    const doing = `produce to ${nameOf(batch)}`;
    if (answer !== undefined && (errorCode === CODE.NONE || this.#isWrittenBefore(answer))) {
      batch.result = { baseOffset: answer.baseOffset };
      const sequence = this.#sequences.get(nameOf(batch)) ?? 0;
      this.#sequences.set(nameOf(batch), (sequence + batch.batch.count) % SEQUENCES);
      return undefined;
    }
    const refusal = REFUSALS.get(errorCode);
    if (refusal !== undefined) {
      const why = `${doing}: ${answer?.message ?? codeName(errorCode)}`;
      batch.result = { refusal, message: refusal === "not-authorized" ? mayNotWrite(batch.topic) : why };
      return undefined;
    }
    const error = new ProtocolError(errorCode, doing, answer?.message ?? null);
    if (isFencingCode(errorCode)) throw error;
    if (!isRetriableCode(errorCode)) throw new FatalError("PRODUCE_FAILED", error.message, { cause: error });
    this.#cluster.forgetLeaders([batch]);
    if (errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION && isOutOfPatience(deadline)) return this.#unknownTopic(batch);
    return error;
  }

  /** A changelog's checkpoint needs the offset: without it, the transaction is better done again than believed. */
  #isWrittenBefore({ errorCode, baseOffset }: ProducedPartition): boolean {
    return errorCode === CODE.DUPLICATE_SEQUENCE_NUMBER && (baseOffset >= 0 || this.#transactionalId === null);
  }

  #withoutLeader(batch: Outgoing, deadline: Deadline): unknown {
    const errorCode = this.#cluster.errorOf(batch);
    const refusal = REFUSALS.get(errorCode);
    if (refusal !== undefined) {
      const why = `produce to ${nameOf(batch)}: ${codeName(errorCode)}`;
      batch.result = { refusal, message: refusal === "not-authorized" ? mayNotWrite(batch.topic) : why };
      return undefined;
    }
    if (errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION && isOutOfPatience(deadline)) return this.#unknownTopic(batch);
    return new ProtocolError(CODE.LEADER_NOT_AVAILABLE, `produce to ${nameOf(batch)}`);
  }

  #unknownTopic(batch: Outgoing): undefined {
    batch.result = { refusal: "unknown-topic", message: `there is no partition ${nameOf(batch)}` };
    return undefined;
  }
}

/** What a refused record says of the ACL that it would take. */
export function mayNotWrite(topic: string): string {
  return new NotAuthorizedError({ operation: "Write", resource: "topic", name: topic }, `write to topic "${topic}"`)
    .message;
}

function isOutOfPatience(deadline: Deadline): boolean {
  return deadline.budgetMs - deadline.leftMs > Math.min(UNKNOWN_TOPIC_PATIENCE_MS, deadline.budgetMs / 2);
}

/** The batches in rounds: the first of each partition, then the second of each, and so on. */
export function inRounds(batches: readonly Outgoing[]): Outgoing[][] {
  const rounds: Outgoing[][] = [];
  const seen = new Map<string, number>();
  for (const batch of batches) {
    const at = seen.get(nameOf(batch)) ?? 0;
    seen.set(nameOf(batch), at + 1);
    const round = rounds[at];
    if (round === undefined) rounds.push([batch]);
    else round.push(batch);
  }
  return rounds;
}

function inRequests(batches: readonly Outgoing[]): Outgoing[][] {
  const parts: Outgoing[][] = [];
  let bytes = 0;
  for (const batch of batches) {
    const last = parts[parts.length - 1];
    if (last === undefined || bytes + batch.batch.sizeBytes > REQUEST_BYTES_MAX) {
      parts.push([batch]);
      bytes = 0;
    } else {
      last.push(batch);
    }
    bytes += batch.batch.sizeBytes;
  }
  return parts;
}

export function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`;
}
