import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { shortName } from "./bench.js";
import type { Guarantee } from "./contenders.js";
import { type RunLine, readResults, type SessionLine } from "./results.js";
import { spreadOf } from "./statistics.js";
import { type Comparison, comparison, inWords, noisyRuns } from "./table.js";

const PAGE = fileURLToPath(new URL("../docs/benchmarks.md", import.meta.url));
const BEGIN = "<!-- figures: written by make bench -->";
const END = "<!-- end of the figures -->";
const GUARANTEES: readonly Guarantee[] = ["exactly_once", "at_least_once"];

/** The newest session that measured something. */
interface Source {
  readonly session: SessionLine;
  readonly runs: readonly RunLine[];
}

/** Writes the figures of the newest sessions into `docs/benchmarks.md`; the words around them stay. */
export function writeReport(directory: string): void {
  const page = readFileSync(PAGE, "utf8");
  const [before, after] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (before < 0 || after < before) throw new Error(`docs/benchmarks.md has lost its marks "${BEGIN}" and "${END}"`);
  writeFileSync(PAGE, `${page.slice(0, before + BEGIN.length)}\n\n${figures(directory)}\n${page.slice(after)}`);
}

/** Markdown of all figures; sessions that were only quick ones do not count. */
export function figures(directory: string): string {
  const { sessions, runs } = readResults(directory);
  const full = sessions.filter(({ isQuick }) => !isQuick);
  const newest = (isWanted: (run: RunLine) => boolean): Source | undefined => {
    const session = full.findLast(({ session: name }) => runs.some((run) => run.session === name && isWanted(run)));
    if (session === undefined) return undefined;
    return { session, runs: runs.filter((run) => run.session === session.session && isWanted(run)) };
  };
  const sections = [
    ...GUARANTEES.map((guarantee) => comparisonSection(guarantee, newest)),
    growthSection(newest(({ part }) => part === "growth")),
    formatsSection(newest(({ part }) => part === "formats")),
    microSection(newest(({ part, contender }) => part === "micro" && contender === "millrace")),
    codecSection(newest(({ part, contender }) => part === "micro" && contender === "format")),
  ].filter((section) => section !== "");
  const last = full.at(-1);
  if (last === undefined || sections.length === 0) return "Nothing has been measured yet.\n";
  return [machine(last), ...sections].join("\n");
}

function machine({ environment }: SessionLine): string {
  const { cpu, cores, memoryGib, system, versions, commit } = environment;
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `Machine: ${cpu}, ${cores} cores, ${memoryGib} GiB, ${system}; broker, contender and harness share it. ${names.join(", ")}. Millrace at commit ${commit}.\n`;
}

/** When and how a section's figures came about, and whether they can be trusted. */
function origin({ session, runs }: Source): string {
  const noisy = noisyRuns(runs);
  return `\`${session.command}\`, ${session.session.slice(0, 10)}, commit ${session.environment.commit}.${noisy === undefined ? "" : ` **${noisy}**`}\n`;
}

function comparisonSection(
  guarantee: Guarantee,
  newest: (isWanted: (run: RunLine) => boolean) => Source | undefined,
): string {
  const parts = (["throughput", "latency", "restore"] as const).map((part) =>
    newest((run) => run.part === part && run.guarantee === guarantee),
  );
  const sources = parts.filter((source): source is Source => source !== undefined);
  const found = comparison(
    sources.flatMap(({ runs }) => runs),
    guarantee,
  );
  if (found === undefined) return "";
  const origins = [...new Set(sources.map((source) => origin(source)))];
  return `## ${capital(shortName(guarantee))}\n\n${origins.join("")}\n${threads(sources)}\n${comparisonTable(found)}\n${bars(found)}`;
}

function threads(sources: readonly Source[]): string {
  const used = (contender: string): string =>
    [
      ...new Set(
        sources.flatMap(({ runs }) =>
          runs.filter((run) => run.contender === contender && run.variant === undefined).map((run) => run.threads),
        ),
      ),
    ]
      .filter((count) => count !== undefined)
      .join(" and ");
  return `Stream threads, where a row does not say it: Millrace ${used("millrace")}, Kafka Streams ${used("kafka-streams")}.\n`;
}

