import { invariant } from "../../topology/errors.js";
import type { TopicPartition } from "../../topology/record.js";
import type { Compression } from "../codecs.js";
import { codecOf, compressBatches } from "../compression.js";
import {
  AmbiguousCommitError,
  ConfigError,
  FatalError,
  FencedError,
  InstanceFencedError,
  NotAuthorizedError,
  UnavailableError,
} from "../errors.js";
import type {
  GroupMetadata,
  PartitionBatch,
  ProduceResult,
  Producer,
  ProducerOptions,
  TransactionalProducer,
  TransactionalProducerOptions,
} from "../transport.js";
import { BatchWriter, inRounds, mayNotWrite, nameOf, type Outgoing, type ProducerIdentity } from "./batch-writer.js";
import type { Cluster } from "./cluster.js";
import { kafkaJsRequest, type WireRequest } from "./kafkajs-internals.js";
import { CODE, ConnectionLostError, isFencingCode, ProtocolError, throwIfFailed } from "./protocol-errors.js";
import { byTopic, type OffsetToCommit, type PartitionOutcome, txnOffsetCommitRequest } from "./requests.js";
import type { Deadline } from "./retry.js";

/** More than this many new identities for one call: something takes them away as fast as they come. */
const IDENTITIES_MAX = 5;

interface InitAnswer {
  readonly errorCode: number;
  readonly producerId: string;
  readonly producerEpoch: number;
}

function outgoing(batches: readonly PartitionBatch[]): Outgoing[] {
  return batches.map(({ topic, partition, batch }) => ({ topic, partition, batch, result: undefined }));
}

function resultsOf(batches: readonly Outgoing[]): ProduceResult[] {
  return batches.map(({ result, topic, partition }) => {
    invariant(result !== undefined, `the batch of ${topic}-${partition} must have a result once all rounds are done`);
    return result;
  });
}

async function initProducerId(
  send: (request: WireRequest<InitAnswer>) => Promise<InitAnswer>,
  transaction: { readonly transactionalId: string | null; readonly transactionTimeoutMs: number },
): Promise<ProducerIdentity> {
  const { transactionalId, transactionTimeoutMs } = transaction;
  const answer = await send(
    kafkaJsRequest("InitProducerId", { transactionalId, transactionTimeout: transactionTimeoutMs }),
  );
  if (answer.errorCode === CODE.CLUSTER_AUTHORIZATION_FAILED) {
    // Since Kafka 3.0 whoever may write to any topic may also write idempotently (KIP-679).
    const acl = { operation: "IdempotentWrite", resource: "cluster", name: "kafka-cluster" } as const;
    throw new NotAuthorizedError(acl, "write idempotently, nor write to any topic");
  }
  throwIfFailed(answer.errorCode, "take a producer id");
  return { producerId: BigInt(answer.producerId), producerEpoch: answer.producerEpoch };
}

/** Idempotent, without transactions. An identity that the brokers have forgotten is replaced, and the writing goes on. */
export class KafkaJsProducer implements Producer {
  readonly #cluster: Cluster;
  readonly #writer: BatchWriter;

  readonly #compression: Compression;

  constructor(cluster: Cluster, { compression = "none", mayWrite }: ProducerOptions = {}) {
    this.#cluster = cluster;
    this.#compression = compression;
    this.#writer = new BatchWriter(cluster, null, mayWrite);
  }

  async produce(batches: readonly PartitionBatch[]): Promise<readonly ProduceResult[]> {
    const all = outgoing(batches);
    await compressBatches(
      batches.map(({ batch }) => batch),
      this.#compression,
    );
    for (const round of inRounds(all)) await this.#writeRound(round);
    return resultsOf(all);
  }

  async close(): Promise<void> {
    this.#cluster.close();
  }

  async #writeRound(round: readonly Outgoing[]): Promise<void> {
    for (let identities = 0; ; identities++) {
      const left = round.filter((batch) => batch.result === undefined);
      try {
        await this.#initialize();
        await this.#writer.write(left);
        return;
      } catch (error) {
        // What was sent may be written or not: the old sequence numbers say nothing any more.
        this.#writer.become(undefined);
        if (!(error instanceof ProtocolError) || !isFencingCode(error.errorCode)) throw error;
        if (identities === IDENTITIES_MAX) throw new UnavailableError(`produce: ${error.message}`, { cause: error });
        this.#cluster.logger.info({ err: error }, "the brokers have forgotten this producer, it goes on with a new id");
      }
    }
  }

  async #initialize(): Promise<void> {
    if (this.#writer.identity !== undefined) return;
    const identity = await this.#cluster.retrying("take a producer id", () =>
      initProducerId((request) => this.#cluster.sendToAny(request), {
        transactionalId: null,
        transactionTimeoutMs: 60_000,
      }),
    );
    this.#writer.become(identity);
  }
}

