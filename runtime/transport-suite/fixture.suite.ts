import { randomUUID } from "node:crypto";
import { onTestFinished } from "vitest";
import type { Headers, TopicPartition } from "../../topology/record.js";
import { UnstableOffsetsError } from "../errors.js";
import { RecordBatch } from "../record-batch.js";
import { RecordCursor } from "../record-cursor.js";
import type {
  CommittedOffset,
  FetchedPartition,
  Generation,
  GroupMember,
  GroupMetadata,
  PartitionBatch,
  ProduceResult,
  ProducerOptions,
  TransactionalProducer,
  Transport,
} from "../transport.js";

export interface OpenedTransport {
  readonly transport: Transport;
  /** A second client of the same log. */
  another(): Promise<Transport>;
  close(): Promise<void>;
}

export interface TransportSuiteOptions {
  /** The shortest session that the log allows; a broker's default minimum is 6 s. */
  readonly sessionTimeoutMs?: number;
}

export interface ReadRecord {
  readonly offset: number;
  readonly key: string | null;
  readonly value: string | null;
}

export const WAIT_MS = 30_000;
const POLL_MS = 20;

/** One log under test: opens what a test needs under names of its own, and closes it when the test is over. */
export class SuiteLog {
  opened: OpenedTransport | undefined;
  readonly sessionTimeoutMs: number;
  #another: Promise<Transport> | undefined;

  constructor(options: TransportSuiteOptions) {
    this.sessionTimeoutMs = options.sessionTimeoutMs ?? 6_000;
  }

  get transport(): Transport {
    if (this.opened === undefined) throw new Error("the log is not open");
    return this.opened.transport;
  }

  /** The same second client for every test. */
  another(): Promise<Transport> {
    if (this.opened === undefined) throw new Error("the log is not open");
    this.#another ??= this.opened.another();
    return this.#another;
  }

