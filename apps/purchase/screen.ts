import Table from "cli-table3";
import type { Colors } from "picocolors/types.js";
import { type ConsoleModel, LINES_PER_SECOND, type LineKind, type WindowRow } from "./console-model.js";
import { WINDOW_MS } from "./model.js";
import { clip, columnsOf, counted, formatCents, formatClock, formatCount, formatDuration, joined } from "./text.js";

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

interface Column {
  readonly head: string;
  readonly width: number;
  readonly cell: (row: WindowRow) => string;
  /** Columns leave a narrow terminal in this order, the highest first. */
  readonly dispensable: number;
}

const COLUMNS: readonly Column[] = [
  {
    head: "window (UTC)",
    width: 13,
    dispensable: 0,
    cell: ({ startMs }) => `${formatClock(startMs).slice(0, 5)}–${formatClock(startMs + WINDOW_MS).slice(0, 5)}`,
  },
  { head: "purchases", width: 11, dispensable: 1, cell: ({ purchases }) => formatCount(purchases) },
  { head: "total", width: 15, dispensable: 2, cell: ({ cents }) => formatCents(cents) },
  { head: "late", width: 8, dispensable: 3, cell: ({ late }) => formatCount(late) },
  { head: "closes in", width: 10, dispensable: 4, cell: ({ closesInMs }) => formatDuration(closesInMs) },
  { head: "users", width: 9, dispensable: 5, cell: ({ users }) => formatCount(users) },
];

const TABLE_CHARS = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: " ",
} as const;

/** Lines that are not feed or windows: title, two headings, two blank lines, the table's heading. */
const FIXED_LINES = 7;
const FEED_LINES_MIN = 3;
const LATE_LINES_MAX = 5;

/** What is known about the feed besides its lines. */
export interface FrameFacts {
  readonly perSecond: number;
  /** Purchases of the last second that the feed left out; above 0 it says that it is a sample. */
  readonly skippedPerSecond: number;
  /** What the pipeline is at when it is not just running, as `restoring 12 of 90`. */
  readonly notice: string | undefined;
  /** What holds all along, as the page's address. */
  readonly about: string | undefined;
}

/** One frame of the live console: at most `rows - 1` lines of at most `columns` characters. */
export function frame(model: ConsoleModel, facts: FrameFacts, size: ScreenSize, colors: Colors): string {
  const width = Math.max(20, size.columns - 1);
  const height = Math.max(10, size.rows - 1);
  const windows = model.windows();
  const room = height - FIXED_LINES - (facts.notice === undefined ? 0 : 1);
  const lateLines = Math.max(1, Math.min(LATE_LINES_MAX, Math.floor(room / 5)));
  const windowLines = Math.max(1, Math.min(windows.length, room - lateLines - FEED_LINES_MIN, 14));
  const feedLines = Math.max(1, room - lateLines - windowLines);
  const paint = paints(colors);
  const line = (text: string, style: (text: string) => string): string => style(clip(text, width));
  const feed = model.recent("purchase", feedLines);
  return [
    line(title(model, facts, width), colors.bold),
    ...(facts.notice === undefined ? [] : [line(facts.notice, colors.yellow)]),
    line(facts.about ?? "", colors.dim),
    line(feedHeading(facts), colors.dim),
    ...feed.map((text) => line(text, paint.purchase)),
    ...blanks(feedLines - feed.length),
    line("late events", colors.dim),
    ...asides(model, lateLines).map(({ kind, text }) => line(text, paint[kind])),
    "",
    line(
      windows.length > windowLines
        ? `open windows (the newest ${windowLines} of ${windows.length})`
        : `open windows (${windows.length})`,
      colors.dim,
    ),
    windowTable(windows.slice(0, windowLines), width),
  ].join("\n");
}

export function paints(colors: Colors): Record<LineKind, (text: string) => string> {
  return { purchase: (text) => text, late: colors.yellow, expired: colors.magenta, "dead letter": colors.red };
}

/** Whole numbers or none: what does not fit leaves, the last of the list first. */
function title(model: ConsoleModel, { perSecond }: FrameFacts, width: number): string {
  const { counts } = model;
  const parts = [
    counted(counts.purchase, "purchase"),
    `${formatCount(perSecond)}/s`,
    `${formatCount(counts.late)} late`,
    `${formatCount(counts.expired)} expired`,
    counted(counts["dead letter"], "dead letter"),
    ...(model.streamTimeMs < 0 ? [] : [`event time ${formatClock(model.streamTimeMs)}`]),
  ];
  while (parts.length > 1 && columnsOf(joined(parts)) > width) parts.pop();
  return joined(parts);
}

function feedHeading({ perSecond, skippedPerSecond }: FrameFacts): string {
  if (skippedPerSecond === 0) return "transactions";
  return `transactions (a sample: ${LINES_PER_SECOND.purchase} of ${formatCount(perSecond)} per second)`;
}

/** Late events, with the newest expired purchase and dead letter in the last two places where there is room. */
function asides(model: ConsoleModel, lines: number): readonly { readonly kind: LineKind; readonly text: string }[] {
  const rare =
    lines < 3
      ? []
      : (["expired", "dead letter"] as const).flatMap((kind) =>
          model.recent(kind, 1).map((text) => ({ kind, text: `${kind}: ${text}` })),
        );
  const late = model.recent("late", lines - rare.length).map((text) => ({ kind: "late" as const, text }));
  const empty = blanks(lines - rare.length - late.length).map((text) => ({ kind: "late" as const, text }));
  return [...late, ...empty, ...rare];
}

function blanks(count: number): string[] {
  return new Array<string>(Math.max(0, count)).fill("");
}

export function windowTable(rows: readonly WindowRow[], width: number): string {
  let columns = COLUMNS;
  const taken = (): number => columns.reduce((sum, column) => sum + column.width + 1, 0);
  while (taken() > width && columns.length > 1) {
    const last = Math.max(...columns.map(({ dispensable }) => dispensable));
    columns = columns.filter(({ dispensable }) => dispensable !== last);
  }
  const table = new Table({
    head: columns.map(({ head }) => head),
    colWidths: columns.map((column) => column.width),
    colAligns: columns.map((_, index) => (index === 0 ? "left" : "right")),
    chars: TABLE_CHARS,
    // Without these it colours its heading and borders even under NO_COLOR and in a pipe.
    style: { head: [], border: [], compact: true, "padding-left": 0, "padding-right": 0 },
  });
  for (const row of rows) table.push(columns.map(({ cell }) => cell(row)));
  return table.toString();
}
