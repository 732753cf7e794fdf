import { type Bench, type Entrant, endWell, entrants, RUNNING_TIMEOUT_MS, round2, shortName } from "./bench.js";
import { type Contender, type Guarantee, Job, kafkaStreams } from "./contenders.js";
import { NoiseMeter } from "./machine.js";
import { PipelineProcess } from "./pipeline-process.js";
import { fill, type Load } from "./throughput.js";

/** Kafka Streams stays in its group when it closes; a short session, waited for, so that nobody waits for it while he is measured. */
const SESSION_TIMEOUT_MS = 6_000;
const SESSION_OVER_MS = SESSION_TIMEOUT_MS + 1_500;
const SESSION_SETTINGS = {
  "session.timeout.ms": String(SESSION_TIMEOUT_MS),
  "heartbeat.interval.ms": String(SESSION_TIMEOUT_MS / 3),
};

interface Filled {
  readonly entrant: Entrant;
  readonly job: Job;
  closedMs: number;
}

/** From process start to RUNNING with an empty directory, of the state that one run over the load has left in the changelogs. */
export async function restore(bench: Bench, load: Load): Promise<void> {
  for (const guarantee of bench.options.guarantees) {
    const filled: Filled[] = [];
    try {
      for (const entrant of entrants(bench, [kafkaStreams]))
        filled.push(await fillOne(bench, entrant, guarantee, load));
      for (let round = 1; round <= bench.options.rounds; round++) {
        for (const one of round % 2 === 1 ? filled : [...filled].reverse()) {
          await restoreRun(bench, one, guarantee, load, round);
        }
      }
    } finally {
      for (const { job, entrant } of filled) await job.close(bench.transport, entrant.contender);
    }
  }
}

async function fillOne(bench: Bench, entrant: Entrant, guarantee: Guarantee, load: Load): Promise<Filled> {
  const { contender, threads, label } = entrant;
  const job = await Job.open(bench, contender, {
    guarantee,
    input: load.topic,
    partitions: load.partitions,
    threads,
    ...(contender === kafkaStreams ? { settings: SESSION_SETTINGS } : {}),
  });
  bench.progress.begin(`state to restore, ${shortName(guarantee)}, ${label}`, load.oracle.records);
  await fill(bench, contender, job, load.oracle);
  bench.progress.end("done");
  return { entrant, job, closedMs: performance.now() };
}

async function restoreRun(
  bench: Bench,
  filled: Filled,
  guarantee: Guarantee,
  load: Load,
  round: number,
): Promise<void> {
  const { entrant, job } = filled;
  const { contender, threads, label, ...variant } = entrant;
  const waitMs = filled.closedMs + SESSION_OVER_MS - performance.now();
  bench.progress.begin(`restore, ${shortName(guarantee)}, ${round} of ${bench.options.rounds}, ${label}`);
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  await job.forgetState();
  const noise = new NoiseMeter();
  const running = contender.start(job).watchMemory();
  try {
    const runningMs = await running.printed(contender.running, RUNNING_TIMEOUT_MS);
    const { otherCpuSeconds, isNoisy } = noise.read();
    const { cpuSeconds } = running.use();
    const records = await restoredRecords(running);
    await endWell(running, label);
    filled.closedMs = performance.now();
    if (records < load.oracle.rows) {
      throw new Error(`${label} restored ${records} records, and there are ${load.oracle.rows} rows`);
    }
    const figures = {
      seconds: round2(runningMs / 1_000),
      rows: load.oracle.rows,
      records,
      cpuSeconds: round2(cpuSeconds),
      peakMb: Math.round(running.peakPssBytes / 1e6),
      otherCpuSeconds: round2(otherCpuSeconds),
    };
    bench.progress.end(
      `${figures.seconds} s to RUNNING, ${records.toLocaleString("en")} changelog records${isNoisy ? ", NOISY" : ""}`,
    );
    const which = { part: "restore", guarantee, contender: contender.name, ...variant, round, threads } as const;
    bench.results.add({ ...which, figures, isNoisy });
  } finally {
    await running.end("SIGKILL");
  }
}

/** Changelog records that were read: each contender has thinned its own changelog in its own way. */
async function restoredRecords(running: ReturnType<Contender["start"]>): Promise<number> {
  if (running instanceof PipelineProcess) {
    const counts = await running.metric("millrace_restored_records_total");
    return [...counts.values()].reduce((sum, value) => sum + value, 0);
  }
  return Number(/STATE RUNNING restored=(\d+)/.exec(running.output)?.[1] ?? 0);
}