function comparisonTable({ columns, rows, ratios, overBareLoop }: Comparison): string {
  const limit =
    overBareLoop === undefined ? "" : `\nCPU per record over the bare loop's: ${inWords(overBareLoop, 2, "×")}.\n`;
  return `${table(
    ["", ...columns.map(({ title }) => title)],
    [...rows, ...ratios].map(({ name, cells }) => [name, ...cells]),
  )}${limit}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |\n`;
  return line(head) + line(head.map((_, at) => (at === 0 ? "---" : "---:"))) + rows.map(line).join("");
}

const BAR_CELLS = 40;

/** Each figure of Millrace's as a bar, where Kafka Streams' is forty cells long. */
function bars({ columns, ratios }: Comparison): string {
  const lines = columns.map(({ title }, at) => {
    const ratio = Number.parseFloat(ratios.at(-1)?.cells[at] ?? "");
    const cells = Number.isFinite(ratio) ? Math.max(1, Math.round(Math.min(ratio, 2) * BAR_CELLS)) : 0;
    return `${title.padEnd(15)} ${"█".repeat(cells)}${ratio > 2 ? "▶" : ""} ${Number.isFinite(ratio) ? `${ratio}×` : ""}`;
  });
  return `\`\`\`text\n${"Kafka Streams".padEnd(15)} ${"░".repeat(BAR_CELLS)} 1×\n${lines.join("\n")}\n\`\`\`\n`;
}

function growthSection(source: Source | undefined): string {
  if (source === undefined) return "";
  const [first] = source.runs;
  const rows = source.runs.map(({ figures: point, isNoisy }) => [
    count(point.records),
    count(point.users),
    count(point.partitions),
    count(point.rows),
    count(point.recordsPerSecond),
    (point.cpuMicrosPerRecord ?? 0).toFixed(1),
    ((point.cpuMicrosPerRecord ?? 0) / (first?.figures.cpuMicrosPerRecord ?? Number.NaN)).toFixed(2),
    `${count(point.peakMb)}${isNoisy === true ? " (noisy)" : ""}`,
  ]);
  const head = ["records", "users", "partitions", "rows", "records/s", "CPU µs/record", "over the first", "peak MB"];
  return `## Growth\n\n${origin(source)}\n${table(head, rows)}`;
}

function formatsSection(source: Source | undefined): string {
  if (source === undefined) return "";
  const variants = [...new Set(source.runs.map(({ variant }) => variant ?? ""))];
  const of = (variant: string, figure: string) =>
    spreadOf(source.runs.filter((run) => run.variant === variant).map((run) => run.figures[figure]));
  const base = of(variants[0] ?? "", "cpuMicrosPerRecord")?.median ?? Number.NaN;
  const rows = variants.map((variant) => {
    const cpu = of(variant, "cpuMicrosPerRecord");
    return [
      variant,
      inWords(of(variant, "recordsPerSecond"), 0),
      inWords(cpu, 1),
      `${((cpu?.median ?? Number.NaN) / base).toFixed(2)}×`,
      inWords(of(variant, "peakMb"), 0),
    ];
  });
  const head = ["the whole pipeline", "records/s", "CPU µs/record", "over JSON", "peak MB"];
  return `## Formats and codecs\n\n${origin(source)}\n${table(head, rows)}`;
}

function microSection(source: Source | undefined): string {
  if (source === undefined) return "";
  const rows = source.runs.map(({ variant = "", figures: part }) => [variant, (part.microsPerItem ?? 0).toFixed(2)]);
  return `## Hot parts\n\n${origin(source)}\n${table(["one thread, no broker", "CPU µs"], rows)}`;
}

function codecSection(source: Source | undefined): string {
  if (source === undefined) return "";
  const rows = source.runs.map(({ variant = "", figures: cost }) => [
    variant,
    (cost.writeMicros ?? 0).toFixed(2),
    (cost.readMicros ?? 0).toFixed(2),
    (cost.bytes ?? 0).toFixed(0),
  ]);
  return `\n${table(["a purchase", "write µs", "read µs", "bytes"], rows)}`;
}

function count(value: number | undefined): string {
  return (value ?? Number.NaN).toLocaleString("en");
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
