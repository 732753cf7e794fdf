import { performance } from "node:perf_hooks";
import type { ReadOnlyWindowStore } from "../topology/read-only-store.js";
import type { Column, Row } from "./messages.js";
import { PANEL_ROWS_MAX, type Panel, type PanelRows } from "./panels.js";
import type { SampledStreams } from "./sampler.js";

export interface OpenWindowsOptions<V> {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  /** What the keys are, in the plural: the column with their number. */
  readonly keys: string;
  readonly graceMs: number;
  readonly streams: SampledStreams;
  /** Asked at each read: a store is there only while the application runs. */
  store(): ReadOnlyWindowStore<unknown, V>;
  /** Of what `valuesOf` gives. */
  readonly columns: readonly Column[];
  /** What of a row is added up over its window; in the columns' order. */
  valuesOf(value: V): readonly number[];
}

const EVERY_MS = 1_000;
/**
 * Reading the rows is work of the application's own thread: at most this share of its time, and less while it has
 * little to spare, as reading a full store would take from the records there.
 */
const SHARE = { idle: 0.02, busy: 0.004 } as const;
/** Above this share of its time in work a thread is busy. */
const BUSY_ABOVE = 0.5;
/** However long nobody has looked: a page that opens is not felt. */
const READ_MAX_MS = 20;
/** About a millisecond: between two breaths processing goes on. */
const ROWS_AT_ONCE = 250;
/** Of all open windows, in one question to the store: where its rows lie by key, each question goes over all of them. */
const SPAN_SHARE_MIN = 1 / 16;
/** A look that nobody has gone on with for so long is begun anew, with the windows that are open now. */
const PAUSED_MAX_MS = 60_000;

/** One window, as it was when it was read. */
interface WindowSums {
  readonly startMs: number;
  readonly endMs: number;
  readonly atMs: number;
  keys: number;
  readonly values: number[];
}

/**
 * The windows of a store that are not closed yet, the newest hundred, with their sums over all keys of this instance, and when they close. It
 * reads the committed rows a few at a time, the newest window first and over and over: what it shows is as old as their number asks for.
 */
export function openWindows<V>(options: OpenWindowsOptions<V>): Panel {
  const { name, title, note, keys, columns } = options;
  const windows = new OpenWindows(options);
  return {
    name,
    title,
    note,
    empty: "no window is open",
    everyMs: EVERY_MS,
    columns: [
      { title: "From", kind: "time" },
      { title: "To", kind: "time" },
      { title: keys, kind: "number" },
      ...columns,
      { title: "Closes at", kind: "time" },
      { title: "In event time", kind: "duration" },
    ],
    read: () => windows.read(),
  };
}

function openInWords(windows: number): string {
  return windows < PANEL_ROWS_MAX ? `${windows} open` : `the newest ${PANEL_ROWS_MAX} that are open`;
}

/** The slowest and the fastest task's stream time. */
interface StreamTimes {
  readonly slowestMs: number;
  readonly fastestMs: number;
}

class OpenWindows<V> {
  readonly #options: OpenWindowsOptions<V>;
  readonly #windows = new Map<number, WindowSums>();
  /** The look at all windows that is under way, and whether there was a whole one before. */
  #look: Iterator<undefined> | undefined;
  #hasAll = false;
  #lastReadMs = Number.NEGATIVE_INFINITY;
  /** Of the time for reading; below 0 where a read went beyond it. */
  #leftMs = 0;
  #lastLoop = performance.eventLoopUtilization();

  constructor(options: OpenWindowsOptions<V>) {
    this.#options = options;
  }

  async read(): Promise<PanelRows> {
    const times = this.#streamTimes();
    if (times === undefined) return { rows: [], summary: "" };
    try {
      await this.#lookOn(times);
    } catch (error) {
      this.#look = undefined;
      throw error;
    }
    return this.#shown(times.slowestMs);
  }

