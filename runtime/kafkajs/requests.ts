import type { AbortedTransaction } from "../transport.js";
import type { WireRequest } from "./kafkajs-internals.js";
import { throwIfFailed } from "./protocol-errors.js";
import { WireReader, WireWriter } from "./wire.js";

// Requests that KafkaJS does not have in the version needed, or does record by record.

/** Answers carry how long the broker wants this client to be quiet; KafkaJS's connection obeys it under this name. */
interface Throttled {
  readonly clientSideThrottleTime: number;
}

// ---- Produce v8: whole batches; 8 is the first version that says why a record was refused ----

export interface ProducePartition {
  readonly topic: string;
  readonly partition: number;
  /** The sealed bytes; not copied, so they stay as they are until the answer is there. */
  readonly records: Buffer;
}

export interface ProducedPartition {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly baseOffset: number;
  readonly message: string | null;
}

export interface ProduceAnswer extends Throttled {
  readonly partitions: readonly ProducedPartition[];
}

export function produceRequest(options: {
  readonly transactionalId: string | null;
  readonly timeoutMs: number;
  readonly partitions: readonly ProducePartition[];
}): WireRequest<ProduceAnswer> {
  return {
    apiName: "Produce",
    apiKey: 0,
    apiVersion: 8,
    encode: () => {
      const out = new WireWriter(128 + 64 * options.partitions.length);
      out.string(options.transactionalId).int16(-1).int32(options.timeoutMs);
      out.array(byTopic(options.partitions), ([topic, partitions]) => {
        out.string(topic).array(partitions, ({ partition, records }) => out.int32(partition).bytes32(records));
      });
      return out.parts;
    },
    decode: (payload) => {
      const read = new WireReader(payload);
      const partitions = read.array(() => {
        const topic = read.string();
        return read.array((): ProducedPartition => {
          const partition = read.int32();
          const errorCode = read.int16();
          const baseOffset = read.int64();
          read.int64(); // log append time
          read.int64(); // log start offset
          const reasons = read.array(() => {
            const at = read.int32();
            return `record ${at}: ${read.nullableString() ?? "refused"}`;
          });
          return { topic, partition, errorCode, baseOffset, message: read.nullableString() ?? reasons[0] ?? null };
        });
      });
      return { partitions: partitions.flat(), clientSideThrottleTime: read.int32() };
    },
  };
}

// ---- Fetch v11: record sets as they stand in the log ----

export interface FetchPartition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

export interface FetchedRecords {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
  readonly aborted: readonly AbortedTransaction[];
  /** A view into the answer. */
  readonly records: Buffer;
}

export interface FetchAnswer extends Throttled {
  readonly partitions: readonly FetchedRecords[];
}

const NO_ABORTED: readonly AbortedTransaction[] = [];

export function fetchRequest(options: {
  readonly readCommitted: boolean;
  readonly maxWaitMs: number;
  readonly bytesMax: number;
  readonly partitionBytesMax: number;
  readonly partitions: readonly FetchPartition[];
}): WireRequest<FetchAnswer> {
  return {
    apiName: "Fetch",
    apiKey: 1,
    apiVersion: 11,
    encode: () => {
      const out = new WireWriter(128 + 64 * options.partitions.length);
      out
        .int32(-1)
        .int32(options.maxWaitMs)
        .int32(1)
        .int32(options.bytesMax)
        .int8(options.readCommitted ? 1 : 0);
      out.int32(0).int32(-1); // no fetch session
      out.array(inRuns(options.partitions), ([topic, partitions]) => {
        out.string(topic).array(partitions, ({ partition, offset }) => {
          out.int32(partition).int32(-1).int64(offset).int64(-1).int32(options.partitionBytesMax);
        });
      });
      out.int32(0).string("");
      return out.parts;
    },
    decode: (payload) => {
      const read = new WireReader(payload);
      const clientSideThrottleTime = read.int32();
      throwIfFailed(read.int16(), "fetch");
      read.int32(); // session
      const partitions = read.array(() => {
        const topic = read.string();
        return read.array(() => fetchedRecords(read, topic));
      });
      return { partitions: partitions.flat(), clientSideThrottleTime };
    },
  };
}