type State = "uninitialized" | "ready" | "in-transaction";

/** Partitions, by their names, and groups. */
class Touched {
  readonly partitions = new Map<string, TopicPartition>();
  readonly groups = new Set<string>();

  add(at: TopicPartition): void {
    this.partitions.set(nameOf(at), at);
  }

  get isNothing(): boolean {
    return this.partitions.size === 0 && this.groups.size === 0;
  }
}

/** One transactional id: its identity, and the one transaction that may be open. */
export class KafkaJsTransactionalProducer implements TransactionalProducer {
  readonly transactionalId: string;
  readonly #cluster: Cluster;
  readonly #transactionTimeoutMs: number;
  readonly #compression: Compression;
  readonly #writer: BatchWriter;
  /** What the coordinator knows of the transaction that is open. */
  #touched = new Touched();
  /** What was sent in it, and in the last one. */
  #sent = new Touched();
  #lastSent = new Touched();
  #announcing: Promise<void> | undefined;
  #state: State = "uninitialized";
  /** A request of this transaction ended without an answer: only a new epoch makes sure of what is open. */
  #isUncertain = false;

  constructor(cluster: Cluster, options: TransactionalProducerOptions) {
    const { transactionalId, transactionTimeoutMs, compression = "none" } = options;
    this.transactionalId = transactionalId;
    this.#compression = compression;
    this.#cluster = cluster;
    this.#transactionTimeoutMs = transactionTimeoutMs;
    this.#writer = new BatchWriter(cluster, transactionalId);
  }

  async initialize(): Promise<void> {
    // A package that is missing is said before anything was read, not at the first commit.
    if (this.#compression !== "none") await codecOf(this.#compression);
    this.#state = "uninitialized";
    this.#endLocally();
    this.#lastSent = new Touched();
    const what = { transactionalId: this.transactionalId, transactionTimeoutMs: this.#transactionTimeoutMs };
    await this.#fenced("be initialised", async () => {
      const identity = await this.#asked("initialise the producer", (deadline) =>
        initProducerId((request) => this.#coordinator(request, deadline, (answer) => answer.errorCode), what),
      );
      this.#writer.become(identity);
    });
    this.#isUncertain = false;
    this.#state = "ready";
  }

  announce(): void {
    if (this.#state !== "ready" || this.#announcing !== undefined || this.#lastSent.isNothing) return;
    // Not what the last one was only told of: a marker alone moves the position of whoever reads the partition. Where that is ourselves, each commit would bring
    // the next.
    const { partitions, groups } = this.#lastSent;
    const announcing = [this.#addPartitions([...partitions.values()]), ...[...groups].map((id) => this.#addGroup(id))];
    // As a whole: what is still under way must not meet the end of the transaction. A partition that is refused is no failure yet: maybe nobody writes to it.
    this.#announcing = Promise.allSettled(announcing).then((results) => {
      for (const result of results) if (result.status === "rejected") throw result.reason;
    });
    // Whatever comes next awaits it, and throws.
    this.#announcing.catch(() => undefined);
  }

  begin(): void {
    invariant(
      this.#state === "ready",
      `a transaction of ${this.transactionalId} begins after the one before has ended, and after initialize`,
    );
    this.#state = "in-transaction";
  }

