import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { runJava } from "../../testing/kafka/java-peer.js";
import { COMPRESSIONS } from "../codecs.js";
import { silentLogger } from "../logger.js";
import { ATTRIBUTE, BATCH, RecordBatch } from "../record-batch.js";
import { RecordCursor } from "../record-cursor.js";
import { KafkaJsTransport } from "./transport.js";

const COUNT = 3_000;
const transport = new KafkaJsTransport({ client: { brokers: [...inject("kafkaBrokers")] }, logger: silentLogger });
const brokers = inject("kafkaBrokers").join(",");

beforeAll(() => transport.connect());
afterAll(() => transport.close());

async function newTopic(): Promise<string> {
  const topic = `codec-${randomUUID()}`;
  const configs = { "retention.ms": "-1" };
  await transport.topics.create([{ topic, partitions: 1, replicationFactor: -1, configs }]);
  return topic;
}

function expected(): string[] {
  return Array.from({ length: COUNT }, (_, i) => `${i}\t${1_000 + i}\tkey-${i}\tvalue of record ${i}`);
}

/** Every record as a line, and the codec numbers of the batches that they came in. */
async function readAll(topic: string): Promise<{ lines: string[]; codecs: Set<number> }> {
  const fetcher = transport.openFetcher({ readCommitted: true, name: "codecs" });
  const lines: string[] = [];
  const codecs = new Set<number>();
  let offset = 0;
  const limits = { maxWaitMs: 500, bytesMax: 8_000_000, partitionBytesMax: 2_000_000 };
  while (lines.length < COUNT) {
    const [part] = await fetcher.fetch({ positions: [{ topic, partition: 0, offset }], ...limits });
    if (part === undefined) continue;
    codecs.add(part.records.readInt16BE(BATCH.attributes) & ATTRIBUTE.codecMask);
    const cursor = new RecordCursor(part);
    while (cursor.next())
      lines.push(`${cursor.offset}\t${cursor.timestampMs}\t${String(cursor.key)}\t${String(cursor.value)}`);
    offset = cursor.nextOffset;
  }
  await fetcher.close();
  return { lines, codecs };
}

function someBatches(topic: string) {
  const batches: { topic: string; partition: number; batch: RecordBatch }[] = [];
  for (let i = 0; i < COUNT; i++) {
    if (i % 1_000 === 0) batches.push({ topic, partition: 0, batch: new RecordBatch() });
    batches.at(-1)?.batch.append(1_000 + i, Buffer.from(`key-${i}`), Buffer.from(`value of record ${i}`), []);
  }
  return batches;
}

describe.each(COMPRESSIONS)("%s", (compression) => {
  const number = COMPRESSIONS.indexOf(compression);

  test("what the Java client writes is read here", async () => {
    const topic = await newTopic();
    await runJava("CodecPeer.java", ["write", brokers, topic, compression, String(COUNT)]);
    const { lines, codecs } = await readAll(topic);
    expect(lines).toEqual(expected());
    expect([...codecs]).toEqual([number]);
  });

  test("what is written here is read by the Java client", async () => {
    const topic = await newTopic();
    const producer = transport.openProducer({ compression });
    const results = await producer.produce(someBatches(topic));
    expect(results.map((result) => "baseOffset" in result && result.baseOffset)).toEqual([0, 1_000, 2_000]);
    const read = await runJava("CodecPeer.java", ["read", brokers, topic, String(COUNT)]);
    expect(read.trimEnd().split("\n")).toEqual(expected());
    const { lines, codecs } = await readAll(topic);
    expect(lines).toEqual(expected());
    expect([...codecs]).toEqual([number]);
    await producer.close();
  });

  test("a transaction's batches are compressed as well", async () => {
    const topic = await newTopic();
    const transactionalId = randomUUID();
    const producer = transport.openTransactionalProducer({
      transactionalId,
      transactionTimeoutMs: 10_000,
      compression,
    });
    await producer.initialize();
    producer.begin();
    await producer.produce(someBatches(topic));
    await producer.commit();
    const { lines, codecs } = await readAll(topic);
    expect(lines).toEqual(expected());
    expect([...codecs]).toEqual([number]);
    await producer.close();
  });
});
