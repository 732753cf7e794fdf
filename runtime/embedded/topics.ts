import { randomUUID } from "node:crypto";
import type { TopicPartition } from "../../topology/record.js";
import { FatalError, UnavailableError } from "../errors.js";
import type { NewTopic, TopicDescription } from "../transport.js";
import type { LogDatabase } from "./log-database.js";
import { PartitionLog } from "./partition-log.js";
import { checkConfigs, TopicConfigs } from "./topic-configs.js";

/** The rule of Kafka for topic names. */
const NAME = /^[a-zA-Z0-9._-]{1,249}$/;
/** Each partition costs memory and one marker per transaction; a typing error must not make a million of them. */
const PARTITIONS_MAX = 10_000;

export interface Topic {
  readonly topicId: string;
  readonly configs: TopicConfigs;
  readonly partitions: readonly PartitionLog[];
}

/** The topics of an embedded log, held in memory; what changes them is written to the file first. */
export class Topics {
  readonly #database: LogDatabase;
  readonly #topics = new Map<string, Topic>();

  constructor(database: LogDatabase) {
    this.#database = database;
    this.load();
  }

  /** Takes everything from the file again. Readers of the old partitions look anew. */
  load(): void {
    const before = [...this.#topics.values()].flatMap((topic) => topic.partitions);
    this.#topics.clear();
    for (const row of this.#database.sql.topics.all()) {
      this.#topics.set(row.topic, this.#loaded(row.topic, row.topic_id, new TopicConfigs(JSON.parse(row.configs))));
    }
    for (const partition of before) partition.wakeReaders();
  }

  get(topic: string): Topic | undefined {
    return this.#topics.get(topic);
  }

  find(at: TopicPartition): PartitionLog | undefined {
    return this.#topics.get(at.topic)?.partitions[at.partition];
  }

  byKey(key: number): PartitionLog | undefined {
    for (const topic of this.#topics.values()) {
      const found = topic.partitions.find((partition) => partition.key === key);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** @throws UnavailableError when there is no such topic or partition */
  require(at: TopicPartition): PartitionLog {
    const found = this.find(at);
    if (found !== undefined) return found;
    throw new UnavailableError(`there is no ${at.topic}-${at.partition} in the embedded log; create the topic first`);
  }

  describe(topics: readonly string[]): TopicDescription[] {
    const found: TopicDescription[] = [];
    for (const topic of new Set(topics)) {
      const known = this.#topics.get(topic);
      if (known !== undefined) found.push({ topic, topicId: known.topicId, partitions: known.partitions.length });
    }
    return found;
  }

  /** @throws FatalError INVALID_TOPIC, INVALID_PARTITIONS, INVALID_CONFIG; then nothing was made */
  create(topics: readonly NewTopic[]): void {
    for (const fresh of topics) check(fresh);
    for (const { topic, partitions, configs } of topics) {
      if (this.#topics.has(topic)) continue;
      const topicId = randomUUID();
      this.#database.sql.addTopic.run(topic, topicId, JSON.stringify(configs));
      const count = partitions === -1 ? 1 : partitions;
      for (let partition = 0; partition < count; partition++) this.#database.sql.addPartition.run(topic, partition);
      this.#topics.set(topic, this.#loaded(topic, topicId, new TopicConfigs(configs)));
    }
  }

  /** With the topic go its records and the offsets that groups committed on it. Returns the partitions that are gone. */
  delete(topics: readonly string[]): PartitionLog[] {
    const gone: PartitionLog[] = [];
    for (const topic of topics) {
      const known = this.#topics.get(topic);
      if (known === undefined) continue;
      this.#topics.delete(topic);
      for (const partition of known.partitions) partition.drop();
      this.#database.sql.dropPartitions.run(topic);
      this.#database.sql.dropCommitted.run(topic);
      this.#database.sql.dropPending.run(topic);
      this.#database.sql.dropTopic.run(topic);
      gone.push(...known.partitions);
    }
    return gone;
  }

  /** @throws FatalError POLICY_VIOLATION, OFFSET_OUT_OF_RANGE, as a broker refuses it */
  deleteRecords(upTo: readonly (TopicPartition & { readonly offset: number })[]): void {
    for (const at of upTo) {
      const partition = this.require(at);
      if (!this.#topics.get(at.topic)?.configs.deletable) {
        const message = `records of ${at.topic} cannot be deleted: its cleanup.policy is compact alone; create it with "compact,delete"`;
        throw new FatalError("POLICY_VIOLATION", message);
      }
      if (at.offset > partition.highWatermark) {
        const message = `records of ${at.topic}-${at.partition} cannot be deleted up to ${at.offset}: it ends at ${partition.highWatermark}`;
        throw new FatalError("OFFSET_OUT_OF_RANGE", message);
      }
      partition.deleteBefore(at.offset);
    }
  }

  #loaded(topic: string, topicId: string, configs: TopicConfigs): Topic {
    const rows = this.#database.sql.partitions.all(topic);
    const partitions = rows.map(
      (row) => new PartitionLog(this.#database, topic, row.partition, row.key, row.log_start),
    );
    return { topicId, configs, partitions };
  }
}

function check({ topic, partitions, configs }: NewTopic): void {
  if (!NAME.test(topic) || topic === "." || topic === "..") {
    throw new FatalError("INVALID_TOPIC", `"${topic}" is no topic name: 1 to 249 of a-z A-Z 0-9 . _ -`);
  }
  if (partitions !== -1 && !(Number.isInteger(partitions) && partitions > 0 && partitions <= PARTITIONS_MAX)) {
    throw new FatalError(
      "INVALID_PARTITIONS",
      `topic ${topic}: ${partitions} partitions; 1 to ${PARTITIONS_MAX} can be made`,
    );
  }
  checkConfigs(topic, configs);
}
