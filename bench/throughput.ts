import { type Bench, COMMITTED_TIMEOUT_MS, type Entrant, endWell, entrants, round2, shortName } from "./bench.js";
import { bareLoop, type Contender, type Guarantee, Job, type JobOptions, kafkaStreams } from "./contenders.js";
import { calibrationMs, NoiseMeter } from "./machine.js";
import type { Oracle } from "./oracle.js";
import { writeLoad } from "./purchase-load.js";
import { type Readers, verify } from "./verify.js";
import { until, type WatchedProcess } from "./watched-process.js";

const POLL_MS = 50;

export interface Measured {
  readonly recordsPerSecond: number;
  readonly cpuMicrosPerRecord: number;
  readonly peakMb: number;
  readonly wallSeconds: number;
  readonly outputRecords: number;
  readonly otherCpuSeconds: number;
  readonly calibrationMs: number;
  readonly isNoisy: boolean;
}

export interface Load {
  readonly topic: string;
  readonly partitions: number;
  readonly oracle: Oracle;
}

/** The load of the comparison, as the options say. */
export async function standardLoad(bench: Bench): Promise<Load> {
  const { records, users, partitions, late, seed } = bench.options;
  const topic = `bench-purchases-${Date.now()}`;
  bench.progress.begin(`load of ${records.toLocaleString("en")} purchases`, records);
  const onProgress = (made: number): void => bench.progress.at(made);
  const oracle = await writeLoad(bench.transport, { topic, records, users, partitions, late, seed, onProgress });
  bench.progress.end(`${oracle.rows.toLocaleString("en")} rows to be found`);
  return { topic, partitions, oracle };
}

/** Records of the input whose results are committed. */
async function committed(bench: Bench, job: Job): Promise<number> {
  const { input: topic, partitions } = job.options;
  const all = Array.from({ length: partitions }, (_, partition) => ({ topic, partition }));
  const offsets = await bench.transport.topics.committedOffsets(job.applicationId, all, { requireStable: false });
  return offsets.reduce((sum, { offset }) => sum + (offset ?? 0), 0);
}

/** Records/s between the first looks at which 10 % and 90 % were committed: without start-up and tail. */
class Pace {
  #tenth: { readonly ms: number; readonly at: number } | undefined;
  #ninetieth: { readonly ms: number; readonly at: number } | undefined;

  constructor(readonly total: number) {}

  see(at: number): void {
    const ms = performance.now();
    if (at >= this.total * 0.1) this.#tenth ??= { ms, at };
    if (at >= this.total * 0.9) this.#ninetieth ??= { ms, at };
  }