function fetchedRecords(read: WireReader, topic: string): FetchedRecords {
  const partition = read.int32();
  const errorCode = read.int16();
  const highWatermark = read.int64();
  const lastStableOffset = read.int64();
  const logStartOffset = read.int64();
  const aborted = read.array(() => ({ producerId: read.bigInt64(), firstOffset: read.int64() }));
  read.int32(); // preferred replica
  const records = read.bytes32();
  return {
    topic,
    partition,
    errorCode,
    highWatermark,
    lastStableOffset,
    logStartOffset,
    aborted: aborted.length === 0 ? NO_ABORTED : aborted,
    records,
  };
}

// ---- TxnOffsetCommit v3: the first version that says who commits (protocol 8) ----

export interface OffsetToCommit {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly metadata: string;
}

export interface PartitionOutcome {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
}

export function txnOffsetCommitRequest(options: {
  readonly transactionalId: string;
  readonly groupId: string;
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly generationId: number;
  readonly memberId: string;
  readonly groupInstanceId: string;
  readonly offsets: readonly OffsetToCommit[];
}): WireRequest<Throttled & { readonly partitions: readonly PartitionOutcome[] }> {
  return {
    apiName: "TxnOffsetCommit",
    apiKey: 28,
    apiVersion: 3,
    encode: () => {
      const out = new WireWriter().noTags();
      out.compactString(options.transactionalId).compactString(options.groupId);
      out.int64(options.producerId).int16(options.producerEpoch).int32(options.generationId);
      out.compactString(options.memberId).compactString(options.groupInstanceId);
      out.compactArray(byTopic(options.offsets), ([topic, partitions]) => {
        out.compactString(topic).compactArray(partitions, ({ partition, offset, metadata }) => {
          out.int32(partition).int64(offset).int32(-1).compactString(metadata).noTags();
        });
        out.noTags();
      });
      return out.noTags().parts;
    },
    decode: (payload) => {
      const read = new WireReader(payload);
      read.skipTags();
      const clientSideThrottleTime = read.int32();
      const partitions = read.compactArray(() => {
        const topic = read.compactString();
        const outcomes = read.compactArray((): PartitionOutcome => {
          const outcome = { topic, partition: read.int32(), errorCode: read.int16() };
          read.skipTags();
          return outcome;
        });
        read.skipTags();
        return outcomes;
      });
      return { clientSideThrottleTime, partitions: partitions.flat() };
    },
  };
}

// ---- OffsetFetch v7: with require_stable, waits for transactions that are still open (protocol 10) ----

export interface FetchedOffset extends PartitionOutcome {
  readonly offset: number;
  readonly metadata: string;
}

export function offsetFetchRequest(options: {
  readonly groupId: string;
  readonly requireStable: boolean;
  readonly partitions: readonly { readonly topic: string; readonly partition: number }[];
}): WireRequest<Throttled & { readonly partitions: readonly FetchedOffset[]; readonly errorCode: number }> {
  return {
    apiName: "OffsetFetch",
    apiKey: 9,
    apiVersion: 7,
    encode: () => {
      const out = new WireWriter().noTags().compactString(options.groupId);
      out.compactArray(byTopic(options.partitions), ([topic, partitions]) => {
        out
          .compactString(topic)
          .compactArray(partitions, ({ partition }) => out.int32(partition))
          .noTags();
      });
      return out.boolean(options.requireStable).noTags().parts;
    },
    decode: (payload) => {
      const read = new WireReader(payload);
      read.skipTags();
      const clientSideThrottleTime = read.int32();
      const partitions = read.compactArray(() => {
        const topic = read.compactString();
        const offsets = read.compactArray((): FetchedOffset => {
          const partition = read.int32();
          const offset = read.int64();
          read.int32(); // leader epoch
          const metadata = read.compactString();
          const errorCode = read.int16();
          read.skipTags();
          return { topic, partition, offset, metadata, errorCode };
        });
        read.skipTags();
        return offsets;
      });
      return { clientSideThrottleTime, partitions: partitions.flat(), errorCode: read.int16() };
    },
  };
}

// ---- Metadata v10: topic ids, and never an auto-created topic ----

export interface BrokerNode {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}

export interface TopicMetadata {
  readonly topic: string;
  readonly errorCode: number;
  readonly topicId: string;
  /** The leader's node id by partition; -1 while there is none. */
  readonly leaders: readonly number[];
  /** Bits of what this client may do with it; without `withOperations`, and where nobody keeps count, `OPERATIONS_UNKNOWN`. */
  readonly operations: number;
}

