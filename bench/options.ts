import { parseArgs } from "node:util";
import type { Guarantee } from "./contenders.js";
import { PARTS, type Part, RESULTS } from "./results.js";

export interface GrowthPoint {
  readonly records: number;
  readonly users: number;
  readonly partitions: number;
}

export interface BenchOptions {
  readonly parts: readonly Part[];
  readonly guarantees: readonly Guarantee[];
  readonly rounds: number;
  readonly latencyRounds: number;
  readonly records: number;
  readonly users: number;
  readonly partitions: number;
  readonly late: number;
  readonly seed: number;
  readonly rate: number;
  readonly warmUpSeconds: number;
  readonly measuredSeconds: number;
  /** Stream threads of Millrace: the first is its standard, with the others it runs beside it. */
  readonly threads: readonly [number, ...number[]];
  readonly peerThreads: number | "auto";
  readonly growth: readonly GrowthPoint[];
  readonly isQuick: boolean;
  readonly results: string;
  readonly report: boolean;
  /** Measure nothing. */
  readonly isReportOnly: boolean;
}

export const USAGE = `usage: make bench ARGS="..."   compares the purchase pipeline with Kafka Streams and a bare loop

  --only PARTS            of ${PARTS.join(", ")}; all by default
  --guarantee WHICH       exactly_once, at_least_once or both (default)
  --rounds N              of throughput, restore and formats (5)
  --latency-rounds N      (3)
  --records N, --users N, --partitions N        of the load (1000000, 10000, 9)
  --rate N                records/s while latency is measured (2000)
  --warm-up S, --measured S                     its seconds (10, 30)
  --threads N,M           of Millrace; the first everywhere, the others in throughput and restore too (1,2)
  --peer-threads N|auto   of Kafka Streams; auto tries 1 and 2 and takes the faster (auto)
  --growth POINTS         as 1m/10k/9,10m/1m/9: records/users/partitions
  --quick                 two rounds of 500,000 records without growth and formats, about 3 minutes; not for the report
  --smoke                 seconds: whether it works at all
  --results DIR           where the raw results go, as JSON lines (bench/results)
  --no-report             leave docs/benchmarks.md as it is
  --report-only           write docs/benchmarks.md from the results that are there
`;

const GROWTH = "1m/10k/9,3m/10k/9,10m/10k/9,1m/100k/9,1m/1m/9,1m/10k/1,1m/10k/60,3m/100k/9,10m/1m/9";

/** Sizes that replace the defaults; a flag wins over them. */
const PRESETS: Readonly<Record<"full" | "quick" | "smoke", Readonly<Record<string, string>>>> = {
  full: {},
  quick: {
    only: "throughput,latency,restore,micro",
    guarantee: "exactly_once",
    rounds: "2",
    "latency-rounds": "1",
    records: "500000",
    "warm-up": "5",
    measured: "10",
    threads: "1",
    "peer-threads": "2",
  },
  smoke: {
    only: "throughput,latency,restore,micro,formats,growth",
    guarantee: "exactly_once",
    rounds: "1",
    "latency-rounds": "1",
    records: "3000",
    users: "50",
    partitions: "3",
    rate: "200",
    "warm-up": "1",
    measured: "2",
    "peer-threads": "1",
    growth: "1k/10/1,2k/100/3",
  },
};

const FLAGS = {
  only: { type: "string", default: "" },
  guarantee: { type: "string", default: "both" },
  rounds: { type: "string", default: "5" },
  "latency-rounds": { type: "string", default: "3" },
  records: { type: "string", default: "1000000" },
  users: { type: "string", default: "10000" },
  partitions: { type: "string", default: "9" },
  rate: { type: "string", default: "2000" },
  "warm-up": { type: "string", default: "10" },
  measured: { type: "string", default: "30" },
  threads: { type: "string", default: "1,2" },
  "peer-threads": { type: "string", default: "auto" },
  growth: { type: "string", default: GROWTH },
  quick: { type: "boolean", default: false },
  smoke: { type: "boolean", default: false },
  results: { type: "string", default: RESULTS },
  "no-report": { type: "boolean", default: false },
  "report-only": { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** @throws UsageError naming the flag; undefined when help was asked for */
export function readOptions(parameters: readonly string[]): BenchOptions | undefined {
  const { values: given } = parse(parameters);
  if (given.help === true) return undefined;
  const preset = given.smoke === true ? "smoke" : given.quick === true ? "quick" : "full";
  const text = (flag: Exclude<keyof typeof FLAGS, "quick" | "smoke" | "no-report" | "report-only" | "help">): string =>
    given[flag] ?? PRESETS[preset][flag] ?? FLAGS[flag].default;
  const number = (flag: Parameters<typeof text>[0]): number => sizeOf(text(flag), `--${flag}`);
  const only = text("only");
  const guarantee = text("guarantee");
  return {
    parts: only === "" ? PARTS : only.split(",").map((part) => oneOf(part, PARTS, "--only")),
    guarantees: guarantee === "both" ? BOTH : [oneOf(guarantee, BOTH, "--guarantee")],
    rounds: number("rounds"),
    latencyRounds: number("latency-rounds"),
    records: number("records"),
    users: number("users"),
    partitions: number("partitions"),
    late: 0.1,
    seed: 42,
    rate: number("rate"),
    warmUpSeconds: number("warm-up"),
    measuredSeconds: number("measured"),
    threads: text("threads")
      .split(",")
      .map((count) => sizeOf(count, "--threads")) as [number, ...number[]],
    peerThreads: text("peer-threads") === "auto" ? "auto" : number("peer-threads"),
    growth: text("growth").split(",").map(growthPoint),
    isQuick: preset !== "full",
    results: text("results"),
    report: preset === "full" && given["no-report"] !== true,
    isReportOnly: given["report-only"] === true,
  };
}

/** The one that people look at last comes last. */
const BOTH = ["at_least_once", "exactly_once"] as const satisfies readonly Guarantee[];

function parse(parameters: readonly string[]) {
  const options = Object.fromEntries(Object.entries(FLAGS).map(([name, { type }]) => [name, { type }]));
  try {
    return parseArgs({
      args: [...parameters],
      options: options as { [K in keyof typeof FLAGS]: { type: (typeof FLAGS)[K]["type"] } },
    });
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function oneOf<T extends string>(text: string, choices: readonly T[], flag: string): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw new UsageError(`${flag}: "${text}" is none of ${choices.join(", ")}`);
  return found;
}

/** A whole number, also as 10k or 3m. */
function sizeOf(text: string, flag: string): number {
  const match = /^(\d+)([km]?)$/i.exec(text);
  const unit = { "": 1, k: 1_000, m: 1_000_000 }[(match?.[2] ?? "").toLowerCase()] ?? 1;
  const size = Number(match?.[1]) * unit;
  if (!(size >= 1)) throw new UsageError(`${flag}: "${text}" is no whole number above zero, as 500, 10k or 3m`);
  return size;
}

function growthPoint(text: string): GrowthPoint {
  const [records = "", users = "", partitions = "", ...more] = text.split("/");
  if (more.length > 0) throw new UsageError(`--growth: "${text}" is not records/users/partitions`);
  const size = (part: string): number => sizeOf(part, "--growth");
  return { records: size(records), users: size(users), partitions: size(partitions) };
}
