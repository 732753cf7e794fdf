import type { Compression } from "../runtime/codecs.js";
import type { PartitionBatch, Producer, Transport } from "../runtime/transport.js";
import { Batches } from "./batches.js";
import { Oracle } from "./oracle.js";
import { PurchaseSource, type SourceOptions } from "./purchase-source.js";

export interface PurchaseLoadOptions extends SourceOptions {
  readonly topic: string;
  readonly records: number;
  readonly compression?: Compression;
  /** From JSON to what is written. */
  readonly encode?: (json: Buffer) => Uint8Array;
  readonly onProgress?: (records: number) => void;
}

const START_MS = 1_760_000_000_000;
/** All loads cover two hours: more records are more traffic, not more history. */
const SPAN_MS = 2 * 3_600_000;
const ROUND_RECORDS = 50_000;

export async function makeTopic(transport: Transport, topic: string, partitions: number): Promise<void> {
  // The event times are old, and a broker deletes by them.
  await transport.topics.create([{ topic, partitions, replicationFactor: 1, configs: { "retention.ms": "-1" } }]);
}

/** Fills a topic of its own with purchases of two hours; resolves with what the outputs must be. */
export async function writeLoad(transport: Transport, options: PurchaseLoadOptions): Promise<Oracle> {
  const { topic, records, users, partitions, compression = "none", encode = asItIs } = options;
  await makeTopic(transport, topic, partitions);
  const source = new PurchaseSource(options);
  const oracle = new Oracle(users);
  const producer = transport.openProducer({ compression });
  let sent: Promise<void> = Promise.resolve();
  for (let made = 0; made < records; ) {
    const batches = new Batches(topic);
    for (const end = Math.min(records, made + ROUND_RECORDS); made < end; made++) {
      const ingestionMs = START_MS + Math.floor((made * SPAN_MS) / records);
      const purchase = source.next(ingestionMs);
      oracle.add(purchase);
      batches.append(purchase.partition, ingestionMs, purchase.key, encode(purchase.value));
    }
    // The next round is made while this one is on its way.
    await sent;
    sent = send(producer, batches.all);
    options.onProgress?.(made);
  }
  await sent;
  await producer.close();
  return oracle;
}

function asItIs(json: Buffer): Uint8Array {
  return json;
}

/** @throws when the broker refuses one of them */
export async function send(producer: Producer, batches: readonly PartitionBatch[]): Promise<void> {
  for (const result of await producer.produce(batches)) {
    if ("refusal" in result) throw new Error(`the load was refused: ${result.refusal}, ${result.message}`);
  }
}
