import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { simulate } from "./simulation.js";

const FAILURES_SHOWN = 10;

interface Options {
  readonly seeds: number;
  readonly from: number;
  readonly jobs: number;
  readonly trace: boolean;
  /** No seed is begun when this is over. */
  readonly withinMs: number;
}

interface Report {
  readonly seed: number;
  readonly failures: readonly string[];
  readonly faults: number;
}

function optionsFrom(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: "string", default: "2000" },
      from: { type: "string", default: "1" },
      jobs: { type: "string", default: String(availableParallelism()) },
      within: { type: "string", default: "86400" },
      trace: { type: "boolean", default: false },
    },
  });
  const whole = (name: "seeds" | "from" | "jobs" | "within"): number => {
    const value = Number(values[name]);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} ${values[name]}: a whole number from 1`);
    return value;
  };
  const seeds = whole("seeds");
  const jobs = Math.min(whole("jobs"), seeds);
  return { seeds, from: whole("from"), jobs, trace: values.trace, withinMs: whole("within") * 1_000 };
}

/** In this process: tells the parent, if there is one, of each run. */
async function runSeeds(seeds: readonly number[], endMs: number, report: (report: Report) => void): Promise<void> {
  for (const seed of seeds) {
    if (Date.now() >= endMs) return;
    const { failures, faults } = await simulate({ seed, trace: "nothing" });
    report({ seed, failures, faults });
    // A run never waits for the real event loop; messages to the parent do.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Each process runs every so-manieth seed: a run keeps one core busy. */
async function runInChildren(
  { seeds, from, jobs, withinMs }: Options,
  report: (report: Report) => void,
): Promise<void> {
  const endMs = Date.now() + withinMs;
  const child = (job: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const args = [from + job, from + seeds, jobs, endMs].map(String);
      const running = fork(fileURLToPath(import.meta.url), args, {
        env: { ...process.env, [CHILD]: "1" },
        execArgv: [...process.execArgv, YOUNG_OBJECTS],
      });
      running.on("message", (message) => report(message as Report));
      running.on("error", reject);
      running.on("exit", (code) =>
        code === 0 ? resolve() : reject(new Error(`a simulation process ended with ${code}`)),
      );
    });
  await Promise.all(Array.from({ length: jobs }, (_, job) => child(job)));
}

/** Most objects of a run are gone with it: with room for them, few are copied before. */
const YOUNG_OBJECTS = "--max-semi-space-size=64";
const CHILD = "MILLRACE_SIMULATION_CHILD";

async function runAsChild(): Promise<void> {
  const [from, end, step, endMs] = process.argv.slice(2).map(Number) as [number, number, number, number];
  const seeds: number[] = [];
  for (let seed = from; seed < end; seed += step) seeds.push(seed);
  await runSeeds(seeds, endMs, (report) => process.send?.(report));
  process.disconnect?.();
}

async function showTrace(seed: number): Promise<boolean> {
  const { failures, trace, plan } = await simulate({ seed, trace: "lines" });
  const { events, lastEvents, ...rest } = plan;
  for (const line of trace) console.log(line);
  console.log(`seed ${seed}: ${events.length + lastEvents.length} events, ${JSON.stringify(rest)}`);
  for (const failure of failures) console.log(`  ${failure}`);
  return failures.length === 0;
}

async function main(): Promise<number> {
  const options = optionsFrom(process.argv.slice(2));
  if (options.trace) return (await showTrace(options.from)) ? 0 : 1;
  const beganMs = performance.now();
  const failed: Report[] = [];
  let [runs, faults] = [0, 0];
  await runInChildren(options, (report) => {
    runs++;
    faults += report.faults;
    if (report.failures.length === 0) return;
    failed.push(report);
    console.log(`seed ${report.seed} failed:`);
    for (const failure of report.failures.slice(0, FAILURES_SHOWN)) console.log(`  ${failure}`);
    console.log(`  again, with all that happened: npm run test:sim -- --from ${report.seed} --seeds 1 --trace`);
  });
  const seconds = (performance.now() - beganMs) / 1_000;
  console.log(
    `${runs} seeds from ${options.from}, ${faults} faults in ${seconds.toFixed(1)} s: ${failed.length} failed`,
  );
  const isInTime = seconds < options.withinMs / 1_000;
  if (runs < options.seeds && !isInTime)
    console.log(`THE TIME WAS UP: ${options.seeds - runs} of ${options.seeds} seeds were not begun`);
  return failed.length === 0 && (runs === options.seeds || !isInTime) ? 0 : 1;
}

if (process.env[CHILD] === undefined) process.exitCode = await main();
else await runAsChild();
