import { parseArgs } from "node:util";
import Table from "cli-table3";
import { buildIfStale } from "../../bench/build-if-stale.js";
import { missingForJars } from "../kafka/kafka-jars.js";
import { Board } from "./board.js";
import { type ChaosResult, ChaosRun } from "./chaos-run.js";
import { FAULTS } from "./faults.js";
import { missingForNamespaces } from "./namespaces.js";
import type { Guarantee } from "./oracle.js";

const USAGE = `usage: cli.ts [--minutes 30] [--seed N] [--guarantee exactly_once|at_least_once] [--rate 500] [--no-cut]
  --no-cut  leave out the cut connections, where there is no root or no \`ip\`: the last lines say so
`;
const DIFFERENCES_SHOWN = 20;

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly guarantee: Guarantee;
  readonly rate: number;
  readonly withCuts: boolean;
}

/** @throws Error about an option */
function optionsFrom(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string", default: "30" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
      guarantee: { type: "string", default: "exactly_once" },
      rate: { type: "string", default: "500" },
      "no-cut": { type: "boolean", default: false },
    },
  });
  const positive = (name: "minutes" | "seed" | "rate"): number => {
    const value = Number(values[name]);
    if (!(value > 0)) throw new Error(`--${name} ${values[name]}: a number above 0`);
    return value;
  };
  const { guarantee } = values;
  if (guarantee !== "exactly_once" && guarantee !== "at_least_once")
    throw new Error(`--guarantee ${guarantee}: exactly_once or at_least_once`);
  const numbers = { minutes: positive("minutes"), seed: positive("seed"), rate: positive("rate") };
  return { ...numbers, guarantee, withCuts: !values["no-cut"] };
}

/** What is needed is said before anything starts: no fault is left out in silence. */
async function refuseIfMissing({ withCuts }: Options): Promise<void> {
  const kafka = await missingForJars();
  if (kafka !== undefined) throw new Error(`the chaos test runs and kills a Kafka of its own: install ${kafka}`);
  const namespaces = withCuts ? await missingForNamespaces() : undefined;
  if (namespaces !== undefined)
    throw new Error(`the chaos test cuts connections in network namespaces: ${namespaces}; --no-cut leaves them out`);
}

async function chaos(options: Options): Promise<number> {
  await refuseIfMissing(options);
  await buildIfStale();
  const { seed, guarantee, minutes, rate, withCuts } = options;
  const durationMs = minutes * 60_000;
  console.log(`${minutes} min of chaos under ${guarantee}; seed ${seed}: SEED=${seed} plans the same faults again`);
  const board = new Board(process.stdout, durationMs);
  const onEvent = board.event.bind(board);
  const run = await ChaosRun.open({ seed, guarantee, durationMs, withCuts, perSecond: rate, onEvent });
  const end = (): void => run.end();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
  try {
    board.watch(run);
    const result = await run.run();
    board.stop();
    return told(result, options);
  } finally {
    board.stop();
    await run.close();
  }
}

function told(result: ChaosResult, options: Options): number {
  const { faults, differences, details, inputs, outputs, repeats, slowestCloseMs, directory } = result;
  const table = new Table({ head: ["fault", "times"], style: { head: [], border: [] } });
  for (const kind of FAULTS) table.push([kind, faults.get(kind) ?? 0]);
  console.log(table.toString());
  if (!options.withCuts) console.log("NO CONNECTION WAS CUT: --no-cut");
  for (const difference of differences.slice(0, DIFFERENCES_SHOWN)) console.log(`difference: ${difference}`);
  if (differences.length > DIFFERENCES_SHOWN) console.log(`and ${differences.length - DIFFERENCES_SHOWN} more`);
  for (const line of details) console.log(line);
  if (differences.length > 0) console.log(`logs and state: ${directory}`);
  console.log(`${inputs} records in, ${outputs} out, ${repeats} of them repeated`);
  console.log(`the slowest SIGTERM took ${(slowestCloseMs / 1_000).toFixed(1)} s`);
  const total = [...faults.values()].reduce((sum, times) => sum + times, 0);
  console.log(`faults ${total}, differences ${differences.length}`);
  return differences.length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  let options: Options;
  try {
    options = optionsFrom(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return 2;
  }
  try {
    return await chaos(options);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

process.exitCode = await main();
