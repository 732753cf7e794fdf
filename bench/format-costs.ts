import { avroFormat } from "../apps/purchase/avro-format.js";
import { PURCHASE, type Purchase } from "../apps/purchase/model.js";
import { Simulator } from "../apps/purchase/simulator.js";
import { COMPRESSIONS, type Compression } from "../runtime/codecs.js";
import { compressBatches, inflateFetched } from "../runtime/compression.js";
import { partitionOf } from "../runtime/partitioner.js";
import { BATCH_RECORDS_MAX, RecordBatch } from "../runtime/record-batch.js";
import { RecordCursor } from "../runtime/record-cursor.js";
import { json } from "../serdes/json.js";
import { SchemaRegistry } from "../serdes/schema-registry.js";
import type { Serde } from "../serdes/serde.js";
import type { Bench } from "./bench.js";
import { startRegistry } from "./registry.js";
import { median } from "./statistics.js";

const RECORDS = 20_000;
const ROUNDS = 7;
const JSON_ALONE = "JSON";
const AVRO_ALONE = "Avro, registry";

interface Cost {
  readonly writeMicros: number[];
  readonly readMicros: number[];
  bytes: number;
}

/** CPU of this process per record, all its threads: codecs work beside the event loop. */
async function microsPerRecord(work: () => void | Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / RECORDS;
}

function purchases(): Purchase[] {
  const options = { seed: 1, users: 10_000, late: 0.1, lateByMs: { from: 1_800_000, to: 3_600_000 } };
  const simulator = new Simulator({ ...options, expired: 0, invalid: 0, partitions: 1, partitionOf });
  return Array.from({ length: RECORDS }, (_, at) => {
    const { value } = simulator.next(1_760_000_000_000 + at * 7);
    return JSON.parse(String(value)) as Purchase;
  });
}

async function measureSerde(serde: Serde<Purchase>, values: readonly Purchase[], cost: Cost): Promise<Uint8Array[]> {
  let bytes: Uint8Array[] = [];
  cost.writeMicros.push(
    await microsPerRecord(() => {
      bytes = values.map((value) => serde.serialize(value));
    }),
  );
  cost.readMicros.push(
    await microsPerRecord(() => {
      for (const one of bytes) serde.deserialize(one);
    }),
  );
  cost.bytes = bytes.reduce((sum, one) => sum + one.length, 0) / RECORDS;
  return bytes;
}

async function measureCodec(compression: Compression, values: readonly Uint8Array[], cost: Cost): Promise<void> {
  let sealed: Buffer[] = [];
  cost.writeMicros.push(
    await microsPerRecord(async () => {
      const batches: RecordBatch[] = [];
      for (const [at, value] of values.entries()) {
        if (at % BATCH_RECORDS_MAX === 0 || !batches.at(-1)?.hasRoomFor(null, value)) batches.push(new RecordBatch());
        batches.at(-1)?.append(at, null, value, []);
      }
      await compressBatches(batches, compression);
      sealed = batches.map((batch) => Buffer.from(batch.seal()));
    }),
  );
  const ends = { highWatermark: 0, lastStableOffset: 0, logStartOffset: 0, fault: undefined };
  cost.readMicros.push(
    await microsPerRecord(async () => {
      for (const set of sealed) {
        const one = { topic: "bench", partition: 0, offset: 0, records: set, aborted: [], ...ends };
        for (const part of await inflateFetched([one])) {
          const cursor = new RecordCursor(part);
          while (cursor.next()) if (cursor.value === null) throw new Error("a value is missing");
        }
      }
    }),
  );
  cost.bytes = sealed.reduce((sum, one) => sum + one.length, 0) / RECORDS;
}

function newCost(): Cost {
  return { writeMicros: [], readMicros: [], bytes: 0 };
}

/**
 * What a purchase costs in each format, and a batch of them in each codec: CPU per record of writing and reading, and bytes.
 * One thread, no broker; the median of the rounds, the formats taking turns in each.
 */
export async function formatCosts(bench: Bench): Promise<void> {
  const rounds = bench.options.isQuick ? 1 : ROUNDS;
  bench.progress.begin("formats and codecs", rounds);
  const registry = await startRegistry();
  const topics = { inputTopic: "in", lateTopic: "late", outputTopic: "out" };
  const { readers } = avroFormat(new SchemaRegistry({ url: registry.url }), topics, "");
  await readers.purchase.prepare?.("write");
  const values = purchases();
  const costs = new Map<string, Cost>([
    [JSON_ALONE, newCost()],
    [AVRO_ALONE, newCost()],
  ]);
  const cost = (name: string): Cost => {
    const known = costs.get(name) ?? newCost();
    costs.set(name, known);
    return known;
  };
  // The first round is for the compiler.
  for (let round = -1; round < rounds; round++) {
    bench.progress.at(round + 1);
    if (round === 0) for (const one of costs.values()) one.writeMicros.length = one.readMicros.length = 0;
    const text = await measureSerde(json(PURCHASE), values, cost(JSON_ALONE));
    const binary = await measureSerde(readers.purchase, values, cost(AVRO_ALONE));
    for (const compression of COMPRESSIONS) {
      await measureCodec(compression, text, cost(`batch of JSON, ${compression}`));
      await measureCodec(compression, binary, cost(`batch of Avro, ${compression}`));
    }
  }
  registry.close();
  for (const [variant, { writeMicros, readMicros, bytes }] of costs) {
    const figures = {
      writeMicros: rounded(median(writeMicros)),
      readMicros: rounded(median(readMicros)),
      bytes: rounded(bytes),
    };
    bench.results.add({ part: "micro", contender: "format", variant, round: 1, figures });
  }
  bench.progress.end("done");
}

function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
