import { FatalError } from "../errors.js";
import { BATCH } from "../record-batch.js";
import { RecordCursor } from "../record-cursor.js";
import type { Refusal } from "../transport.js";

const MAX_INT64 = "9223372036854775807";

/** What a topic has where nothing was set: the defaults of Apache Kafka 4.1, read from a broker. */
const DEFAULTS: Readonly<Record<string, string>> = {
  "cleanup.policy": "delete",
  "compression.gzip.level": "-1",
  "compression.lz4.level": "9",
  "compression.type": "producer",
  "compression.zstd.level": "3",
  "delete.retention.ms": "86400000",
  "file.delete.delay.ms": "60000",
  "flush.messages": MAX_INT64,
  "flush.ms": MAX_INT64,
  "follower.replication.throttled.replicas": "",
  "index.interval.bytes": "4096",
  "leader.replication.throttled.replicas": "",
  "local.retention.bytes": "-2",
  "local.retention.ms": "-2",
  "max.compaction.lag.ms": MAX_INT64,
  "max.message.bytes": "1048588",
  "message.timestamp.after.max.ms": "3600000",
  "message.timestamp.before.max.ms": MAX_INT64,
  "message.timestamp.type": "CreateTime",
  "min.cleanable.dirty.ratio": "0.5",
  "min.compaction.lag.ms": "0",
  "min.insync.replicas": "1",
  preallocate: "false",
  "remote.log.copy.disable": "false",
  "remote.log.delete.on.disable": "false",
  "remote.storage.enable": "false",
  "retention.bytes": "-1",
  "retention.ms": "604800000",
  "segment.bytes": "1073741824",
  "segment.index.bytes": "10485760",
  "segment.jitter.ms": "0",
  "segment.ms": "604800000",
  "unclean.leader.election.enable": "false",
};

/** The configs of one topic, and what of them is enforced here. The rest is kept and shown, nothing more. */
export class TopicConfigs {
  readonly values: Readonly<Record<string, string>>;
  /** Stamps the log's own time into each batch. */
  readonly logAppendTime: boolean;
  /** A broker refuses DeleteRecords on a topic that is only compacted. */
  readonly deletable: boolean;
  readonly #batchBytesMax: number;
  readonly #aheadMsMax: number;
  readonly #behindMsMax: number;
  readonly #keysRequired: boolean;

  constructor(set: Readonly<Record<string, string>>) {
    this.values = { ...DEFAULTS, ...set };
    const policies = (this.values["cleanup.policy"] ?? "").split(",").map((policy) => policy.trim());
    this.logAppendTime = this.values["message.timestamp.type"] === "LogAppendTime";
    this.deletable = policies.includes("delete") || !policies.includes("compact");
    this.#keysRequired = policies.includes("compact");
    this.#batchBytesMax = Number(this.values["max.message.bytes"]);
    this.#aheadMsMax = Number(this.values["message.timestamp.after.max.ms"]);
    this.#behindMsMax = Number(this.values["message.timestamp.before.max.ms"]);
  }

  /** Why a broker would not take this batch; undefined when it would. */
  refusalOf(topic: string, batch: Buffer, nowMs: number): { refusal: Refusal; message: string } | undefined {
    if (batch.length > this.#batchBytesMax) {
      const message = `a batch of ${batch.length} bytes is larger than max.message.bytes = ${this.#batchBytesMax} of topic ${topic}`;
      return { refusal: "message-too-large", message };
    }
    if (batch.readInt32BE(BATCH.count) <= 0) {
      return { refusal: "invalid-record", message: `a batch for topic ${topic} holds no record` };
    }
    if (!this.logAppendTime) {
      const maxTimestampMs = Number(batch.readBigInt64BE(BATCH.maxTimestamp));
      if (maxTimestampMs - nowMs > this.#aheadMsMax) {
        const message = `timestamp ${maxTimestampMs} is more than message.timestamp.after.max.ms = ${this.#aheadMsMax} of topic ${topic} ahead of the clock`;
        return { refusal: "invalid-timestamp", message };
      }
    }
    return this.#refusalOfRecords(topic, batch, nowMs);
  }

  /** What only a look at each record can tell; the batch is not decoded where nothing asks for it. */
  #refusalOfRecords(topic: string, batch: Buffer, nowMs: number): { refusal: Refusal; message: string } | undefined {
    const floorMs = this.logAppendTime ? Number.NEGATIVE_INFINITY : nowMs - this.#behindMsMax;
    if (!this.#keysRequired && floorMs < 0) return undefined;
    const cursor = new RecordCursor({ records: batch, aborted: [], offset: 0 });
    while (cursor.next()) {
      if (this.#keysRequired && cursor.key === null) {
        return { refusal: "invalid-record", message: `topic ${topic} is compacted and takes no record without a key` };
      }
      if (cursor.timestampMs < floorMs) {
        const message = `timestamp ${cursor.timestampMs} is more than message.timestamp.before.max.ms = ${this.#behindMsMax} of topic ${topic} behind the clock`;
        return { refusal: "invalid-timestamp", message };
      }
    }
    return undefined;
  }
}

/** @throws FatalError INVALID_CONFIG for a key that a broker does not know either */
export function checkConfigs(topic: string, set: Readonly<Record<string, string>>): void {
  const unknown = Object.keys(set).filter((key) => !(key in DEFAULTS));
  if (unknown.length > 0) {
    throw new FatalError("INVALID_CONFIG", `topic ${topic}: unknown config ${unknown.join(", ")}`);
  }
  const limit = set["max.message.bytes"];
  if (limit !== undefined && !(Number(limit) >= 0)) {
    throw new FatalError("INVALID_CONFIG", `topic ${topic}: max.message.bytes = ${limit} is not a number of bytes`);
  }
}
