import type { KafkaConfig } from "kafkajs";
import type { Logger } from "../logger.js";
import type {
  Fetcher,
  FetcherOptions,
  GroupMember,
  GroupMemberOptions,
  Producer,
  ProducerOptions,
  TopicAdmin,
  TransactionalProducer,
  TransactionalProducerOptions,
  Transport,
} from "../transport.js";
import { Cluster } from "./cluster.js";
import { KafkaJsFetcher } from "./fetcher.js";
import { KafkaJsGroupMember } from "./group-member.js";
import { KafkaJsClient, selfCheck } from "./kafkajs-internals.js";
import { KafkaJsProducer, KafkaJsTransactionalProducer } from "./producer.js";
import { KafkaJsTopicAdmin } from "./topic-admin.js";

const REQUEST_TIMEOUT_MS = 30_000;

export interface KafkaJsTransportOptions {
  /** KafkaJS's own options, passed through: brokers, ssl, sasl, clientId. `requestTimeout` bounds every retry. */
  readonly client: KafkaConfig;
  readonly logger: Logger;
}

/** Apache Kafka (2.8 or later) through KafkaJS's connections. */
export class KafkaJsTransport implements Transport {
  readonly allowsThreads = true;
  readonly topics: TopicAdmin;
  readonly #client: KafkaJsClient;
  readonly #options: KafkaJsTransportOptions;
  readonly #shared: Cluster;
  readonly #clusters = new Set<Cluster>();

  constructor(options: KafkaJsTransportOptions) {
    this.#options = options;
    this.#client = new KafkaJsClient(options);
    this.#shared = this.#cluster();
    this.topics = new KafkaJsTopicAdmin(this.#shared);
  }

  async connect(): Promise<void> {
    await selfCheck();
    await this.#shared.retrying("connect to the brokers", () => this.#shared.refresh([]));
  }

  openFetcher(options: FetcherOptions): Fetcher {
    return new KafkaJsFetcher(this.#cluster(), options);
  }

  openProducer(options: ProducerOptions = {}): Producer {
    return new KafkaJsProducer(this.#cluster(), options);
  }

  openTransactionalProducer(options: TransactionalProducerOptions): TransactionalProducer {
    return new KafkaJsTransactionalProducer(this.#cluster(), options);
  }

  openGroupMember(options: GroupMemberOptions): GroupMember {
    return new KafkaJsGroupMember(this.#cluster(), options);
  }

  async close(): Promise<void> {
    for (const cluster of this.#clusters) cluster.close();
    this.#clusters.clear();
  }

  #cluster(): Cluster {
    const { client, logger } = this.#options;
    const requestTimeoutMs = client.requestTimeout ?? REQUEST_TIMEOUT_MS;
    const cluster = new Cluster({ client: this.#client, requestTimeoutMs, logger });
    this.#clusters.add(cluster);
    cluster.signal.addEventListener("abort", () => this.#clusters.delete(cluster), { once: true });
    return cluster;
  }
}