  /** Undefined where everything was committed at once: a load that is too small. */
  get recordsPerSecond(): number | undefined {
    if (this.#tenth === undefined || this.#ninetieth === undefined) return undefined;
    const records = this.#ninetieth.at - this.#tenth.at;
    return records <= 0 ? undefined : records / ((this.#ninetieth.ms - this.#tenth.ms) / 1_000);
  }
}

async function untilCommitted(bench: Bench, job: Job, running: WatchedProcess, records: number): Promise<Pace> {
  const pace = new Pace(records);
  await until(
    async () => {
      if (running.hasEnded) throw new Error(`${job.applicationId} ended:\n${running.output}`);
      const at = await committed(bench, job);
      pace.see(at);
      bench.progress.at(at);
      return at >= records;
    },
    `${records} records committed by ${job.applicationId}`,
    COMMITTED_TIMEOUT_MS,
    POLL_MS,
  );
  return pace;
}

/** Runs a contender over a load until all is committed, checks what it wrote, and leaves topics and changelogs as they are. */
export async function fill(bench: Bench, contender: Contender, job: Job, oracle: Oracle): Promise<void> {
  const running = contender.start(job);
  try {
    await untilCommitted(bench, job, running, oracle.records);
    await endWell(running, contender.label);
    await verify(bench.transport, job, oracle);
  } finally {
    await running.end("SIGKILL");
  }
}

/**
 * Runs a contender over a load from an empty state until all is committed, and checks what it wrote.
 */
export async function measureRun(
  bench: Bench,
  contender: Contender,
  {
    load,
    readers,
    ...more
  }: Omit<JobOptions, "input" | "partitions"> & {
    readonly load: Load;
    readonly readers?: Readers;
  },
): Promise<Measured> {
  const records = load.oracle.records;
  const job = await Job.open(bench, contender, { ...more, input: load.topic, partitions: load.partitions });
  const calibration = calibrationMs();
  const noise = new NoiseMeter();
  const running = contender.start(job).watchMemory();
  try {
    const pace = await untilCommitted(bench, job, running, records);
    const wallSeconds = (performance.now() - running.startedMs) / 1_000;
    const { cpuSeconds } = running.use();
    const { otherCpuSeconds, isNoisy } = noise.read();
    await endWell(running, contender.label);
    const outputRecords = await verify(bench.transport, job, load.oracle, readers);
    return {
      recordsPerSecond: Math.round(pace.recordsPerSecond ?? records / wallSeconds),
      cpuMicrosPerRecord: round2((cpuSeconds / records) * 1e6),
      peakMb: Math.round(running.peakPssBytes / 1e6),
      wallSeconds: round2(wallSeconds),
      outputRecords,
      otherCpuSeconds: round2(otherCpuSeconds),
      calibrationMs: calibration,
      isNoisy,
    };
  } finally {
    await running.end("SIGKILL");
    await job.close(bench.transport, contender);
  }
}

export function inWords({ recordsPerSecond, cpuMicrosPerRecord, peakMb, isNoisy }: Measured): string {
  const noisy = isNoisy ? ", NOISY" : "";
  return `${recordsPerSecond.toLocaleString("en")} records/s, ${cpuMicrosPerRecord} µs of CPU, ${peakMb} MB, right${noisy}`;
}

/** Everybody in turn, round after round; each second round the other way round. */
export async function throughput(bench: Bench, load: Load): Promise<void> {
  const { options } = bench;
  for (const guarantee of options.guarantees) {
    const all = entrants(bench, [kafkaStreams, ...(guarantee === "exactly_once" ? [bareLoop] : [])]);
    for (let round = 1; round <= options.rounds; round++) {
      const order = round % 2 === 1 ? all : [...all].reverse();
      for (const entrant of order) await throughputRun(bench, entrant, guarantee, load, round);
    }
  }
}

async function throughputRun(
  bench: Bench,
  { contender, threads, label, ...variant }: Entrant,
  guarantee: Guarantee,
  load: Load,
  round: number,
): Promise<void> {
  const { rounds } = bench.options;
  bench.progress.begin(`throughput, ${shortName(guarantee)}, ${round} of ${rounds}, ${label}`, load.oracle.records);
  const { isNoisy, ...figures } = await measureRun(bench, contender, { guarantee, threads, load });
  bench.progress.end(inWords({ isNoisy, ...figures }));
  const which = { part: "throughput", guarantee, contender: contender.name, ...variant, round, threads } as const;
  bench.results.add({ ...which, figures, isNoisy });
}

/** The number of threads with which Kafka Streams is faster here, tried with one run each. */
export async function bestPeerThreads(bench: Bench, load: Load): Promise<number> {
  let best = { threads: 1, recordsPerSecond: 0 };
  for (const threads of [1, 2]) {
    bench.progress.begin(
      `Kafka Streams with ${threads} thread${threads === 1 ? "" : "s"}, to choose`,
      load.oracle.records,
    );
    const measured = await measureRun(bench, kafkaStreams, { guarantee: "exactly_once", threads, load });
    bench.progress.end(inWords(measured));
    if (measured.recordsPerSecond > best.recordsPerSecond) best = { threads, ...measured };
  }
  return best.threads;
}