  async produce(batches: readonly PartitionBatch[]): Promise<readonly ProduceResult[]> {
    invariant(this.#state === "in-transaction", `${this.transactionalId} produces between begin and commit`);
    const all = outgoing(batches);
    await compressBatches(
      batches.map(({ batch }) => batch),
      this.#compression,
    );
    await this.#fenced("produce", async () => {
      await this.#announcing;
      await this.#placeAll(all);
      const placed = all.filter((batch) => batch.result === undefined);
      for (const { topic, partition } of placed) this.#sent.add({ topic, partition });
      for (const round of inRounds(placed)) await this.#writer.write(round);
    });
    return resultsOf(all);
  }

  async sendOffsets(group: GroupMetadata, offsets: readonly OffsetToCommit[]): Promise<void> {
    invariant(this.#state === "in-transaction", `${this.transactionalId} sends offsets between begin and commit`);
    const { groupId, generationId, memberId, groupInstanceId } = group;
    invariant(
      groupId !== "" && memberId !== "" && groupInstanceId !== "" && generationId >= 0,
      `offsets go with the whole metadata of group "${groupId}": without it a broker takes them from anyone (protocol 8)`,
    );
    if (offsets.length === 0) return;
    await this.#fenced("send offsets", async () => {
      await this.#announcing;
      await this.#addGroup(groupId);
      this.#sent.groups.add(groupId);
      await this.#commitOffsets(group, offsets);
    });
  }

  async commit(): Promise<void> {
    invariant(this.#state === "in-transaction", `${this.transactionalId} commits a transaction that has begun`);
    invariant(!this.#isUncertain, `${this.transactionalId} aborts a transaction of which a request had no answer`);
    await this.#end(true);
  }

  async abort(): Promise<void> {
    if (this.#state === "ready") return;
    if (this.#state === "uninitialized") throw new FencedError(`${this.transactionalId} has to be initialised first`);
    // Taking a new epoch aborts what is open, whatever the broker knows of it.
    if (this.#isUncertain) await this.initialize();
    else await this.#end(false);
  }

  async close(): Promise<void> {
    this.#cluster.close();
  }

  /** All or nothing at the coordinator: partitions that it refuses become results, the others are asked for again. */
  async #placeAll(batches: readonly Outgoing[]): Promise<void> {
    for (;;) {
      const missing = batches.filter(
        (batch) => batch.result === undefined && !this.#touched.partitions.has(nameOf(batch)),
      );
      if (missing.length === 0) return;
      const refused = await this.#addPartitions(missing);
      for (const batch of missing) batch.result = refused.get(nameOf(batch));
    }
  }

  /** All of them, where the answer is empty, or none of them, and why. */
  async #addPartitions(partitions: readonly TopicPartition[]): Promise<ReadonlyMap<string, ProduceResult>> {
    if (partitions.length === 0) return new Map();
    const touched = this.#touched;
    const refused = await this.#tryAddPartitions(partitions);
    if (refused.size > 0) return refused;
    for (const { topic, partition } of partitions) touched.add({ topic, partition });
    return refused;
  }

  async #tryAddPartitions(missing: readonly TopicPartition[]): Promise<ReadonlyMap<string, ProduceResult>> {
    const topics = byTopic(missing).map(([topic, those]) => ({
      topic,
      partitions: [...new Set(those.map(({ partition }) => partition))],
    }));
    return this.#asked("add partitions to the transaction", async (deadline) => {
      const request = kafkaJsRequest<{
        errors: { topic: string; partitionErrors: { partition: number; errorCode: number }[] }[];
      }>("AddPartitionsToTxn", { ...this.#identity, topics });
      const refused = new Map<string, ProduceResult>();
      const worst = (answer: {
        errors: { topic: string; partitionErrors: { partition: number; errorCode: number }[] }[];
      }): number => {
        refused.clear();
        let code: number = CODE.NONE;
        for (const { topic, partitionErrors } of answer.errors) {
          for (const { partition, errorCode } of partitionErrors) {
            const refusal = this.#refusal(errorCode, deadline);
            const name = nameOf({ topic, partition });
            if (refusal !== undefined)
              refused.set(name, {
                refusal,
                message: refusal === "not-authorized" ? mayNotWrite(topic) : `there is no ${name}`,
              });
            else if (errorCode !== CODE.OPERATION_NOT_ATTEMPTED && errorCode !== CODE.NONE) code = errorCode;
          }
        }
        return code;
      };
      await this.#coordinator(request, deadline, worst);
      return refused;
    });
  }

  #refusal(errorCode: number, deadline: Deadline): "unknown-topic" | "not-authorized" | undefined {
    if (errorCode === CODE.TOPIC_AUTHORIZATION_FAILED) return "not-authorized";
    // A topic that was made a moment ago may not have reached the coordinator.
    const isOutOfPatience = deadline.budgetMs - deadline.leftMs > Math.min(1_000, deadline.budgetMs / 2);
    return errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION && isOutOfPatience ? "unknown-topic" : undefined;
  }

  async #addGroup(groupId: string): Promise<void> {
    const touched = this.#touched;
    if (touched.groups.has(groupId)) return;
    await this.#asked("add the group to the transaction", (deadline) => {
      const request = kafkaJsRequest<{ errorCode: number }>("AddOffsetsToTxn", { ...this.#identity, groupId });
      return this.#coordinator(request, deadline, (answer) => answer.errorCode).catch((error: unknown) => {
        throw explainedGroup(error, groupId);
      });
    });
    touched.groups.add(groupId);
  }

  async #commitOffsets(group: GroupMetadata, offsets: readonly OffsetToCommit[]): Promise<void> {
    const { groupId } = group;
    await this.#asked(`commit offsets of group ${groupId}`, async (deadline) => {
      const request = txnOffsetCommitRequest({ ...this.#identity, ...group, offsets });
      const timeoutMs = Math.max(1, deadline.leftMs);
      await this.#cluster
        .sendToCoordinator("group", groupId, request, { timeoutMs, errorCodeOf: firstError })
        .catch((error: unknown) => {
          throw explained(explainedGroup(error, groupId), this.transactionalId, this.#transactionTimeoutMs);
        });
    });
  }

  async #end(commit: boolean): Promise<void> {
    await this.#fenced(commit ? "commit" : "abort", async () => this.#announcing);
    if (this.#touched.isNothing) {
      this.#endLocally();
      this.#state = "ready";
      return;
    }
    let mayHaveEnded = false;
    try {
      await this.#fenced(commit ? "commit" : "abort", () =>
        this.#asked(commit ? "commit the transaction" : "abort the transaction", async (deadline) => {
          const request = kafkaJsRequest<{ errorCode: number }>("EndTxn", {
            ...this.#identity,
            transactionResult: commit,
          });
          // Asking again is safe: the coordinator answers the second time as it did the first, while the epoch is ours.
          await this.#coordinator(request, deadline, (answer) => answer.errorCode).catch((error: unknown) => {
            mayHaveEnded ||= error instanceof ConnectionLostError && error.sent;
            throw error;
          });
        }),
      );
    } catch (cause) {
      this.#state = "uninitialized";
      if (!commit || !mayHaveEnded) throw cause;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new AmbiguousCommitError(`whether ${this.transactionalId} committed is not known: ${why}`, { cause });
    }
    this.#endLocally();
    this.#state = "ready";
  }

  #endLocally(): void {
    this.#touched = new Touched();
    this.#lastSent = this.#sent;
    this.#sent = new Touched();
    this.#announcing = undefined;
  }

  get #identity(): ProducerIdentity & { readonly transactionalId: string } {
    const identity = this.#writer.identity;
    invariant(identity !== undefined, `${this.transactionalId} is initialised before it is used`);
    return { ...identity, transactionalId: this.transactionalId };
  }

  #asked<T>(what: string, attempt: (deadline: Deadline) => Promise<T>): Promise<T> {
    return this.#cluster.retrying(`${this.transactionalId}: ${what}`, attempt);
  }

  #coordinator<T>(request: WireRequest<T>, deadline: Deadline, errorCodeOf: (answer: T) => number): Promise<T> {
    const timeoutMs = Math.max(1, deadline.leftMs);
    return this.#cluster
      .sendToCoordinator("transaction", this.transactionalId, request, { timeoutMs, errorCodeOf })
      .catch((error: unknown) => {
        throw explained(error, this.transactionalId, this.#transactionTimeoutMs);
      });
  }

  /** Turns what a broker says into what it means for the owner of the transaction. */
  async #fenced(what: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#isUncertain = true;
      if (!(error instanceof ProtocolError)) throw error;
      if (!isFencingCode(error.errorCode)) throw new FatalError(error.code, error.message, { cause: error });
      this.#state = "uninitialized";
      const Fenced = error.errorCode === CODE.FENCED_INSTANCE_ID ? InstanceFencedError : FencedError;
      throw new Fenced(`${this.transactionalId} can no longer ${what}: ${error.message}`, { cause: error });
    }
  }
}

