import type { TopicPartition } from "../../topology/record.js";
import { type Acl, NotAuthorizedError } from "../errors.js";
import type { Logger } from "../logger.js";
import { BrokerConnection } from "./broker-connection.js";
import { type KafkaJsClient, kafkaJsRequest, type WireRequest } from "./kafkajs-internals.js";
import { CODE, ConnectionLostError, isCoordinatorMoved, ProtocolError, throwIfFailed } from "./protocol-errors.js";
import { type MetadataAnswer, metadataRequest, type TopicMetadata } from "./requests.js";
import { type Deadline, retrying } from "./retry.js";

export type CoordinatorType = "group" | "transaction";

export interface ClusterOptions {
  readonly client: KafkaJsClient;
  /** What a retried request may take in all. */
  readonly requestTimeoutMs: number;
  readonly logger: Logger;
}

/** A broker that hangs must not use up the whole time of a request that another broker could answer. */
const METADATA_TIMEOUT_MS = 10_000;

/** Topic errors that waiting a little does not mend. */
const PERMANENT: ReadonlySet<number> = new Set([
  CODE.UNKNOWN_TOPIC_OR_PARTITION,
  CODE.INVALID_TOPIC_EXCEPTION,
  CODE.TOPIC_AUTHORIZATION_FAILED,
]);

/**
 * The brokers as one user of them sees them: connections, who leads which partition, who coordinates what. Fetchers,
 * producers and group members have one each, because a broker answers the requests of a connection one after the
 * other: a long poll or a join would hold up what stands behind it.
 */
export class Cluster {
  readonly #options: ClusterOptions;
  readonly #closing = new AbortController();
  readonly #nodes = new Map<number, BrokerConnection>();
  readonly #topics = new Map<string, TopicMetadata>();
  readonly #coordinators = new Map<string, number>();
  #seed: BrokerConnection | undefined;
  #controllerId = -1;

  constructor(options: ClusterOptions) {
    this.#options = options;
  }

  get requestTimeoutMs(): number {
    return this.#options.requestTimeoutMs;
  }

  get logger(): Logger {
    return this.#options.logger;
  }

  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  /** Tries until it succeeds, within `requestTimeoutMs` or `budgetMs`. */
  retrying<T>(what: string, attempt: (deadline: Deadline) => Promise<T>, budgetMs?: number): Promise<T> {
    const { requestTimeoutMs, logger } = this.#options;
    return retrying({ what, budgetMs: budgetMs ?? requestTimeoutMs, logger, signal: this.signal }, attempt);
  }

  // ---- topics and leaders ----

  /** Asks any broker, once. */
  async refresh(topics: readonly string[]): Promise<MetadataAnswer> {
    const answer = await this.#ask(metadataRequest(topics));
    this.#learnBrokers(answer);
    for (const topic of answer.topics) this.#topics.set(topic.topic, topic);
    return answer;
  }

  /** The node id of the partition's leader as last heard; undefined when there is none, or nobody has asked. */
  leaderOf({ topic, partition }: TopicPartition): number | undefined {
    const leader = this.#topics.get(topic)?.leaders[partition];
    return leader === undefined || leader < 0 || !this.#nodes.has(leader) ? undefined : leader;
  }

  /** Why a partition without a leader has none, as last heard: NONE when that should pass. */
  errorOf({ topic, partition }: TopicPartition): number {
    const known = this.#topics.get(topic);
    if (known === undefined) return CODE.NONE;
    if (PERMANENT.has(known.errorCode)) return known.errorCode;
    const exists = known.errorCode !== CODE.NONE || partition < known.leaders.length;
    return exists ? CODE.NONE : CODE.UNKNOWN_TOPIC_OR_PARTITION;
  }

  /** Makes `leaderOf` answer for these, as far as they have leaders; asks only for what is not known. */
  async findLeaders(partitions: readonly TopicPartition[]): Promise<void> {
    const unknown = partitions.filter((partition) => this.leaderOf(partition) === undefined);
    if (unknown.length > 0) await this.refresh([...new Set(unknown.map(({ topic }) => topic))]);
  }

  /** What is known of these partitions' leaders may be wrong. */
  forgetLeaders(partitions: readonly TopicPartition[]): void {
    for (const { topic } of partitions) this.#topics.delete(topic);
  }

  // ---- sending ----

