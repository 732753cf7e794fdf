// node --import tsx bench/page-cost.ts [--pages 50] [--runs 4] [--records 8000000]
// What open pages and a scrape every five seconds take from a pipeline that works off a backlog as fast as it can. Each run is a pipeline from nothing, and as
// many rounds as the backlog lasts. A round is four phases of 2.5 seconds: without pages, with, with, without, so that a machine which becomes steadily faster
// or slower changes nothing, and there are many of them, since a virtual machine's speed jumps. The pages are two processes of bare sockets that live as
// long as a run, and one of them is stopped while its page is open; neither's CPU is counted. Beside records/s and CPU it tells how much less of its time the
// pipeline's thread has for its tasks, which is the same loss without the machine's jumps in it.
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
import { type LocalKafka, startLocalKafka } from "../testing/kafka/local-kafka.js";
import { buildIfStale } from "./build-if-stale.js";
import { NoiseMeter } from "./machine.js";
import { PipelineProcess, until } from "./pipeline-process.js";
import { writeLoad } from "./purchase-load.js";
import { median } from "./statistics.js";
import { type Interval, nowMicros, profilingFlags, TaskShares } from "./task-share.js";

const { values: flags } = parseArgs({
  options: {
    pages: { type: "string", default: "50" },
    records: { type: "string", default: "8000000" },
    users: { type: "string", default: "10000" },
    runs: { type: "string", default: "4" },
  },
});
const READERS = fileURLToPath(new URL("./page-readers.ts", import.meta.url));
const TOPIC = "page-cost-purchases";
const PARTITIONS = 9;
/** Of each phase; the first of the two with pages has a scrape in its middle, so there is one in five seconds. */
const PHASE_MS = 2_500;
/** After pages have come or gone. */
const SETTLE_MS = 500;
/** For the compiler at the start: without pages, then with them. */
const WARM_MS = 5_000;
/** A round begins only while so many times the records of the last one are left. */
const LEFT_ROUNDS_MIN = 1.5;
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

interface Phase extends Interval {
  readonly recordsPerSecond: number;
  /** Of the pipeline's process, all its threads. */
  readonly microsPerRecord: number;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

interface Moment {
  readonly micros: number;
  readonly records: number;
  readonly cpuSeconds: number;
}

async function look(pipeline: PipelineProcess): Promise<Moment> {
  const counts = await pipeline.metric("millrace_records_consumed_total");
  const records = [...counts.values()].reduce((sum, value) => sum + value, 0);
  if (records >= Number(flags.records)) throw new Error("the backlog was used up within a round: --records higher");
  return { micros: nowMicros(), records, cpuSeconds: pipeline.use().cpuSeconds };
}

async function measure(pipeline: PipelineProcess, meanwhile: () => Promise<unknown>): Promise<Phase> {
  await pause(SETTLE_MS);
  const before = await look(pipeline);
  await pause(PHASE_MS / 2);
  await Promise.all([meanwhile(), pause(PHASE_MS / 2)]);
  const after = await look(pipeline);
  const records = after.records - before.records;
  return {
    ...{ fromMicros: before.micros, toMicros: after.micros },
    recordsPerSecond: (records * 1e6) / (after.micros - before.micros),
    microsPerRecord: ((after.cpuSeconds - before.cpuSeconds) / records) * 1e6,
  };
}

interface Round {
  readonly alone: readonly Phase[];
  readonly withPages: readonly Phase[];
}

async function measureRound(pipeline: PipelineProcess, pages: Pages): Promise<Round> {
  const phase = (): Promise<Phase> => measure(pipeline, async () => undefined);
  const first = await phase();
  await pages.open();
  const withPages = [await measure(pipeline, () => pipeline.get("/metrics")), await phase()];
  await pages.close();
  return { alone: [first, await phase()], withPages };
}

function mean(phases: readonly Phase[], of: (phase: Phase) => number): number {
  return phases.reduce((sum, phase) => sum + of(phase), 0) / phases.length;
}

/** By how many percent more the phases with pages have of it. */
function growth({ alone, withPages }: Round, of: (phase: Phase) => number): number {
  return (mean(withPages, of) / mean(alone, of) - 1) * 100;
}

/** By how many percent less of the thread's time goes into its tasks with pages. */
const lessOfTasks = (round: Round, shares: TaskShares): number => -growth(round, (phase) => shares.of(phase));
const fewerRecords = (round: Round): number => -growth(round, ({ recordsPerSecond }) => recordsPerSecond);
const moreCpu = (round: Round): number => growth(round, ({ microsPerRecord }) => microsPerRecord);

/** What the pages take, in percent, by round. */
interface Changes {
  readonly fewerRecords: readonly number[];
  readonly moreCpu: readonly number[];
  readonly lessOfTasks: readonly number[];
}

/** The median, and the interval that holds the true one 95 times in 100: between two of the sorted values, whatever their distribution. */
function said(what: string, percents: readonly number[]): string {
  const sorted = percents.toSorted((a, b) => a - b);
  const off = 0.98 * Math.sqrt(sorted.length);
  const low = sorted[Math.max(0, Math.floor(sorted.length / 2 - off))] ?? Number.NaN;
  const high = sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length / 2 + off))] ?? Number.NaN;
  const all = `${low.toFixed(1)} to ${high.toFixed(1)} with 95 % confidence`;
  return `${what}: median ${median(sorted).toFixed(1)} % of ${sorted.length} rounds, ${all}\n`;
}

