// npx tsx bench/formats.ts [--records 20000] [--rounds 7]
// What a purchase costs in each format, and a batch of them in each codec: CPU per record of writing and reading, and
// bytes. One thread, no broker; the median of the rounds, the formats taking turns in each.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import Table from "cli-table3";
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

const { values: flags } = parseArgs({
  options: { records: { type: "string", default: "20000" }, rounds: { type: "string", default: "7" } },
});
const records = Number(flags.records);
const rounds = Number(flags.rounds);

interface Cost {
  readonly writeMicros: number[];
  readonly readMicros: number[];
  bytes: number;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** CPU of this process per record, all its threads: codecs work beside the event loop. */
async function microsPerRecord(work: () => void | Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / records;
}

function purchases(): Purchase[] {
  const options = { seed: 1, users: 10_000, late: 0.1, lateByMs: { from: 1_800_000, to: 3_600_000 } };
  const simulator = new Simulator({ ...options, expired: 0, invalid: 0, partitions: 1, partitionOf });
  return Array.from({ length: records }, (_, at) => {
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
  cost.bytes = bytes.reduce((sum, one) => sum + one.length, 0) / records;
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
  cost.bytes = sealed.reduce((sum, one) => sum + one.length, 0) / records;
}

function print(title: string, costs: ReadonlyMap<string, Cost>): void {
  const table = new Table({ head: [title, "write µs", "read µs", "bytes"], style: { head: [], border: [] } });
  const [base] = costs.values();
  const ratio = (value: number, of: number): string => `${value.toFixed(2)} (${(value / of).toFixed(2)}×)`;
  for (const [name, { writeMicros, readMicros, bytes }] of costs) {
    table.push([
      name,
      ratio(median(writeMicros), median(base?.writeMicros ?? [])),
      ratio(median(readMicros), median(base?.readMicros ?? [])),
      ratio(bytes, base?.bytes ?? Number.NaN),
    ]);
  }
  console.log(table.toString());
}

// All that writing asks of a registry.
const registry = createServer((_, response) => response.end('{"id":1}'));
await new Promise<void>((resolve) => registry.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(registry.address() as AddressInfo).port}`;
const topics = { inputTopic: "in", lateTopic: "late", outputTopic: "out" };
const avro = avroFormat(new SchemaRegistry({ url }), topics, "").readers.purchase as Serde<Purchase>;
await avro.prepare?.("write");
const jsonSerde = json(PURCHASE);
const values = purchases();
const newCost = (): Cost => ({ writeMicros: [], readMicros: [], bytes: 0 });
const formats = new Map<string, Cost>([
  ["JSON", newCost()],
  ["Avro, registry", newCost()],
]);
const codecs = new Map<string, Cost>();
for (const format of ["JSON", "Avro"])
  for (const compression of COMPRESSIONS) codecs.set(`${format}, ${compression}`, newCost());
for (let round = -1; round < rounds; round++) {
  const json = await measureSerde(jsonSerde, values, formats.get("JSON") as Cost);
  const binary = await measureSerde(avro, values, formats.get("Avro, registry") as Cost);
  for (const compression of COMPRESSIONS) {
    await measureCodec(compression, json, codecs.get(`JSON, ${compression}`) as Cost);
    await measureCodec(compression, binary, codecs.get(`Avro, ${compression}`) as Cost);
  }
  // The first round is for the compiler.
  if (round >= 0) continue;
  for (const cost of [...formats.values(), ...codecs.values()]) {
    cost.writeMicros.length = 0;
    cost.readMicros.length = 0;
  }
}
print("a purchase", formats);
print("its place in a batch", codecs);
registry.close();
