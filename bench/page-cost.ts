// node --import tsx bench/page-cost.ts [--pages 50] [--rounds 5] [--records 8000000]
// What open pages and a scrape every five seconds take from a pipeline that works off a backlog as fast as it can. Each round is four phases of five
// seconds: without pages, with, with, without, so that a machine which becomes steadily faster or slower changes nothing. The pages are two processes of bare
// sockets that live as long as the run, and one of them is stopped while its page is open; neither's CPU is counted.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
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

const { values: flags } = parseArgs({
  options: {
    pages: { type: "string", default: "50" },
    records: { type: "string", default: "8000000" },
    users: { type: "string", default: "10000" },
    rounds: { type: "string", default: "5" },
  },
});
const READERS = fileURLToPath(new URL("./page-readers.ts", import.meta.url));
const TOPIC = "page-cost-purchases";
const PARTITIONS = 9;
/** Of each phase, and so of the scrapes: one in the middle of each phase with pages. */
const PHASE_MS = 5_000;
/** After pages have come or gone. */
const SETTLE_MS = 500;
/** For the compiler at the start: without pages, then with them. */
const WARM_MS = 5_000;
const ANSWER_MAX_MS = 30_000;

/** Pages that read, and one more whose process is stopped while it is open. */
class Pages {
  readonly #readers: readonly ChildProcess[];

  constructor(port: string, count: number) {
    const start = (pages: number): ChildProcess =>
      fork(READERS, [port, String(pages)], { execArgv: ["--import", "tsx"] });
    this.#readers = [start(count - 1), start(1)];
    process.once("exit", () => this.end());
  }

  async open(): Promise<void> {
    await this.#tell("open");
    this.#readers.at(-1)?.kill("SIGSTOP");
  }

  async close(): Promise<void> {
    this.#readers.at(-1)?.kill("SIGCONT");
    await this.#tell("close");
  }

  /** A process that is stopped takes no other signal. */
  end(): void {
    for (const reader of this.#readers) reader.kill("SIGKILL");
  }

  async #tell(command: "open" | "close"): Promise<void> {
    const signal = AbortSignal.timeout(ANSWER_MAX_MS);
    const answers = this.#readers.map((reader) => once(reader, "message", { signal }));
    for (const reader of this.#readers) reader.send(command);
    await Promise.all(answers);
  }
}

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
  if (records >= Number(flags.records)) throw new Error("the backlog is used up: --records higher, or --rounds lower");
  return { ms: performance.now(), records, cpuSeconds: pipeline.use().cpuSeconds };
}

async function measure(pipeline: PipelineProcess, meanwhile: () => Promise<unknown>): Promise<Phase> {
  await pause(SETTLE_MS);
  const before = await look(pipeline);
  await pause(PHASE_MS / 2);
  await Promise.all([meanwhile(), pause(PHASE_MS / 2)]);
  const after = await look(pipeline);
  const records = after.records - before.records;
  return {
    recordsPerSecond: (records * 1_000) / (after.ms - before.ms),
    microsPerRecord: ((after.cpuSeconds - before.cpuSeconds) / records) * 1e6,
  };
}

interface Round {
  readonly alone: readonly Phase[];
  readonly withPages: readonly Phase[];
}

async function measureRound(pipeline: PipelineProcess, pages: Pages): Promise<Round> {
  const alone = (): Promise<Phase> => measure(pipeline, async () => undefined);
  const watched = (): Promise<Phase> => measure(pipeline, () => pipeline.get("/metrics"));
  const first = await alone();
  await pages.open();
  const withPages = [await watched(), await watched()];
  await pages.close();
  return { alone: [first, await alone()], withPages };
}

function mean(phases: readonly Phase[], of: (phase: Phase) => number): number {
  return phases.reduce((sum, phase) => sum + of(phase), 0) / phases.length;
}

/** By how many percent more the phases with pages have of it. */
function growth({ alone, withPages }: Round, of: (phase: Phase) => number): number {
  return (mean(withPages, of) / mean(alone, of) - 1) * 100;
}

const fewerRecords = (round: Round): number => -growth(round, ({ recordsPerSecond }) => recordsPerSecond);
const moreCpu = (round: Round): number => growth(round, ({ microsPerRecord }) => microsPerRecord);

function said(what: string, percents: readonly number[]): string {
  const { median = Number.NaN, min = Number.NaN, max = Number.NaN } = spreadOf(percents) ?? {};
  return `${what}: median ${median.toFixed(1)} % (${min.toFixed(1)} to ${max.toFixed(1)})\n`;
}

async function measureRounds(pipeline: PipelineProcess, pages: Pages): Promise<void> {
  const rounds: Round[] = [];
  const inWords = (phases: readonly Phase[]): string => {
    const rate = Math.round(mean(phases, ({ recordsPerSecond }) => recordsPerSecond)).toLocaleString("en");
    return `${rate} records/s, ${mean(phases, ({ microsPerRecord }) => microsPerRecord).toFixed(2)} µs`;
  };
  for (let at = 0; at < Number(flags.rounds); at++) {
    const noise = new NoiseMeter();
    const round = await measureRound(pipeline, pages);
    rounds.push(round);
    const noisy = noise.read().isNoisy ? ", NOISY" : "";
    const change = `${fewerRecords(round).toFixed(1)} % fewer, ${moreCpu(round).toFixed(1)} % more`;
    process.stdout.write(
      `alone ${inWords(round.alone)}; with ${flags.pages} pages ${inWords(round.withPages)}: ${change}${noisy}\n`,
    );
  }
  process.stdout.write(
    said("fewer records/s", rounds.map(fewerRecords)) + said("more CPU a record", rounds.map(moreCpu)),
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
  const pages = new Pages(port, Number(flags.pages));
  const pipeline = new PipelineProcess({
    KAFKA_BROKERS: kafka.brokers.join(","),
    INPUT_TOPIC: TOPIC,
    STATE_DIR: stateDir,
    HTTP_PORT: port,
  });
  try {
    await until(() => pipeline.isReady(), `the pipeline runs; ${pipeline.output}`, 60_000);
    await pause(WARM_MS);
    await pages.open();
    await pause(WARM_MS);
    await pages.close();
    await measureRounds(pipeline, pages);
  } finally {
    pages.end();
    await pipeline.end("SIGTERM");
    await kafka.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

await main();
