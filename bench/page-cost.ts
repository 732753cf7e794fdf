// node --import tsx bench/page-cost.ts [--pages 50] [--rate 10000] [--seconds 10] [--rounds 4]
// What open pages and a scrape cost the pipeline: the same paced load with and without them, in turns. A pipeline at its
// limit uses one core, so the CPU that they add, as a share of one core, is at most the share of its throughput they take.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { freePort } from "../testing/kafka/free-port.js";
import { startLocalKafka } from "../testing/kafka/local-kafka.js";
import { buildIfStale } from "./build-if-stale.js";
import { PipelineProcess, until } from "./pipeline-process.js";
import { WatchedProcess } from "./watched-process.js";

const { values: flags } = parseArgs({
  options: {
    pages: { type: "string", default: "50" },
    rate: { type: "string", default: "10000" },
    users: { type: "string", default: "10000" },
    seconds: { type: "string", default: "10" },
    rounds: { type: "string", default: "4" },
  },
});
const CLI = fileURLToPath(new URL("../dist/apps/purchase/cli.js", import.meta.url));
const READERS = fileURLToPath(new URL("./page-readers.ts", import.meta.url));
const SCRAPE_MS = 5_000;

interface Phase {
  /** Of the pipeline's process, all its threads, as a share of one core. */
  readonly cores: number;
  readonly microsPerRecord: number;
  readonly rssMb: number;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function measure(pipeline: PipelineProcess): Promise<Phase> {
  const records = async (): Promise<number> =>
    [...(await pipeline.metric("millrace_records_consumed_total")).values()].reduce((sum, value) => sum + value, 0);
  const before = { ms: performance.now(), records: await records(), cpu: pipeline.use().cpuSeconds };
  await pause(Number(flags.seconds) * 1_000);
  const use = pipeline.use();
  const cpuSeconds = use.cpuSeconds - before.cpu;
  const seconds = (performance.now() - before.ms) / 1_000;
  const count = (await records()) - before.records;
  return { cores: cpuSeconds / seconds, microsPerRecord: (cpuSeconds / count) * 1e6, rssMb: use.rssBytes / 1e6 };
}

/** Pages that read, one whose process is stopped, and a scrape every five seconds, while `work` runs. */
async function watched<T>(url: string, work: () => Promise<T>): Promise<T> {
  const open = (count: number): WatchedProcess =>
    new WatchedProcess(process.execPath, ["--import", "tsx", READERS, url, String(count)]);
  const readers = [open(Number(flags.pages) - 1), open(1)];
  for (const reader of readers)
    await until(async () => reader.output.includes("open"), `the pages are open; ${reader.output}`, 30_000);
  readers[1]?.signal("SIGSTOP");
  const scrape = setInterval(() => void fetch(`${url}metrics`).then((answer) => answer.text()), SCRAPE_MS);
  try {
    return await work();
  } finally {
    clearInterval(scrape);
    for (const reader of readers) await reader.end("SIGKILL");
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

async function main(): Promise<void> {
  await buildIfStale();
  const kafka = await startLocalKafka();
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-page-cost-"));
  const environment = {
    KAFKA_BROKERS: kafka.brokers.join(","),
    STATE_DIR: stateDir,
    HTTP_PORT: String(await freePort()),
  };
  const load = ["produce", "--partitions", "9", "--rate", flags.rate, "--users", flags.users, "--seed", "1"];
  const producer = new PipelineProcess(environment, [CLI, ...load]);
  const pipeline = new PipelineProcess(environment);
  try {
    await until(() => pipeline.isReady(), `the pipeline runs; ${pipeline.output}`, 60_000);
    const url = `http://127.0.0.1:${environment.HTTP_PORT}/`;
    await measure(pipeline); // warm
    const [without, withPages]: [Phase[], Phase[]] = [[], []];
    for (let round = 0; round < Number(flags.rounds); round++) {
      without.push(await measure(pipeline));
      withPages.push(await watched(url, () => measure(pipeline)));
      const [a, b] = [without.at(-1) as Phase, withPages.at(-1) as Phase];
      console.log(
        `round ${round + 1}: ${a.cores.toFixed(3)} cores and ${a.microsPerRecord.toFixed(1)} µs a record alone, ` +
          `${b.cores.toFixed(3)} and ${b.microsPerRecord.toFixed(1)} with ${flags.pages} pages; ${Math.round(b.rssMb)} MB`,
      );
    }
    const added = withPages.map(({ cores }, at) => cores - (without[at] as Phase).cores);
    console.log(
      `${flags.pages} pages, one of them stopped, and a scrape every 5 s: ${(median(added) * 100).toFixed(1)} % of a core ` +
        `(${added.map((share) => (share * 100).toFixed(1)).join(", ")})`,
    );
  } finally {
    await producer.end("SIGTERM");
    await pipeline.end("SIGTERM");
    await kafka.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

await main();
