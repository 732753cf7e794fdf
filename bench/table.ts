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
  /** Millrace over Kafka Streams, round by round: with more threads first, the standard last. */
  readonly ratios: readonly Row[];
  /** Millrace's CPU over the bare loop's; undefined where it did not run. */
  readonly overBareLoop: Spread | undefined;
}

/** No lines between rows: they say nothing. */
const TABLE_STYLE = {
  style: { head: [], border: [] },
  chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
};

const NAMES = [
  ["millrace", "Millrace"],
  ["kafka-streams", "Kafka Streams"],
  ["bare-loop", "bare loop"],
] as const;

/** What the contenders reached under one guarantee; undefined when nothing of it was measured. */
export function comparison(runs: readonly RunLine[], guarantee: Guarantee): Comparison | undefined {
  const those = runs.filter((run) => run.guarantee === guarantee && COLUMNS.some(({ part }) => part === run.part));
  const columns = COLUMNS.filter(({ part }) => those.some((run) => run.part === part));
  if (columns.length === 0) return undefined;
  const of = (contender: string, variant: string | undefined): RunLine[] =>
    those.filter((run) => run.contender === contender && run.variant === variant);
  const rows = NAMES.flatMap(([contender, name]) =>
    variantsOf(those, contender).map((variant) => {
      const own = of(contender, variant);
      const cells = columns.map((column) => inWords(spreadOf(figures(own, column)), column.digits));
      return { name: variant === undefined ? name : `${name}, ${variant}`, cells };
    }),
  );
  const ratio = (column: Column, against: string, variant?: string): Spread | undefined => {
    const others = of(against, undefined).filter(({ part }) => part === column.part);
    const own = of("millrace", variant).filter(({ part }) => part === column.part);
    return spreadOf(own.map((run) => run.figures[column.figure]! / other(others, run, column)));
  };
  return {
    guarantee,
    columns,
    rows,
    ratios: variantsOf(those, "millrace")
      .reverse()
      .map((variant) => ({
        name: `Millrace${variant === undefined ? "" : `, ${variant}`} / Kafka Streams`,
        cells: columns.map((column) => inWords(ratio(column, "kafka-streams", variant), 2, "×")),
      })),
    overBareLoop: columns[1] === undefined ? undefined : ratio(COLUMNS[1] as Column, "bare-loop"),
  };
}

/** As itself first. */
function variantsOf(runs: readonly RunLine[], contender: string): (string | undefined)[] {
  const own = runs.filter((run) => run.contender === contender);
  const named = new Set(own.flatMap(({ variant }) => (variant === undefined ? [] : [variant])));
  const inOrder = [...named].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return own.some(({ variant }) => variant === undefined) ? [undefined, ...inOrder] : inOrder;
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

/** For the terminal: the median of the rounds, with the least and the most; its last lines are the ratios. */
export function printed({ guarantee, columns, rows, ratios, overBareLoop }: Comparison): string {
  const table = new Table({ head: [shortName(guarantee), ...columns.map(({ title }) => title)], ...TABLE_STYLE });
  for (const { name, cells } of [...rows, ...ratios]) table.push([name, ...cells]);
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