/** What brokers say instead of the bits when they have not been asked for them. */
export const OPERATIONS_UNKNOWN = -(2 ** 31);

export interface MetadataAnswer extends Throttled {
  readonly brokers: readonly BrokerNode[];
  readonly controllerId: number;
  readonly topics: readonly TopicMetadata[];
}

export const METADATA_API = { apiKey: 3, apiVersion: 10 } as const;

export function metadataRequest(
  topics: readonly string[],
  { withOperations = false }: { readonly withOperations?: boolean } = {},
): WireRequest<MetadataAnswer> {
  return {
    apiName: "Metadata",
    ...METADATA_API,
    encode: () => {
      const out = new WireWriter().noTags();
      out.compactArray(topics, (topic) => out.zeros(16).compactString(topic).noTags());
      return out.boolean(false).boolean(false).boolean(withOperations).noTags().parts;
    },
    decode: (payload) => {
      const read = new WireReader(payload);
      read.skipTags();
      const clientSideThrottleTime = read.int32();
      const brokers = read.compactArray((): BrokerNode => {
        const broker = { nodeId: read.int32(), host: read.compactString(), port: read.int32() };
        read.compactNullableString(); // rack
        read.skipTags();
        return broker;
      });
      read.compactNullableString(); // cluster id
      const controllerId = read.int32();
      return { clientSideThrottleTime, brokers, controllerId, topics: read.compactArray(() => topicMetadata(read)) };
    },
  };
}

function topicMetadata(read: WireReader): TopicMetadata {
  const errorCode = read.int16();
  const topic = read.compactString();
  const topicId = read.uuid();
  read.boolean(); // internal
  const leaders: number[] = [];
  read.compactArray(() => {
    read.int16(); // error code: a missing leader is -1 below as well
    const partition = read.int32();
    leaders[partition] = read.int32();
    read.int32(); // leader epoch
    for (let list = 0; list < 3; list++) read.compactArray(() => read.int32()); // replicas, in sync, offline
    read.skipTags();
  });
  const operations = read.int32();
  read.skipTags();
  return { topic, errorCode, topicId, leaders, operations };
}

// ---- DescribeGroups v3: the first version that says what this client may do ----

export interface GroupOperations extends Throttled {
  readonly errorCode: number;
  /** Bits, as those of a topic. */
  readonly operations: number;
}

/** Of one group. A group that is not there is described as well: it has no members. */
export function groupOperationsRequest(groupId: string): WireRequest<GroupOperations> {
  return {
    apiName: "DescribeGroups",
    apiKey: 15,
    apiVersion: 3,
    encode: () => {
      const out = new WireWriter();
      return out.array([groupId], (id) => out.string(id)).boolean(true).parts;
    },
    decode: (payload) => {
      const read = new WireReader(payload);
      const clientSideThrottleTime = read.int32();
      const [group] = read.array(() => {
        const errorCode = read.int16();
        for (let text = 0; text < 4; text++) read.string(); // group id, state, protocol type, protocol
        read.array(() => {
          for (let text = 0; text < 3; text++) read.string(); // member id, client id, host
          for (let bytes = 0; bytes < 2; bytes++) read.bytes32(); // metadata, assignment
        });
        return { errorCode, operations: read.int32() };
      });
      return { errorCode: 0, operations: OPERATIONS_UNKNOWN, ...group, clientSideThrottleTime };
    },
  };
}

// ---- shared ----

export function byTopic<P extends { readonly topic: string }>(partitions: readonly P[]): [topic: string, P[]][] {
  const topics = new Map<string, P[]>();
  for (const partition of partitions) {
    const those = topics.get(partition.topic);
    if (those === undefined) topics.set(partition.topic, [partition]);
    else those.push(partition);
  }
  return [...topics];
}

/** Neighbours of one topic together, in the order given: a broker fills an answer in the order of the request. */
function inRuns<P extends { readonly topic: string }>(partitions: readonly P[]): [topic: string, P[]][] {
  const runs: [topic: string, P[]][] = [];
  for (const partition of partitions) {
    const last = runs[runs.length - 1];
    if (last !== undefined && last[0] === partition.topic) last[1].push(partition);
    else runs.push([partition.topic, [partition]]);
  }
  return runs;
}
