import { randomBytes } from "node:crypto";
import { partitionOf } from "../runtime/partitioner.js";
import { RecordBatch } from "../runtime/record-batch.js";
import { RecordCursor } from "../runtime/record-cursor.js";
import type { PartitionBatch, Producer, Transport } from "../runtime/transport.js";
import type { Headers, TopicPartition } from "../topology/record.js";

export interface ProbeRecord {
  readonly key: Uint8Array | string | null;
  readonly value: Uint8Array | string | null;
  /** The clock's by default. */
  readonly timestampMs?: number;
  readonly headers?: Headers;
  /** By the key's hash by default; 0 for a null key. */
  readonly partition?: number;
}

export interface ReadBack {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Headers;
}

const ANY_TIMESTAMP = { "message.timestamp.after.max.ms": "9223372036854775807" };
const READ_TIMEOUT_MS = 60_000;

/** A name that no other test, and no other run on the same broker, has. */
export function unique(what: string): string {
  return `${what}-${randomBytes(6).toString("hex")}`;
}

/** Polls until `condition` holds. @throws with `what` when it does not within `timeoutMs` */
export async function eventually(
  what: string | (() => string),
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) {
      throw new Error(`not within ${timeoutMs / 1000} s: ${typeof what === "string" ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What a test does to a log from outside: writes and reads whole topics, and asks where they begin and end. */
export class LogProbe {
  #producer: Producer | undefined;

  constructor(readonly transport: Transport) {}

  /** Makes a topic that keeps records of any age. */
  async createTopic(
    topic: string,
    partitions: number,
    configs: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const all = { "retention.ms": "-1", ...ANY_TIMESTAMP, ...configs };
    await this.transport.topics.create([{ topic, partitions, replicationFactor: -1, configs: all }]);
    return topic;
  }

  /** In the order given, within each partition. */
  async write(topic: string, records: readonly ProbeRecord[]): Promise<void> {
    const partitions = await this.#partitions(topic);
    const batches: (PartitionBatch & { readonly batch: RecordBatch })[] = [];
    const open = new Map<number, RecordBatch>();
    const bytesOf = (given: Uint8Array | string | null): Uint8Array | null =>
      typeof given === "string" ? Buffer.from(given, "utf8") : given;
    for (const record of records) {
      const [key, value] = [bytesOf(record.key), bytesOf(record.value)];
      const partition = record.partition ?? (key === null ? 0 : partitionOf(key, partitions));
      let batch = open.get(partition);
      if (batch === undefined || !batch.hasRoomFor(key, value)) {
        batch = new RecordBatch();
        open.set(partition, batch);
        batches.push({ topic, partition, batch });
      }
      batch.append(record.timestampMs ?? Date.now(), key, value, record.headers ?? []);
    }
    this.#producer ??= this.transport.openProducer();
    for (const result of await this.#producer.produce(batches)) {
      if ("refusal" in result) throw new Error(`${topic} refused what a test writes: ${result.message}`);
    }
  }

  /** Everything committed up to the end as of now, each partition in its order. */
  async read(topic: string): Promise<ReadBack[]> {
    const open = new Map(
      (await this.#spans(topic))
        .filter(({ low, high }) => high > low)
        .map((span) => [span.partition, { ...span, at: span.low }]),
    );
    const found: ReadBack[] = [];
    const fetcher = this.transport.openFetcher({ name: "probe", readCommitted: true });
    const deadlineMs = performance.now() + READ_TIMEOUT_MS;
    while (open.size > 0 && performance.now() < deadlineMs) {
      const positions = [...open.values()].map(({ partition, at }) => ({ topic, partition, offset: at }));
      for (const fetched of await fetcher.fetch({
        positions,
        maxWaitMs: 250,
        bytesMax: 8 << 20,
        partitionBytesMax: 1 << 20,
      })) {
        const { partition } = fetched;
        const cursor = new RecordCursor(fetched);
        while (cursor.next()) {
          const { offset, timestampMs, key, value, headers } = cursor;
          found.push({ partition, offset, timestampMs, key: copy(key), value: copy(value), headers });
        }
        const span = open.get(partition);
        if (span === undefined) continue;
        span.at = cursor.nextOffset;
        if (span.at >= span.high) open.delete(partition);
      }
    }
    await fetcher.close();
    if (open.size > 0) throw new Error(`${topic} cannot be read to its end`);
    return found;
  }

  /** The offsets that its partitions begin at. */
  async lows(topic: string): Promise<number[]> {
    return (await this.#spans(topic)).map(({ low }) => low);
  }

  /** The offsets that its partitions end at: how much was ever written, markers included. */
  async highs(topic: string): Promise<number[]> {
    return (await this.#spans(topic)).map(({ high }) => high);
  }

  /** Offsets that the group has still to go, over all partitions. */
  async lag(groupId: string, topic: string): Promise<number> {
    const spans = await this.#spans(topic);
    const committed = await this.transport.topics.committedOffsets(groupId, at(topic, spans.length), {
      requireStable: false,
    });
    return spans.reduce((sum, { partition, low, high }) => {
      const offset = committed.find((one) => one.partition === partition)?.offset;
      return sum + (high - (offset ?? low));
    }, 0);
  }

  async caughtUp(groupId: string, topic: string, timeoutMs = 60_000): Promise<void> {
    let lag = -1;
    await eventually(
      () => `group ${groupId} has read all of ${topic}; ${lag} are left`,
      async () => {
        lag = await this.lag(groupId, topic);
        return lag === 0;
      },
      timeoutMs,
    );
  }

  async close(): Promise<void> {
    await this.#producer?.close();
    await this.transport.close();
  }

  async #partitions(topic: string): Promise<number> {
    const [found] = await this.transport.topics.describe([topic]);
    return found?.partitions ?? 0;
  }

  async #spans(topic: string): Promise<{ readonly partition: number; readonly low: number; readonly high: number }[]> {
    const partitions = at(topic, await this.#partitions(topic));
    const [low, high] = [
      await this.transport.topics.offsets(partitions, "earliest"),
      await this.transport.topics.offsets(partitions, "latest"),
    ];
    return partitions.map(({ partition }) => ({
      partition,
      low: low[partition]?.offset ?? 0,
      high: high[partition]?.offset ?? 0,
    }));
  }
}

function at(topic: string, partitions: number): TopicPartition[] {
  return Array.from({ length: partitions }, (_, partition) => ({ topic, partition }));
}

function copy(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes);
}
