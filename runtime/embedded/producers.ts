import { invariant } from "../../topology/errors.js";
import type { TopicPartition } from "../../topology/record.js";
import { FencedError, UnavailableError } from "../errors.js";
import type {
  GroupMetadata,
  PartitionBatch,
  ProduceResult,
  Producer,
  ProducerOptions,
  TransactionalProducer,
  TransactionalProducerOptions,
} from "../transport.js";
import type { EmbeddedLog } from "./embedded-log.js";
import type { PartitionLog } from "./partition-log.js";
import { type ProducerIdentity, sequenceAfter } from "./transactions.js";
import { nextTurn } from "./turn.js";

/** Stamps batches for one identity and hands them to the log; a refused batch uses up no sequence number. */
class BatchSender {
  readonly #log: EmbeddedLog;
  readonly #identity: ProducerIdentity;
  readonly #isTransactional: boolean;
  readonly #sequences = new WeakMap<PartitionLog, number>();

  constructor(log: EmbeddedLog, identity: ProducerIdentity, isTransactional: boolean) {
    this.#log = log;
    this.#identity = identity;
    this.#isTransactional = isTransactional;
  }

  get identity(): ProducerIdentity {
    return this.#identity;
  }

  send(batches: readonly PartitionBatch[]): ProduceResult[] {
    const sequences = new Map<PartitionLog, number>();
    const results = this.#log.write(() => batches.map((one) => this.#append(one, sequences)));
    for (const [partition, sequence] of sequences) this.#sequences.set(partition, sequence);
    return results;
  }

  #append({ topic, partition, batch }: PartitionBatch, sequences: Map<PartitionLog, number>): ProduceResult {
    const configs = this.#log.topics.get(topic)?.configs;
    const at = this.#log.topics.find({ topic, partition });
    if (configs === undefined || at === undefined) {
      return { refusal: "unknown-topic", message: `there is no ${topic}-${partition}` };
    }
    const { producerId, epoch } = this.#identity;
    const baseSequence = sequences.get(at) ?? this.#sequences.get(at) ?? 0;
    const stamp = { producerId, producerEpoch: epoch, baseSequence, transactional: this.#isTransactional };
    const result = this.#log.transactions.append(at, configs, batch.seal(stamp));
    if ("baseOffset" in result) sequences.set(at, sequenceAfter(baseSequence, batch.count));
    return result;
  }
}

export class EmbeddedProducer implements Producer {
  readonly #log: EmbeddedLog;
  readonly #onClose: () => void;
  readonly #options: ProducerOptions;
  #sender: BatchSender | undefined;
  #isClosed = false;

  constructor(log: EmbeddedLog, options: ProducerOptions, onClose: () => void) {
    this.#log = log;
    this.#options = options;
    this.#onClose = onClose;
  }

  async produce(batches: readonly PartitionBatch[]): Promise<readonly ProduceResult[]> {
    await nextTurn();
    if (this.#isClosed) throw new UnavailableError("the producer was closed");
    if (this.#options.mayWrite?.() === false)
      throw new FencedError("produce: the records' partitions may have another owner by now");
    this.#sender ??= new BatchSender(
      this.#log,
      this.#log.write(() => this.#log.transactions.openIdempotent()),
      false,
    );
    return this.#sender.send(batches);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    if (this.#sender !== undefined) this.#log.transactions.closeIdempotent(this.#sender.identity);
    this.#onClose();
    return Promise.resolve();
  }
}

/** Closing leaves an open transaction as it is, as dying would: it is settled by the next `initialize` or its timeout. */
export class EmbeddedTransactionalProducer implements TransactionalProducer {
  readonly transactionalId: string;
  readonly #log: EmbeddedLog;
  readonly #timeoutMs: number;
  readonly #onClose: () => void;
  #sender: BatchSender | undefined;
  #isOpen = false;
  /** Whether the log has heard of the transaction: there is nothing to end before. */
  #isKnown = false;
  /** In the transaction that is open, or in the last one. */
  #sent: TopicPartition[] = [];
  #announcing: Promise<void> | undefined;
  #isClosed = false;

