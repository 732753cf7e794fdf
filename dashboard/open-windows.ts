import { performance } from "node:perf_hooks";
import type { ReadOnlyWindowStore } from "../topology/read-only-store.js";
import type { Column, Row } from "./messages.js";
import type { Panel, PanelRows } from "./panels.js";
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

const EVERY_MS = 2_000;
/**
 * Reading the rows is work of the application's own thread: at most this share of its time, and less while it has
 * little to spare, as reading a full store would take from the records there.
 */
const SHARE = { idle: 0.01, busy: 0.004 } as const;
/** Above this share of its time in work a thread is busy. */
const BUSY_ABOVE = 0.5;
/** Between two breaths, so that processing goes on meanwhile. */
const ROWS_AT_ONCE = 500;
/** More are not added up: it would take seconds. */
const ROWS_MAX = 1_000_000;

interface Sums {
  readonly startMs: number;
  readonly endMs: number;
  keys: number;
  readonly values: number[];
}

/**
 * The windows of a store that are not closed yet, with their sums over all keys of this instance, and when they close. It reads the
 * committed rows, as seldom as their number asks for.
 */
export function openWindows<V>(options: OpenWindowsOptions<V>): Panel {
  const { name, title, note, keys, columns } = options;
  let lastLoop = performance.eventLoopUtilization();
  const share = (): number => {
    const loop = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(loop, lastLoop);
    lastLoop = loop;
    return utilization > BUSY_ABOVE ? SHARE.busy : SHARE.idle;
  };
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
    read: () => read(options, share()),
  };
}

async function read<V>(options: OpenWindowsOptions<V>, share: number): Promise<PanelRows> {
  const { graceMs, streams } = options;
  const times = streams.metrics.series("stream_time_timestamp_seconds");
  if (times.length === 0) return { rows: [], summary: "" };
  // A window is open until the slowest task has closed it.
  const streamTimeMs = Math.min(...times.map(([, value]) => value * 1_000));
  const { windows, busyMs } = await addUp(options);
  const rows = [...windows.values()]
    .filter(({ endMs }) => endMs + graceMs > streamTimeMs)
    .sort((a, b) => b.startMs - a.startMs)
    .map(({ startMs, endMs, keys, values }): Row => {
      const closesAtMs = endMs + graceMs;
      return [startMs, endMs, keys, ...values, closesAtMs, closesAtMs - streamTimeMs];
    });
  return { rows, summary: `${rows.length} open`, againInMs: busyMs / share };
}

async function addUp<V>({ store, valuesOf }: OpenWindowsOptions<V>): Promise<{
  readonly windows: ReadonlyMap<number, Sums>;
  readonly busyMs: number;
}> {
  const windows = new Map<number, Sums>();
  let rows = 0;
  let busyMs = 0;
  let sinceMs: number | undefined;
  for (const { window, value } of store().fetchAll()) {
    // From the first row on: the first read opens the files, which says nothing about the next.
    sinceMs ??= performance.now();
    const values = valuesOf(value);
    const known = windows.get(window.startMs);
    if (known === undefined) windows.set(window.startMs, { ...window, keys: 1, values: [...values] });
    else {
      known.keys++;
      for (const [at, amount] of values.entries()) known.values[at] = (known.values[at] ?? 0) + amount;
    }
    if (++rows % ROWS_AT_ONCE !== 0) continue;
    if (rows >= ROWS_MAX) throw new Error(`there are more than ${ROWS_MAX.toLocaleString("en-US")} rows to add up`);
    busyMs += performance.now() - sinceMs;
    await new Promise((resolve) => setImmediate(resolve));
    sinceMs = performance.now();
  }
  return { windows, busyMs: sinceMs === undefined ? 0 : busyMs + performance.now() - sinceMs };
}
