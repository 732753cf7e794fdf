import Table from "cli-table3";
import { shortName } from "./bench.js";
import type { Guarantee } from "./contenders.js";
import type { RunLine } from "./results.js";
import { type Spread, spreadOf } from "./statistics.js";

/** A column of the comparison: which figure of which part, and whether more is better. */
interface Column {
  readonly title: string;
  readonly part: RunLine["part"];
  readonly figure: string;
  readonly digits: number;
}

export const COLUMNS: readonly Column[] = [
  { title: "records/s", part: "throughput", figure: "recordsPerSecond", digits: 0 },
  { title: "CPU µs/record", part: "throughput", figure: "cpuMicrosPerRecord", digits: 1 },
  { title: "peak MB (PSS)", part: "throughput", figure: "peakMb", digits: 0 },
  { title: "latency p50 ms", part: "latency", figure: "p50Ms", digits: 1 },
  { title: "latency p99 ms", part: "latency", figure: "p99Ms", digits: 1 },
  { title: "s to RUNNING", part: "restore", figure: "seconds", digits: 2 },
];

export interface Row {
  readonly name: string;
  readonly cells: readonly string[];
}

export interface Comparison {
  readonly guarantee: Guarantee;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
  /** Millrace over Kafka Streams, round by round. */
  readonly ratios: Row;
  /** Millrace's CPU over the bare loop's; undefined where it did not run. */
  readonly overBareLoop: Spread | undefined;
}

/** No lines between rows: they say nothing. */
const TABLE_STYLE = {
  style: { head: [], border: [] },
  chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
};

const ROWS = [
  { name: "Millrace", contender: "millrace", variant: undefined },
  { name: "Kafka Streams", contender: "kafka-streams", variant: undefined },
  { name: "Kafka Streams, linger.ms=0", contender: "kafka-streams", variant: "linger.ms=0" },
  { name: "bare loop", contender: "bare-loop", variant: undefined },
] as const;

/** What the contenders reached under one guarantee; undefined when nothing of it was measured. */
export function comparison(runs: readonly RunLine[], guarantee: Guarantee): Comparison | undefined {
  const those = runs.filter((run) => run.guarantee === guarantee);
  const columns = COLUMNS.filter(({ part }) => those.some((run) => run.part === part));
  if (columns.length === 0) return undefined;
  const rows = ROWS.map(({ name, contender, variant }) => {
    const own = those.filter((run) => run.contender === contender && run.variant === variant);
    return { name, cells: columns.map((column) => inWords(spreadOf(figures(own, column)), column.digits)) };
  });
  const of = (contender: string, column: Column) =>
    those.filter((run) => run.contender === contender && run.variant === undefined && run.part === column.part);
  const ratio = (column: Column, against: string): Spread | undefined =>
    spreadOf(
      of("millrace", column).map((run) => run.figures[column.figure]! / other(of(against, column), run, column)),
    );
  return {
    guarantee,
    columns,
    rows: rows.filter(({ cells }) => cells.some((cell) => cell !== "")),
    ratios: {
      name: "Millrace / Kafka Streams",
      cells: columns.map((column) => inWords(ratio(column, "kafka-streams"), 2, "×")),
    },
    overBareLoop: columns[1] === undefined ? undefined : ratio(COLUMNS[1] as Column, "bare-loop"),
  };
}

/** The same figure of the same round. */
function other(runs: readonly RunLine[], { round }: RunLine, { figure }: Column): number {
  return runs.find((run) => run.round === round)?.figures[figure] ?? Number.NaN;
}

function figures(runs: readonly RunLine[], { part, figure }: Column): (number | undefined)[] {
  return runs.filter((run) => run.part === part).map((run) => run.figures[figure]);
}

/** The median, and the least and the most behind it; nothing where there is nothing. */
export function inWords(spread: Spread | undefined, digits: number, unit = ""): string {
  if (spread === undefined) return "";
  const text = (value: number): string =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const middle = `${text(spread.median)}${unit}`;
  return spread.count === 1 ? middle : `${middle} (${text(spread.min)}${unit}–${text(spread.max)}${unit})`;
}

export function noisyRuns(runs: readonly RunLine[]): string | undefined {
  const noisy = runs.filter(({ isNoisy }) => isNoisy === true).length;
  if (noisy === 0) return undefined;
  return `${noisy} of ${runs.length} runs were noisy: something else used the CPU. Their figures are worth little.`;
}

/** For the terminal: the median of the rounds, with the least and the most; its last line are the ratios. */
export function printed({ guarantee, columns, rows, ratios, overBareLoop }: Comparison): string {
  const table = new Table({ head: [shortName(guarantee), ...columns.map(({ title }) => title)], ...TABLE_STYLE });
  for (const { name, cells } of [...rows, ratios]) table.push([name, ...cells]);
  const limit = overBareLoop === undefined ? "" : `CPU over the bare loop: ${inWords(overBareLoop, 2, "×")}\n`;
  return `${limit}${table.toString()}`;
}

/** What was measured of Millrace alone, for the terminal; nothing where nothing was. */
export function costs(runs: readonly RunLine[]): string {
  const shown = runs.filter(({ part }) => part === "growth" || part === "formats" || part === "micro");
  if (shown.length === 0) return "";
  const table = new Table({ head: ["", "", "figures"], ...TABLE_STYLE });
  for (const { part, variant = "", figures } of shown) table.push([part, variant, figuresInWords(figures)]);
  return table.toString();
}

const SHOWN: Readonly<Record<string, string>> = {
  recordsPerSecond: "records/s",
  cpuMicrosPerRecord: "µs of CPU",
  peakMb: "MB",
  microsPerItem: "µs",
  writeMicros: "µs to write",
  readMicros: "µs to read",
  bytes: "bytes",
};

function figuresInWords(figures: Readonly<Record<string, number>>): string {
  const shown = Object.entries(figures).filter(([name]) => name in SHOWN);
  return shown.map(([name, value]) => `${value.toLocaleString("en")} ${SHOWN[name]}`).join(", ");
}