  #streamTimes(): StreamTimes | undefined {
    const series = this.#options.streams.metrics.series("stream_time_timestamp_seconds");
    const times = series.map(([, value]) => Math.round(value * 1_000));
    return times.length === 0 ? undefined : { slowestMs: Math.min(...times), fastestMs: Math.max(...times) };
  }

  /** A window is open until the slowest task has closed it. */
  #shown(slowestMs: number): PanelRows {
    const { graceMs } = this.#options;
    const open = [...this.#windows.values()].filter(({ endMs }) => endMs + graceMs > slowestMs);
    const rows = open
      .sort((a, b) => b.startMs - a.startMs)
      .map(({ startMs, endMs, keys, values }): Row => {
        const closesAtMs = endMs + graceMs;
        return [startMs, endMs, keys, ...values, closesAtMs, closesAtMs - slowestMs];
      });
    const readMs = open.slice(0, PANEL_ROWS_MAX).map(({ atMs }) => atMs);
    if (this.#hasAll) return { rows, summary: openInWords(rows.length), atMs: Math.min(Date.now(), ...readMs) };
    if (rows.length === 0) return { rows, summary: "", atMs: null };
    return { rows, summary: `the newest ${rows.length}, the others are being read`, atMs: Math.min(...readMs) };
  }

  /** As far as the time since the last read allows, and at most to the end of one look. */
  async #lookOn(times: StreamTimes): Promise<void> {
    const nowMs = performance.now();
    this.#leftMs = Math.min(READ_MAX_MS, this.#leftMs + (nowMs - this.#lastReadMs) * this.#share());
    if (nowMs - this.#lastReadMs > PAUSED_MAX_MS) this.#look = undefined;
    this.#lastReadMs = nowMs;
    this.#look ??= this.#lookAtAll(times);
    while (this.#leftMs > 0) {
      const beganMs = performance.now();
      const { done } = this.#look.next();
      // What went beyond it is owed, but not for ever: the first read opens the files, which says nothing about the next.
      this.#leftMs = Math.max(-READ_MAX_MS, this.#leftMs - (performance.now() - beganMs));
      if (done) {
        this.#look = undefined;
        this.#hasAll = true;
        return;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #share(): number {
    const loop = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(loop, this.#lastLoop);
    this.#lastLoop = loop;
    return utilization > BUSY_ABOVE ? SHARE.busy : SHARE.idle;
  }

  /** Span by span, the newest first; over a gap without rows the spans become wider. Stops after each few rows. */
  *#lookAtAll({ slowestMs, fastestMs }: StreamTimes): Iterator<undefined> {
    const { sizeMs } = this.#options.store();
    const openMs = this.#options.graceMs + sizeMs;
    const oldestMs = slowestMs - openMs;
    const spanMinMs = Math.max(sizeMs, Math.ceil(openMs * SPAN_SHARE_MIN));
    let spanMs = spanMinMs;
    let toMs = fastestMs + 1;
    for (let found = 0; toMs > oldestMs && found < PANEL_ROWS_MAX; ) {
      const fromMs = Math.max(toMs - spanMs, oldestMs);
      const windows = yield* this.#addUp(fromMs, toMs);
      this.#forget(fromMs, toMs);
      for (const [startMs, sums] of windows) this.#windows.set(startMs, sums);
      found += windows.size;
      spanMs = windows.size === 0 ? spanMs * 2 : spanMinMs;
      toMs = fromMs;
      yield;
    }
    // Closed, or older than the hundred that are shown.
    this.#forget(Number.NEGATIVE_INFINITY, toMs);
  }

  #forget(fromMs: number, toMs: number): void {
    for (const startMs of this.#windows.keys()) if (startMs >= fromMs && startMs < toMs) this.#windows.delete(startMs);
  }

  *#addUp(fromMs: number, toMs: number): Generator<undefined, ReadonlyMap<number, WindowSums>> {
    const { store, valuesOf } = this.#options;
    const windows = new Map<number, WindowSums>();
    const atMs = Date.now();
    let rows = 0;
    for (const { window, value } of store().fetchAll({ fromMs, toMs })) {
      const values = valuesOf(value);
      const known = windows.get(window.startMs);
      if (known === undefined) windows.set(window.startMs, { ...window, atMs, keys: 1, values: [...values] });
      else {
        known.keys++;
        for (const [at, amount] of values.entries()) known.values[at] = (known.values[at] ?? 0) + amount;
      }
      if (++rows % ROWS_AT_ONCE === 0) yield;
    }
    return windows;
  }
}
