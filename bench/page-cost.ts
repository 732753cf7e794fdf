// node --import tsx bench/page-cost.ts [--pages 50] [--records 2500000] [--seconds 5] [--pairs 4]
// What open pages and a scrape take from a pipeline that works off a backlog as fast as it can: records/s with and without
// them, in turns, in one process. The pages are one process of bare sockets; its CPU is not counted.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { KafkaJsTransport } from "../runtime/kafkajs/transport.js";
import { silentLogger } from "../runtime/logger.js";
import { freePort } from "../testing/kafka/free-port.js";
import { startLocalKafka } from "../testing/kafka/local-kafka.js";
import { buildIfStale } from "./build-if-stale.js";
import { NoiseMeter } from "./machine.js";
import { PipelineProcess, until } from "./pipeline-process.js";
import { writeLoad } from "./purchase-load.js";
import { spreadOf } from "./statistics.js";
import { WatchedProcess } from "./watched-process.js";

const { values: flags } = parseArgs({
  options: {
    pages: { type: "string", default: "50" },
    records: { type: "string", default: "2500000" },
    users: { type: "string", default: "10000" },
    seconds: { type: "string", default: "5" },
    pairs: { type: "string", default: "4" },
  },
});
const READERS = fileURLToPath(new URL("./page-readers.ts", import.meta.url));
const TOPIC = "page-cost-purchases";
const PARTITIONS = 9;
const SCRAPE_MS = 5_000;
/** After pages have come or gone, and for the compiler at the start. */
const SETTLE_MS = 500;
const WARM_MS = 8_000;

interface Phase {
  readonly recordsPerSecond: number;
  /** Of the pipeline's process, all its threads. */
  readonly microsPerRecord: number;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

interface Moment {
  readonly ms: number;
  readonly records: number;
  readonly cpuSeconds: number;
}

async function look(pipeline: PipelineProcess): Promise<Moment> {
  const counts = await pipeline.metric("millrace_records_consumed_total");
  const records = [...counts.values()].reduce((sum, value) => sum + value, 0);
  if (records >= Number(flags.records)) throw new Error("the backlog is used up: --records higher, or --pairs lower");
  return { ms: performance.now(), records, cpuSeconds: pipeline.use().cpuSeconds };
}

async function measure(pipeline: PipelineProcess): Promise<Phase> {
  await pause(SETTLE_MS);
  const before = await look(pipeline);
  await pause(Number(flags.seconds) * 1_000);
  const after = await look(pipeline);
  const records = after.records - before.records;
  return {
    recordsPerSecond: (records * 1_000) / (after.ms - before.ms),
    microsPerRecord: ((after.cpuSeconds - before.cpuSeconds) / records) * 1e6,
  };
}

/** Pages that read, one whose process is stopped, and a scrape every five seconds, while `work` runs. */
async function watched<T>(port: string, readers: readonly WatchedProcess[], work: () => Promise<T>): Promise<T> {
  for (const reader of readers)
    await until(async () => reader.output.includes("open"), `the pages are open; ${reader.output}`, 60_000);
  readers.at(-1)?.signal("SIGSTOP");
  const scrape = setInterval(
    () => void fetch(`http://127.0.0.1:${port}/metrics`).then((answer) => answer.text()),
    SCRAPE_MS,
  );
  try {
    return await work();
  } finally {
    clearInterval(scrape);
    for (const reader of readers) await reader.end("SIGKILL");
  }
}

function openPages(port: string): readonly WatchedProcess[] {
  return [Number(flags.pages) - 1, 1].map(
    (count) => new WatchedProcess(process.execPath, ["--import", "tsx", READERS, port, String(count)]),
  );
}

/** One with and one without; each second time the other way round, so that what changes along the backlog falls on both. */
async function pair(pipeline: PipelineProcess, port: string, at: number): Promise<{ alone: Phase; pages: Phase }> {
  const withPages = (): Promise<Phase> => watched(port, openPages(port), () => measure(pipeline));
  if (at % 2 === 0) {
    const alone = await measure(pipeline);
    return { alone, pages: await withPages() };
  }
  const pages = await withPages();
  return { pages, alone: await measure(pipeline) };
}

function lost(of: (phase: Phase) => number, pairs: readonly { alone: Phase; pages: Phase }[]): readonly number[] {
  return pairs.map(({ alone, pages }) => (1 - of(pages) / of(alone)) * 100);
}

function said(what: string, percents: readonly number[]): string {
  const { median = Number.NaN, min = Number.NaN, max = Number.NaN } = spreadOf(percents) ?? {};
  return `${what}: ${median.toFixed(1)} % (${min.toFixed(1)} to ${max.toFixed(1)})\n`;
}

async function measurePairs(pipeline: PipelineProcess, port: string): Promise<void> {
  const pairs: { alone: Phase; pages: Phase }[] = [];
  const inWords = ({ recordsPerSecond, microsPerRecord }: Phase): string =>
    `${Math.round(recordsPerSecond).toLocaleString("en")} records/s, ${microsPerRecord.toFixed(2)} µs`;
  for (let at = 0; at < Number(flags.pairs); at++) {
    const noise = new NoiseMeter();
    const { alone, pages } = await pair(pipeline, port, at);
    pairs.push({ alone, pages });
    const left = Number(flags.records) - (await look(pipeline)).records;
    const noisy = noise.read().isNoisy ? ", NOISY" : "";
    process.stdout.write(`alone ${inWords(alone)}; with ${flags.pages} pages ${inWords(pages)}${noisy}\n`);
    // A pair whose backlog ends in the middle would be wrong.
    if (left < 3 * Number(flags.seconds) * Math.max(alone.recordsPerSecond, pages.recordsPerSecond)) break;
  }
  process.stdout.write(
    said(
      "fewer records/s",
      lost(({ recordsPerSecond }) => recordsPerSecond, pairs),
    ) +
      said(
        "more CPU a record",
        lost(({ microsPerRecord }) => microsPerRecord, pairs).map((percent) => -percent),
      ),
  );
}

async function main(): Promise<void> {
  await buildIfStale();
  const kafka = await startLocalKafka();
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-page-cost-"));
  const port = String(await freePort());
  const transport = new KafkaJsTransport({ client: { brokers: [...kafka.brokers] }, logger: silentLogger });
  await transport.connect();
  const [records, users] = [Number(flags.records), Number(flags.users)];
  await writeLoad(transport, { topic: TOPIC, records, users, partitions: PARTITIONS, late: 0.1, seed: 1 });
  await transport.close();
  const pipeline = new PipelineProcess({
    KAFKA_BROKERS: kafka.brokers.join(","),
    INPUT_TOPIC: TOPIC,
    STATE_DIR: stateDir,
    HTTP_PORT: port,
  });
  try {
    await until(() => pipeline.isReady(), `the pipeline runs; ${pipeline.output}`, 60_000);
    await pause(WARM_MS);
    await measurePairs(pipeline, port);
  } finally {
    await pipeline.end("SIGTERM");
    await kafka.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

await main();