  constructor(log: EmbeddedLog, options: TransactionalProducerOptions, onClose: () => void) {
    this.transactionalId = options.transactionalId;
    this.#timeoutMs = options.transactionTimeoutMs;
    this.#log = log;
    this.#onClose = onClose;
  }

  async initialize(): Promise<void> {
    await nextTurn();
    this.#refuseIfClosed();
    const { transactions } = this.#log;
    const identity = this.#log.write(() => transactions.initialize(this.transactionalId, this.#timeoutMs));
    this.#sender = new BatchSender(this.#log, identity, true);
    this.#isOpen = false;
    this.#isKnown = false;
    this.#announcing = undefined;
    this.#sent = [];
  }

  /** Nothing is gained here, where no answer comes late; done all the same, so that tests meet transactions that are open early. */
  announce(): void {
    if (this.#isOpen || this.#sender === undefined || this.#sent.length === 0) return;
    const { identity } = this.#sender;
    const sent = this.#sent;
    this.#announcing ??= nextTurn().then(() => {
      const partitions = sent.flatMap((at) => this.#log.topics.find(at) ?? []);
      this.#log.write(() => this.#log.transactions.addPartitions(identity, partitions));
      this.#isKnown = true;
    });
    // Whatever comes next throws it.
    this.#announcing.catch(() => undefined);
  }

  begin(): void {
    invariant(this.#sender !== undefined, "a transactional producer is initialised before it begins");
    invariant(!this.#isOpen, "a transaction ends before the next one begins");
    this.#isOpen = true;
    this.#sent = [];
  }

  async produce(batches: readonly PartitionBatch[]): Promise<readonly ProduceResult[]> {
    await this.#nextTurn();
    const sender = this.#openSender();
    const results = sender.send(batches);
    if (batches.some(({ topic, partition }) => this.#exists({ topic, partition }))) this.#isKnown = true;
    this.#sent.push(...batches.map(({ topic, partition }) => ({ topic, partition })));
    return results;
  }

  async sendOffsets(
    group: GroupMetadata,
    offsets: readonly (TopicPartition & { readonly offset: number; readonly metadata: string })[],
  ): Promise<void> {
    await this.#nextTurn();
    const { identity } = this.#openSender();
    const isComplete = group.groupId !== "" && group.memberId !== "" && group.groupInstanceId !== "";
    invariant(isComplete && group.generationId >= 0, "offsets without the group's metadata would be taken from anyone");
    this.#log.write(() => this.#log.addOffsets(identity, group, offsets));
    this.#isKnown = true;
  }

  commit(): Promise<void> {
    return this.#end("commit");
  }

  abort(): Promise<void> {
    return this.#end("abort");
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#onClose();
    return Promise.resolve();
  }

  async #end(outcome: "abort" | "commit"): Promise<void> {
    await this.#nextTurn();
    const { identity } = this.#openSender();
    this.#log.expire();
    if (this.#isKnown) this.#log.write(() => this.#log.transactions.end(identity, outcome));
    this.#isOpen = false;
    this.#isKnown = false;
    this.#announcing = undefined;
  }

  async #nextTurn(): Promise<void> {
    await this.#announcing;
    await nextTurn();
  }

  #openSender(): BatchSender {
    this.#refuseIfClosed();
    invariant(
      this.#sender !== undefined && this.#isOpen,
      "what a transactional producer does, it does between begin and commit",
    );
    return this.#sender;
  }

  #exists(at: TopicPartition): boolean {
    return this.#log.topics.find(at) !== undefined;
  }

  #refuseIfClosed(): void {
    if (this.#isClosed) throw new UnavailableError(`the producer ${this.transactionalId} was closed`);
  }
}