  async sendTo<T>(nodeId: number, request: WireRequest<T>, timeoutMs: number): Promise<T> {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) throw new ConnectionLostError(`broker ${nodeId} is not in the cluster`, { sent: false });
    return node.send(request, timeoutMs);
  }

  async sendToAny<T>(request: WireRequest<T>): Promise<T> {
    if (this.#nodes.size === 0) await this.refresh([]);
    return this.#ask(request);
  }

  async sendToController<T>(request: WireRequest<T>, timeoutMs: number): Promise<T> {
    if (!this.#nodes.has(this.#controllerId)) await this.refresh([]);
    return this.sendTo(this.#controllerId, request, timeoutMs);
  }

  forgetController(): void {
    this.#controllerId = -1;
  }

  /**
   * Sends to the coordinator of a group or a transactional id, found and remembered. `errorCodeOf` looks for the answer's
   * error: "not me" makes it be looked for again at the next try, as a lost connection does.
   */
  async sendToCoordinator<T>(
    type: CoordinatorType,
    key: string,
    request: WireRequest<T>,
    options: { readonly timeoutMs: number; readonly errorCodeOf: (answer: T) => number },
  ): Promise<T> {
    const nodeId = await this.#coordinator(type, key);
    try {
      const answer = await this.sendTo(nodeId, request, options.timeoutMs);
      throwIfFailed(options.errorCodeOf(answer), `${request.apiName} for ${key}`);
      return answer;
    } catch (error) {
      if (
        error instanceof ConnectionLostError ||
        (error instanceof ProtocolError && isCoordinatorMoved(error.errorCode))
      ) {
        this.#coordinators.delete(`${type} ${key}`);
      }
      throw error;
    }
  }

  close(): void {
    this.#closing.abort();
    this.#seed?.close();
    for (const node of this.#nodes.values()) node.close();
    this.#nodes.clear();
  }

  async #coordinator(type: CoordinatorType, key: string): Promise<number> {
    const known = this.#coordinators.get(`${type} ${key}`);
    if (known !== undefined && this.#nodes.has(known)) return known;
    const answer = await this.sendToAny(
      kafkaJsRequest<{ errorCode: number; coordinator: { nodeId: number; host: string; port: number } }>(
        "GroupCoordinator",
        { groupId: key, coordinatorType: type === "group" ? 0 : 1 },
      ),
    );
    const { errorCode, coordinator } = answer;
    if (errorCode === CODE.GROUP_AUTHORIZATION_FAILED || errorCode === CODE.TRANSACTIONAL_ID_AUTHORIZATION_FAILED) {
      const acl: Acl =
        type === "group"
          ? { operation: "Read", resource: "group", name: key }
          : { operation: "Write", resource: "transactional id", name: key };
      throw new NotAuthorizedError(acl, `use the ${acl.resource} "${key}"`);
    }
    throwIfFailed(errorCode, `find the coordinator of ${key}`);
    this.#learnBroker(coordinator);
    this.#coordinators.set(`${type} ${key}`, coordinator.nodeId);
    return coordinator.nodeId;
  }

  /** A broker that is connected, else one that can be, else one of the configured. */
  async #ask<T>(request: WireRequest<T>): Promise<T> {
    const timeoutMs = Math.min(METADATA_TIMEOUT_MS, this.#options.requestTimeoutMs);
    const nodes = [...this.#nodes.values()];
    const candidates = [...nodes.filter((node) => node.isOpen), ...shuffled(nodes.filter((node) => !node.isOpen))];
    for (const node of candidates) {
      try {
        return await node.send(request, timeoutMs);
      } catch (error) {
        if (!(error instanceof ConnectionLostError) || this.signal.aborted) throw error;
        this.logger.debug({ err: error }, "a broker did not answer, asking another");
      }
    }
    this.#seed ??= new BrokerConnection(this.#options.client);
    if (this.signal.aborted) this.#seed.close();
    return this.#seed.send(request, timeoutMs);
  }

  #learnBrokers(answer: MetadataAnswer): void {
    if (answer.brokers.length === 0) throw new ConnectionLostError("the cluster has no brokers yet", { sent: false });
    this.#controllerId = answer.controllerId;
    const alive = new Set(answer.brokers.map(({ nodeId }) => nodeId));
    for (const [nodeId, node] of this.#nodes) {
      if (alive.has(nodeId)) continue;
      node.close();
      this.#nodes.delete(nodeId);
    }
    for (const broker of answer.brokers) this.#learnBroker(broker);
    // The configured address was only for the start: the brokers' own addresses are known now.
    this.#seed?.close();
    this.#seed = undefined;
  }

  #learnBroker({
    nodeId,
    host,
    port,
  }: {
    readonly nodeId: number;
    readonly host: string;
    readonly port: number;
  }): void {
    const known = this.#nodes.get(nodeId);
    if (known?.isAt({ host, port })) return;
    known?.close();
    this.#nodes.set(nodeId, new BrokerConnection(this.#options.client, { host, port }));
  }
}

function shuffled<T>(values: readonly T[]): T[] {
  return values
    .map((value) => ({ value, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);
}
