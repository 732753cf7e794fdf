import { invariant } from "../../topology/errors.js";
import type { TopicPartition } from "../../topology/record.js";
import type {
  CommittedOffset,
  Fetcher,
  FetcherOptions,
  GroupMember,
  GroupMemberOptions,
  NewTopic,
  Producer,
  ProducerOptions,
  TopicAdmin,
  TopicDescription,
  TransactionalProducer,
  TransactionalProducerOptions,
  Transport,
} from "../transport.js";
import { EmbeddedLog, type EmbeddedLogOptions } from "./embedded-log.js";
import { EmbeddedFetcher } from "./fetcher.js";
import { EmbeddedGroupMember } from "./group-member.js";
import { EmbeddedProducer, EmbeddedTransactionalProducer } from "./producers.js";
import { nextTurn } from "./turn.js";

/** A log of its own, opened by `connect` and closed with the transport; or one that is shared, and outlives it. */
export type EmbeddedTransportOptions = EmbeddedLogOptions | { readonly log: EmbeddedLog };

/**
 * The transport without a broker. Producer, pipeline and console of one process each have their own over one
 * `EmbeddedLog`; another process cannot share it.
 */
export class EmbeddedTransport implements Transport {
  readonly allowsThreads = false;
  readonly topics: TopicAdmin;
  readonly #options: EmbeddedTransportOptions;
  readonly #open = new Set<{ close(): Promise<void> }>();
  #log: EmbeddedLog | undefined;

  constructor(options: EmbeddedTransportOptions) {
    this.#options = options;
    this.topics = new EmbeddedTopicAdmin(() => this.#connected());
  }

  /** @throws FatalError LOG_IN_USE, LOG_UNREADABLE */
  async connect(): Promise<void> {
    await nextTurn();
    this.#log ??= "log" in this.#options ? this.#options.log : new EmbeddedLog(this.#options);
  }

  openFetcher(options: FetcherOptions): Fetcher {
    return this.#opened((onClose) => new EmbeddedFetcher(this.#connected(), options, onClose));
  }

  openProducer(options: ProducerOptions = {}): Producer {
    return this.#opened((onClose) => new EmbeddedProducer(this.#connected(), options, onClose));
  }

  openTransactionalProducer(options: TransactionalProducerOptions): TransactionalProducer {
    return this.#opened((onClose) => new EmbeddedTransactionalProducer(this.#connected(), options, onClose));
  }

  openGroupMember(options: GroupMemberOptions): GroupMember {
    return this.#opened((onClose) => new EmbeddedGroupMember(this.#connected().groups, options, onClose));
  }

  async close(): Promise<void> {
    for (const one of [...this.#open]) await one.close();
    await nextTurn(); // fetches that were waiting end now
    if (!("log" in this.#options)) this.#log?.close();
  }

  #connected(): EmbeddedLog {
    invariant(this.#log !== undefined, "a transport is connected before it is used");
    return this.#log;
  }

  #opened<T extends { close(): Promise<void> }>(open: (onClose: () => void) => T): T {
    const one: T = open(() => this.#open.delete(one));
    this.#open.add(one);
    return one;
  }
}

class EmbeddedTopicAdmin implements TopicAdmin {
  readonly #log: () => EmbeddedLog;

  constructor(log: () => EmbeddedLog) {
    this.#log = log;
  }

  async describe(topics: readonly string[]): Promise<readonly TopicDescription[]> {
    return (await this.#ready()).topics.describe(topics);
  }

  async create(topics: readonly NewTopic[]): Promise<void> {
    const log = await this.#ready();
    log.write(() => log.topics.create(topics));
  }

  async delete(topics: readonly string[]): Promise<void> {
    const log = await this.#ready();
    log.write(() => log.transactions.forget(log.topics.delete(topics)));
  }

  async configs(topics: readonly string[]): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
    const log = await this.#ready();
    return new Map(
      topics.flatMap((topic) => {
        const known = log.topics.get(topic);
        return known === undefined ? [] : [[topic, known.configs.values] as const];
      }),
    );
  }

  async offsets(partitions: readonly TopicPartition[], at: "earliest" | "latest") {
    const log = await this.#ready();
    return partitions.map((where) => {
      const found = log.topics.require(where);
      const offset = at === "earliest" ? found.logStart : found.highWatermark;
      return { topic: where.topic, partition: where.partition, offset };
    });
  }

  async deleteRecords(upTo: readonly (TopicPartition & { readonly offset: number })[]): Promise<void> {
    const log = await this.#ready();
    log.write(() => log.topics.deleteRecords(upTo));
  }

  async committedOffsets(
    groupId: string,
    partitions: readonly TopicPartition[],
    options: { readonly requireStable: boolean },
  ): Promise<readonly CommittedOffset[]> {
    return (await this.#ready()).committedOffsets(groupId, partitions, options.requireStable);
  }

  async members(groupId: string): Promise<readonly string[]> {
    return (await this.#ready()).groups.members(groupId);
  }

  async deleteGroup(groupId: string): Promise<void> {
    (await this.#ready()).deleteGroup(groupId);
  }

  async removeMembers(groupId: string, groupInstanceIds: readonly string[]): Promise<void> {
    const { groups } = await this.#ready();
    for (const groupInstanceId of groupInstanceIds) {
      const memberId = groups.holder(groupId, groupInstanceId);
      if (memberId !== undefined) groups.leave(groupId, memberId);
    }
  }

  /** There is no authorizer here. */
  async refused(): Promise<readonly []> {
    return [];
  }

  async #ready(): Promise<EmbeddedLog> {
    const log = this.#log();
    await nextTurn();
    log.refuseIfClosed();
    log.expire();
    return log;
  }
}