  async close(): Promise<void> {
    await (await this.#another)?.close();
    await this.opened?.close();
  }

  async topic(partitions = 1, configs: Readonly<Record<string, string>> = {}): Promise<string> {
    const topic = unique("topic");
    await this.transport.topics.create([{ topic, partitions, replicationFactor: -1, configs }]);
    onTestFinished(() => this.transport.topics.delete([topic]));
    return topic;
  }

  producer(transport = this.transport, options: ProducerOptions = {}) {
    const producer = transport.openProducer(options);
    onTestFinished(() => producer.close());
    return producer;
  }

  /** Not initialised yet. */
  transactional(transactionalId = unique("producer"), transport = this.transport): TransactionalProducer {
    const producer = transport.openTransactionalProducer({ transactionalId, transactionTimeoutMs: 60_000 });
    onTestFinished(() => producer.close());
    return producer;
  }

  async initialized(transactionalId = unique("producer"), transport = this.transport): Promise<TransactionalProducer> {
    const producer = this.transactional(transactionalId, transport);
    await producer.initialize();
    return producer;
  }

  fetcher(readCommitted: boolean, transport = this.transport) {
    const fetcher = transport.openFetcher({ readCommitted, name: unique("fetcher") });
    onTestFinished(() => fetcher.close());
    return fetcher;
  }

  member(
    groupId: string,
    options: { groupInstanceId?: string; heartbeatIntervalMs?: number; transport?: Transport } = {},
  ): GroupMember {
    const member = (options.transport ?? this.transport).openGroupMember({
      groupId,
      groupInstanceId: options.groupInstanceId ?? unique("instance"),
      sessionTimeoutMs: this.sessionTimeoutMs,
      rebalanceTimeoutMs: 20_000,
      heartbeatIntervalMs: options.heartbeatIntervalMs ?? this.sessionTimeoutMs / 10,
    });
    onTestFinished(() => member.close());
    return member;
  }

  /** A member that has joined, and what it commits with. */
  async joined(groupId: string, groupInstanceId = unique("instance"), transport = this.transport) {
    const member = this.member(groupId, { groupInstanceId, transport });
    const generation = await join(member);
    return { member, group: metadataOf(groupId, groupInstanceId, generation) };
  }

  async latest(at: TopicPartition): Promise<number> {
    return (await this.transport.topics.offsets([at], "latest"))[0]?.offset ?? -1;
  }

  /** Waits until the partition ends at `offset`: a broker writes the markers of a transaction after its answer. */
  async endsAt(at: TopicPartition, offset: number): Promise<void> {
    await eventually(`${at.topic}-${at.partition} ends at ${offset}`, async () => (await this.latest(at)) === offset);
  }

  /** Every visible record from `from` to the high watermark, which the position must reach within the bound. */
  async read(at: TopicPartition, readCommitted = true, from = 0): Promise<ReadRecord[]> {
    return (await this.readTo(at, await this.latest(at), readCommitted, from)).records;
  }

  async readTo(at: TopicPartition, end: number, readCommitted = true, from = 0) {
    const fetcher = this.fetcher(readCommitted);
    const records: ReadRecord[] = [];
    let position = from;
    await eventually(`the position in ${at.topic}-${at.partition} reaches ${end}`, async () => {
      if (position >= end) return true;
      for (const part of await fetcher.fetch(fetchOf({ ...at, offset: position }))) {
        if (part.fault !== undefined) throw new Error(`${at.topic}-${at.partition} at ${position}: ${part.fault}`);
        const cursor = new RecordCursor(part);
        while (cursor.next()) {
          records.push({ offset: cursor.offset, key: text(cursor.key), value: text(cursor.value) });
        }
        position = cursor.nextOffset;
      }
      return position >= end;
    });
    return { records, position };
  }

  /** Asks again while a transaction is open. */
  async stableOffset(groupId: string, at: TopicPartition): Promise<CommittedOffset | undefined> {
    let found: readonly CommittedOffset[] = [];
    await eventually(`the offsets of ${groupId} are stable`, async () => {
      try {
        found = await this.transport.topics.committedOffsets(groupId, [at], { requireStable: true });
        return true;
      } catch (error) {
        if (error instanceof UnstableOffsetsError) return false;
        throw error;
      }
    });
    return found[0];
  }
}

export function unique(what: string): string {
  return `suite-${what}-${randomUUID()}`;
}

export function text(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("utf8");
}

export function fetchOf(...positions: readonly (TopicPartition & { readonly offset: number })[]) {
  return { positions, maxWaitMs: 100, bytesMax: 10_000_000, partitionBytesMax: 1_000_000 };
}

/** A batch of records with these values, stamped with the time of now. */
export function batchOf(at: TopicPartition, ...values: readonly (string | Uint8Array)[]): PartitionBatch {
  const records = values.map((value) => ({ value: typeof value === "string" ? Buffer.from(value) : value }));
  return recordsTo(at, ...records);
}

export function recordsTo(
  { topic, partition }: TopicPartition,
  ...records: readonly {
    readonly key?: Uint8Array | null;
    readonly value: Uint8Array | null;
    readonly timestampMs?: number;
    readonly headers?: Headers;
  }[]
): PartitionBatch {
  const batch = new RecordBatch();
  for (const { key, value, timestampMs, headers } of records) {
    batch.append(timestampMs ?? Date.now(), key === undefined ? Buffer.from("key") : key, value, headers ?? []);
  }
  return { topic, partition, batch };
}

export function baseOffset(result: ProduceResult | undefined): number {
  if (result === undefined || !("baseOffset" in result)) throw new Error(`not written: ${JSON.stringify(result)}`);
  return result.baseOffset;
}

export function refusal(result: ProduceResult | undefined): string {
  return result !== undefined && "refusal" in result ? result.refusal : "none";
}

export function only(parts: readonly FetchedPartition[]): FetchedPartition {
  const [part] = parts;
  if (part === undefined || parts.length > 1) throw new Error(`${parts.length} partitions were fetched`);
  return part;
}

export function values(records: readonly ReadRecord[]): (string | null)[] {
  return records.map((record) => record.value);
}

/** Gives each member the instance ids of all, with its own first. */
export function join(member: GroupMember, metadata = ""): Promise<Generation> {
  const joining = member.join({
    topics: ["suite-source"],
    metadata: Buffer.from(metadata),
    assign: (members) => {
      const all = members.map((one) => `${one.groupInstanceId}:${text(one.metadata)}`).sort();
      return new Map(members.map((one) => [one.memberId, Buffer.from(`${one.groupInstanceId} of ${all.join(",")}`)]));
    },
  });
  return within("the member joins", joining);
}

export function metadataOf(groupId: string, groupInstanceId: string, generation: Generation): GroupMetadata {
  const { generationId, memberId } = generation;
  return { groupId, generationId, memberId, groupInstanceId };
}

/** Polls, bounded, instead of sleeping. */
export async function eventually(what: string, check: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = performance.now() + WAIT_MS;
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`waited ${WAIT_MS} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

export async function within<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${WAIT_MS} ms in vain: ${what}`)), WAIT_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