async function measureRounds(pipeline: PipelineProcess, pages: Pages): Promise<readonly Round[]> {
  const rounds: Round[] = [];
  for (let left = Number.POSITIVE_INFINITY, used = 0; left > LEFT_ROUNDS_MIN * used; ) {
    const before = await look(pipeline);
    const noise = new NoiseMeter();
    const round = await measureRound(pipeline, pages);
    rounds.push(round);
    tell(round, noise.read().isNoisy);
    const after = await look(pipeline);
    used = after.records - before.records;
    left = Number(flags.records) - after.records;
  }
  return rounds;
}

function tell(round: Round, isNoisy: boolean): void {
  const inWords = (phases: readonly Phase[]): string => {
    const rate = Math.round(mean(phases, ({ recordsPerSecond }) => recordsPerSecond)).toLocaleString("en");
    return `${rate} records/s, ${mean(phases, ({ microsPerRecord }) => microsPerRecord).toFixed(2)} µs`;
  };
  const change = `${fewerRecords(round).toFixed(1)} % fewer, ${moreCpu(round).toFixed(1)} % more`;
  process.stdout.write(
    `alone ${inWords(round.alone)}; with ${flags.pages} pages ${inWords(round.withPages)}: ${change}${isNoisy ? ", NOISY" : ""}\n`,
  );
}

/** One pipeline, from nothing until too little of the backlog is left. */
async function measureRun(run: number, kafka: LocalKafka): Promise<Changes> {
  const directory = await mkdtemp(join(tmpdir(), "millrace-page-cost-"));
  const port = String(await freePort());
  const pages = new Pages(port, Number(flags.pages));
  const environment = {
    KAFKA_BROKERS: kafka.brokers.join(","),
    INPUT_TOPIC: TOPIC,
    APPLICATION_ID: `page-cost-${run}`,
    STATE_DIR: join(directory, "state"),
    HTTP_PORT: port,
  };
  const pipeline = new PipelineProcess(environment, PipelineProcess.command(profilingFlags(directory)));
  try {
    await until(() => pipeline.isReady(), `the pipeline runs; ${pipeline.output}`, 60_000);
    await pause(WARM_MS);
    await pages.open();
    await pause(WARM_MS);
    await pages.close();
    const rounds = await measureRounds(pipeline, pages);
    pages.end();
    await pipeline.end("SIGTERM");
    const shares = await TaskShares.readFrom(directory);
    return {
      fewerRecords: rounds.map(fewerRecords),
      moreCpu: rounds.map(moreCpu),
      lessOfTasks: rounds.map((round) => lessOfTasks(round, shares)),
    };
  } finally {
    pages.end();
    await pipeline.end("SIGTERM");
    await rm(directory, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  await buildIfStale();
  const kafka = await startLocalKafka();
  try {
    const transport = new KafkaJsTransport({ client: { brokers: [...kafka.brokers] }, logger: silentLogger });
    await transport.connect();
    const [records, users] = [Number(flags.records), Number(flags.users)];
    await writeLoad(transport, { topic: TOPIC, records, users, partitions: PARTITIONS, late: 0.1, seed: 1 });
    await transport.close();
    const runs: Changes[] = [];
    for (let run = 1; run <= Number(flags.runs); run++) runs.push(await measureRun(run, kafka));
    process.stdout.write(
      said(
        "fewer records/s",
        runs.flatMap((run) => run.fewerRecords),
      ) +
        said(
          "more CPU a record",
          runs.flatMap((run) => run.moreCpu),
        ) +
        said(
          "less of the thread's time for its tasks",
          runs.flatMap((run) => run.lessOfTasks),
        ),
    );
  } finally {
    await kafka.stop();
  }
}

await main();