/** @throws NotAuthorizedError where a topic's offsets may not be committed: the answer's code alone would not say which */
function firstError(answer: { readonly partitions: readonly PartitionOutcome[] }): number {
  const forbidden = answer.partitions.find(({ errorCode }) => errorCode === CODE.TOPIC_AUTHORIZATION_FAILED);
  if (forbidden !== undefined) {
    const { topic } = forbidden;
    throw new NotAuthorizedError({ operation: "Read", resource: "topic", name: topic }, `commit offsets of "${topic}"`);
  }
  return answer.partitions.find(({ errorCode }) => errorCode !== CODE.NONE)?.errorCode ?? CODE.NONE;
}

function explained(error: unknown, transactionalId: string, transactionTimeoutMs: number): unknown {
  if (!(error instanceof ProtocolError)) return error;
  if (error.errorCode === CODE.INVALID_TRANSACTION_TIMEOUT) {
    return new ConfigError([
      `TRANSACTION_TIMEOUT_MS: ${transactionTimeoutMs} is more than the brokers' transaction.max.timeout.ms allows`,
    ]);
  }
  if (error.errorCode === CODE.TRANSACTIONAL_ID_AUTHORIZATION_FAILED) {
    const acl = { operation: "Write", resource: "transactional id", name: transactionalId } as const;
    return new NotAuthorizedError(acl, `use the transactional id "${transactionalId}"`, { cause: error });
  }
  return error;
}

function explainedGroup(error: unknown, groupId: string): unknown {
  if (!(error instanceof ProtocolError) || error.errorCode !== CODE.GROUP_AUTHORIZATION_FAILED) return error;
  const acl = { operation: "Read", resource: "group", name: groupId } as const;
  return new NotAuthorizedError(acl, "commit offsets of its group", { cause: error });
}
