// npx tsx bench/pipeline.ts [--records 1000000] [--users 10000] [--partitions 9] [--rounds 3]
// Runs the purchase pipeline on a real broker, checks its output against the generated purchases, and prints records/s,
// CPU per record, peak memory and restore rows/s. The broker shares the machine, and its CPU is not counted.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { KafkaJsTransport } from "../runtime/kafkajs/transport.js";
import { silentLogger } from "../runtime/logger.js";
import type { Transport } from "../runtime/transport.js";
import { startLocalKafka } from "../testing/kafka/local-kafka.js";
import { check } from "./check.js";
import { type Expected, LoadStream } from "./load.js";
import { PipelineProcess, until } from "./pipeline-process.js";

const { values: flags } = parseArgs({
  options: {
    records: { type: "string", default: "1000000" },
    users: { type: "string", default: "10000" },
    partitions: { type: "string", default: "9" },
    rounds: { type: "string", default: "3" },
  },
});
const records = Number(flags.records);
const partitions = Number(flags.partitions);
const INPUT = "bench-purchases";
const START_MS = 1_760_000_000_000;
const SPAN_MS = 2 * 3_600_000;
const TIMEOUT_MS = 600_000;

interface Round {
  readonly recordsPerSecond: number;
  readonly cpuMicrosPerRecord: number;
  readonly peakMegabytes: number;
  readonly outputRecords: number;
  readonly restoreRowsPerSecond: number;
  readonly secondsToRunning: number;
}

async function committed(transport: Transport, applicationId: string): Promise<number> {
  const all = Array.from({ length: partitions }, (_, partition) => ({ topic: INPUT, partition }));
  const offsets = await transport.topics.committedOffsets(applicationId, all, { requireStable: false });
  return offsets.reduce((sum, { offset }) => sum + (offset ?? 0), 0);
}

async function runRound(transport: Transport, brokers: string, round: number, expected: Expected): Promise<Round> {
  const applicationId = `bench-${Date.now()}-${round}`;
  const output = `${applicationId}-out`;
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
  const environment = {
    KAFKA_BROKERS: brokers,
    APPLICATION_ID: applicationId,
    INPUT_TOPIC: INPUT,
    OUTPUT_TOPIC: output,
    STATE_DIR: stateDir,
    LATE_TOPIC: `${applicationId}-late`,
    EXPIRED_TOPIC: `${applicationId}-expired`,
    DEAD_LETTER_TOPIC: `${applicationId}-dead`,
  };
  const pipeline = new PipelineProcess(environment).watchMemory();
  let tenth: { readonly ms: number; readonly at: number } | undefined;
  let ninth: { readonly ms: number; readonly at: number } | undefined;
  await until(
    async () => {
      if (pipeline.hasEnded) throw new Error(`the pipeline ended:\n${pipeline.output}`);
      const at = await committed(transport, applicationId);
      if (at >= records * 0.1) tenth ??= { ms: performance.now(), at };
      if (at >= records * 0.9) ninth ??= { ms: performance.now(), at };
      return at >= records;
    },
    "all records committed",
    TIMEOUT_MS,
  );
  const { cpuSeconds } = pipeline.use();
  await pipeline.end("SIGTERM");
  const result = await check(transport, output, expected);
  if (result.missing + result.different + result.unexpected > 0)
    throw new Error(`wrong result: ${JSON.stringify(result)}`);
  await rm(stateDir, { recursive: true });
  const restored = await restoreRound(environment);
  await rm(stateDir, { recursive: true });
  const seconds = ((ninth?.ms ?? 0) - (tenth?.ms ?? 0)) / 1000;
  return {
    recordsPerSecond: seconds > 0 ? Math.round(((ninth?.at ?? 0) - (tenth?.at ?? 0)) / seconds) : Number.NaN,
    cpuMicrosPerRecord: Math.round((cpuSeconds / records) * 1e7) / 10,
    peakMegabytes: Math.round(pipeline.peakPssBytes / 1e6),
    outputRecords: result.outputRecords,
    ...restored,
  };
}

async function restoreRound(
  environment: Readonly<Record<string, string>>,
): Promise<{ restoreRowsPerSecond: number; secondsToRunning: number }> {
  const beganMs = performance.now();
  let firstMs: number | undefined;
  const pipeline = new PipelineProcess(environment);
  const rows = async (): Promise<number> =>
    [...(await pipeline.metric("millrace_restored_records_total")).values()].reduce((sum, value) => sum + value, 0);
  await until(
    async () => {
      if (firstMs === undefined && (await rows()) > 0) firstMs = performance.now();
      return pipeline.isReady();
    },
    "restored",
    TIMEOUT_MS,
    20,
  );
  const endMs = performance.now();
  const restored = await rows();
  await pipeline.end("SIGTERM");
  return {
    restoreRowsPerSecond: Math.round(restored / ((endMs - (firstMs ?? beganMs)) / 1000)),
    secondsToRunning: Math.round((endMs - beganMs) / 10) / 100,
  };
}

async function main(): Promise<void> {
  const kafka = process.env.KAFKA_BROKERS === undefined ? await startLocalKafka() : undefined;
  const brokers = kafka?.brokers ?? (process.env.KAFKA_BROKERS ?? "").split(",");
  const transport = new KafkaJsTransport({ client: { brokers: [...brokers] }, logger: silentLogger });
  try {
    await transport.connect();
    const load = await LoadStream.open(transport, {
      topic: INPUT,
      users: Number(flags.users),
      partitions,
      late: 0.1,
      seed: 42,
    });
    await load.produce(records, START_MS, SPAN_MS);
    await load.close();
    const table = new Table({
      head: [
        "round",
        "records/s",
        "CPU µs/record",
        "peak MB (PSS)",
        "output records",
        "restore rows/s",
        "s to RUNNING",
      ],
      style: { head: [], border: [] },
    });
    for (let round = 1; round <= Number(flags.rounds); round++) {
      const result = await runRound(transport, brokers.join(","), round, load.expected);
      table.push([round, ...Object.values(result).map((value) => value.toLocaleString("en"))]);
      console.log(`round ${round}: ${JSON.stringify(result)}`);
    }
    console.log(
      `${records.toLocaleString("en")} purchases, ${flags.users} users, ${partitions} partitions, node ${process.version}; every round equals the expected result`,
    );
    console.log(table.toString());
  } finally {
    await transport.close();
    await kafka?.stop();
  }
}

await main();
