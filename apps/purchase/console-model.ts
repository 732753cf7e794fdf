import { GRACE_MS, WINDOW_MS } from "./model.js";
import type { AggregateRow } from "./output.js";
import { Sampler } from "./sampler.js";
import { counted, formatCents, formatClock, formatCount, formatDuration, printable } from "./text.js";

export type LineKind = "purchase" | "late" | "expired" | "dead letter";

/** One line of the feed, without colour and of any width. */
export interface FeedLine {
  readonly kind: LineKind;
  readonly text: string;
}

export interface WindowRow {
  readonly startMs: number;
  readonly users: number;
  readonly purchases: number;
  readonly late: number;
  readonly cents: number;
  /** Event time still to pass until it is closed; below zero once its successors have closed it. */
  readonly closesInMs: number;
}

/** Lines a second of each kind; more is sampled. */
export const LINES_PER_SECOND = { purchase: 20, late: 5, expired: 5, "dead letter": 5 } as const;
const KEPT_LINES = 200;
/** Rows of open windows kept in memory, about 100 bytes each; beyond it the oldest window is forgotten. */
const CELLS_MAX = 500_000;

interface OpenWindow {
  readonly users: Map<string, AggregateRow>;
  purchases: number;
  late: number;
  cents: number;
}

/** What the live console knows: counts, the last lines, and the open windows. No terminal here. */
export class ConsoleModel {
  readonly counts: Record<LineKind, number> = { purchase: 0, late: 0, expired: 0, "dead letter": 0 };
  readonly #samplers: Record<LineKind, Sampler>;
  readonly #recent: Record<LineKind, string[]> = { purchase: [], late: [], expired: [], "dead letter": [] };
  readonly #windows = new Map<number, OpenWindow>();
  readonly #changed = new Set<number>();
  #cells = 0;
  #streamTimeMs = -1;
  #rateFrom: readonly { readonly wallClockMs: number; readonly purchases: number }[] = [];

  constructor() {
    const sampler = (kind: LineKind): Sampler => new Sampler(LINES_PER_SECOND[kind]);
    this.#samplers = {
      purchase: sampler("purchase"),
      late: sampler("late"),
      expired: sampler("expired"),
      "dead letter": sampler("dead letter"),
    };
  }

  /** The largest event time seen in the aggregates; -1 at first. */
  get streamTimeMs(): number {
    return this.#streamTimeMs;
  }

  /** Counts a record; gives the line to show, or undefined when this second has enough of them. `text` is asked for only then. */
  add(kind: LineKind, wallClockMs: number, text: () => string): FeedLine | undefined {
    this.counts[kind]++;
    if (!this.#samplers[kind].take(wallClockMs)) return undefined;
    const line = { kind, text: text() };
    const recent = this.#recent[kind];
    recent.push(line.text);
    if (recent.length > KEPT_LINES) recent.shift();
    return line;
  }

  recent(kind: LineKind, count: number): readonly string[] {
    return count <= 0 ? [] : this.#recent[kind].slice(-count);
  }

  takeSkipped(kind: LineKind): number {
    return this.#samplers[kind].takeSkipped();
  }

  addAggregate(row: AggregateRow, eventTimeMs: number): void {
    this.#streamTimeMs = Math.max(this.#streamTimeMs, eventTimeMs);
    if (this.#closesInMs(row.windowStartMs) <= 0) return;
    const window = this.#windows.get(row.windowStartMs) ?? { users: new Map(), purchases: 0, late: 0, cents: 0 };
    const before = window.users.get(row.userId);
    if (before === undefined) this.#cells++;
    window.users.set(row.userId, row);
    window.purchases += row.count - (before?.count ?? 0);
    window.late += row.late - (before?.late ?? 0);
    window.cents += row.cents - (before?.cents ?? 0);
    this.#windows.set(row.windowStartMs, window);
    this.#changed.add(row.windowStartMs);
    this.#forgetClosed();
  }

  /** Open windows, the newest first. */
  windows(): readonly WindowRow[] {
    return [...this.#windows.keys()].sort((a, b) => b - a).map((startMs) => this.#row(startMs));
  }

  /** Those of the open windows that changed since this was asked last, the newest first. */
  takeChangedWindows(): readonly WindowRow[] {
    const rows = this.windows().filter(({ startMs }) => this.#changed.has(startMs));
    this.#changed.clear();
    return rows;
  }

  /** Purchases per second over the last few seconds; call it about every second. */
  purchasesPerSecond(wallClockMs: number): number {
    const now = { wallClockMs, purchases: this.counts.purchase };
    this.#rateFrom = [...this.#rateFrom.filter((then) => wallClockMs - then.wallClockMs <= 3_000), now];
    const then = this.#rateFrom[0] ?? now;
    const elapsedMs = wallClockMs - then.wallClockMs;
    return elapsedMs === 0 ? 0 : Math.round(((now.purchases - then.purchases) * 1_000) / elapsedMs);
  }

  #row(startMs: number): WindowRow {
    const { users, purchases, late, cents } = this.#windows.get(startMs) as OpenWindow;
    return { startMs, users: users.size, purchases, late, cents, closesInMs: this.#closesInMs(startMs) };
  }

  #closesInMs(startMs: number): number {
    return startMs + WINDOW_MS + GRACE_MS - this.#streamTimeMs;
  }

  #forgetClosed(): void {
    for (const [startMs, window] of this.#windows) {
      if (this.#closesInMs(startMs) > 0 && this.#cells <= CELLS_MAX) continue;
      this.#cells -= window.users.size;
      this.#windows.delete(startMs);
    }
  }
}

/** What a line shows of a purchase. Whatever is not there or is something else is shown as `?`: this is no judge. */
export function purchaseText(value: unknown, eventTimeMs: number | undefined): string {
  return partsOf(value, eventTimeMs).join("  ");
}

/** How late it came stands before the goods: it is what a narrow terminal must not cut off. */
export function lateText(value: unknown, eventTimeMs: number, ingestionTimeMs: number): string {
  const [who, what] = partsOf(value, eventTimeMs);
  const lateness = `${formatDuration(ingestionTimeMs - eventTimeMs)} late`;
  return [who, lateness.padStart(LATENESS_WIDTH), what].join("  ");
}

/** `59m 59s late`. */
const LATENESS_WIDTH = 12;

function partsOf(value: unknown, eventTimeMs: number | undefined): readonly [who: string, what: string] {
  const fields = typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  const field = (name: string): string => printable(String(fields[name] ?? "?"));
  const amount = typeof fields.amount === "number" ? formatCents(Math.round(fields.amount * 100)) : "?";
  const time = eventTimeMs === undefined ? "?           " : formatClock(eventTimeMs, { milliseconds: true });
  const who = `${time}  ${field("user_id").padEnd(12)} ${amount.padStart(12)}`;
  return [who, `${field("quantity")} × ${field("goods")}`];
}

export function windowText(row: WindowRow): string {
  const { startMs, users, purchases, late, cents } = row;
  const counts = `${counted(purchases, "purchase")} of ${counted(users, "user")}, ${formatCount(late)} late, ${formatCents(cents)}`;
  return `${formatClock(startMs).slice(0, 5)}–${formatClock(startMs + WINDOW_MS).slice(0, 5)}  ${counts}, closes in ${formatDuration(row.closesInMs)}`;
}
