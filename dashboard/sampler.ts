import type { CounterName, GaugeName, StreamsMetrics } from "../metrics/metrics.js";
import type { ReportedValue } from "../metrics/published.js";
import type { KafkaStreams, StreamsStatus } from "../runtime/streams.js";
import { type Buckets, bucketsOf, quantileBetween } from "./buckets.js";
import type { EdgeMeter } from "./graph.js";
import type { HistoryPoint, SeriesName, Snapshot, StoreRow, TaskRow, Totals } from "./messages.js";
import { SERIES } from "./messages.js";
import { by, total } from "./readings.js";

/** Tasks that a page is told of; of more it is told how many. */
const TASKS_MAX = 400;
/** Rates are over about this long: shorter ones jump, as commits come in bursts. */
const RATE_OVER_MS = 3_000;

/** What the sampler needs of an application: its public face. */
export type SampledStreams = Pick<KafkaStreams, "status"> & { readonly metrics: ReadMetrics };

type ReadMetrics = Pick<StreamsMetrics, "refresh" | "series" | "bucketCounts">;

export type Sample = Omit<Snapshot, "panels" | "point"> & { readonly point: HistoryPoint };

type HistogramName = "latency" | "lateness" | "commits";

interface Counters {
  readonly atMs: number;
  readonly consumed: ReadonlyMap<string, number>;
  readonly produced: ReadonlyMap<string, number>;
  readonly processed: ReadonlyMap<string, number>;
  readonly deadLetters: ReadonlyMap<string, number>;
  /** Null where the engine does not count them. */
  readonly late: number | null;
  readonly droppedLate: number;
  /** Seconds. */
  readonly histograms: Readonly<Record<HistogramName, Buckets>>;
}

export interface SamplerOptions {
  readonly streams: SampledStreams;
  readonly meters: readonly (EdgeMeter | undefined)[];
  /** Names of stores, and the changelog topic of each; undefined for one without. */
  readonly stores: readonly { readonly name: string; readonly changelog: string | undefined }[];
}

/**
 * Reads what the engine counts, and makes rates of it. It looks at the metrics and the status only, both kept anyway, so
 * that records cost the same with and without a page.
 */
export class Sampler {
  readonly #options: SamplerOptions;
  readonly #past: Counters[] = [];

  constructor(options: SamplerOptions) {
    this.#options = options;
  }

  async sample(nowMs: number): Promise<Sample> {
    const { status, metrics } = this.#options.streams;
    await metrics.refresh();
    const read = readAll(metrics);
    const counters = countersOf(metrics, read, nowMs);
    const before = this.#before(nowMs);
    this.#past.push(counters);
    const rates = new Rates(before ?? counters, counters);
    const totals = totalsOf(read, counters, rates);
    return {
      atMs: nowMs,
      point: pointOf(nowMs, {
        consumedPerSecond: rates.consumed(),
        producedPerSecond: rates.produced(),
        lag: totals.lag,
        latencyP50Ms: rates.quantileMs("latency", 0.5),
        latencyP99Ms: rates.quantileMs("latency", 0.99),
        latenessP90Ms: rates.quantileMs("lateness", 0.9),
        latenessP99Ms: rates.quantileMs("lateness", 0.99),
        latePerSecond: rates.late(),
        droppedLatePerSecond: rates.droppedLate(),
        commitP50Ms: rates.quantileMs("commits", 0.5),
        commitP99Ms: rates.quantileMs("commits", 0.99),
      }),
      state: status.state,
      reason: status.reason,
      totals,
      tasks: taskRows(status, read.consumer_lag_records, read.stream_time_timestamp_seconds),
      tasksLeftOut: Math.max(0, status.tasks.length - TASKS_MAX),
      stores: this.#storeRows(read, rates, nowMs),
      edgeRates: this.#options.meters.map((meter) => (meter === undefined ? null : this.#edgeRate(meter, rates))),
    };
  }

  /** The reading that rates are taken from; older ones are forgotten. */
  #before(nowMs: number): Counters | undefined {
    while (this.#past.length > 1 && nowMs - (this.#past[1]?.atMs ?? nowMs) >= RATE_OVER_MS) this.#past.shift();
    return this.#past[0];
  }

  #storeRows(read: Read, rates: Rates, nowMs: number): readonly StoreRow[] {
    const rows = by(read.store_rows, "store");
    const ages = by(read.store_rows_age_seconds, "store");
    const remaining = by(read.restore_remaining_records, "store");
    const restored = by(read.restored_records_total, "store");
    return this.#options.stores.map(({ name, changelog }) => ({
      name,
      rows: rows.get(name) ?? null,
      rowsAtMs: ages.has(name) ? nowMs - (ages.get(name) ?? 0) * 1_000 : null,
      restoreRemaining: remaining.get(name) ?? 0,
      restored: restored.get(name) ?? 0,
      changelogPerSecond: changelog === undefined ? 0 : (rates.producedTo(changelog) ?? 0),
    }));
  }

  #edgeRate(meter: EdgeMeter, rates: Rates): number | null {
    switch (meter.by) {
      case "consumed":
        return rates.consumedFrom(meter.topics);
      case "produced":
        return rates.producedTo(meter.topic);
      case "dead-letter":
        return rates.deadLettersTo(meter.topic);
      case "changelog": {
        const changelog = this.#options.stores.find(({ name }) => name === meter.store)?.changelog;
        return changelog === undefined ? null : rates.producedTo(changelog);
      }
      case "processed":
        return rates.processedBy(meter.node);
    }
  }
}

/** What is read each time. */
const METRICS_READ = [
  "records_consumed_total",
  "records_produced_total",
  "records_dropped_total",
  "records_late_total",
  "node_records_total",
  "dead_letter_records_total",
  "consumer_lag_records",
  "stream_time_timestamp_seconds",
  "commits_total",
  "task_failures_total",
  "rebalances_total",
  "buffered_bytes",
  "restore_remaining_records",
  "restored_records_total",
  "store_rows",
  "store_rows_age_seconds",
] as const satisfies readonly (CounterName | GaugeName)[];

type Read = Readonly<Record<(typeof METRICS_READ)[number], readonly ReportedValue[]>>;

function readAll(metrics: ReadMetrics): Read {
  return Object.fromEntries(METRICS_READ.map((name) => [name, metrics.series(name)])) as Read;
}

function countersOf(metrics: ReadMetrics, read: Read, atMs: number): Counters {
  const late = read.records_late_total;
  return {
    atMs,
    consumed: by(read.records_consumed_total, "topic"),
    produced: by(read.records_produced_total, "topic"),
    processed: by(read.node_records_total, "node"),
    deadLetters: by(read.dead_letter_records_total, "topic"),
    late: late.length === 0 ? null : total(late),
    droppedLate: total(read.records_dropped_total.filter(([{ reason }]) => reason === "late")),
    histograms: {
      latency: bucketsOf(metrics.bucketCounts("end_to_end_latency_seconds")),
      lateness: bucketsOf(metrics.bucketCounts("record_lateness_seconds")),
      commits: bucketsOf(metrics.bucketCounts("commit_duration_seconds")),
    },
  };
}

function totalsOf(read: Read, counters: Counters, rates: Rates): Totals {
  const commits = by(read.commits_total, "result");
  return {
    records: sumOf(counters.consumed),
    recordsPerSecond: rates.consumed() ?? 0,
    producedPerSecond: rates.produced() ?? 0,
    lag: total(read.consumer_lag_records),
    commits: commits.get("ok") ?? 0,
    failedCommits: commits.get("failed") ?? 0,
    taskFailures: total(read.task_failures_total),
    dropped: total(read.records_dropped_total),
    droppedLate: counters.droppedLate,
    deadLetters: sumOf(counters.deadLetters),
    bufferedBytes: total(read.buffered_bytes),
    rebalances: total(read.rebalances_total),
  };
}

/** What happened between two readings, per second. A counter that is not there yet has counted nothing. */
class Rates {
  readonly #before: Counters;
  readonly #now: Counters;

  constructor(before: Counters, now: Counters) {
    this.#before = before;
    this.#now = now;
  }

  consumed(): number | null {
    return this.#perSecond((counters) => sumOf(counters.consumed));
  }

  produced(): number | null {
    return this.#perSecond((counters) => sumOf(counters.produced));
  }

  consumedFrom(topics: readonly string[]): number | null {
    return this.#perSecond(({ consumed }) => topics.reduce((sum, topic) => sum + (consumed.get(topic) ?? 0), 0));
  }

  producedTo(topic: string): number | null {
    return this.#perSecond(({ produced }) => produced.get(topic) ?? 0);
  }

  deadLettersTo(topic: string): number | null {
    return this.#perSecond(({ deadLetters }) => deadLetters.get(topic) ?? 0);
  }

  /** Null where the engine does not count by node. */
  processedBy(node: string): number | null {
    if (!this.#now.processed.has(node)) return null;
    return this.#perSecond(({ processed }) => processed.get(node) ?? 0);
  }

  late(): number | null {
    return this.#now.late === null ? null : this.#perSecond(({ late }) => late ?? 0);
  }

  droppedLate(): number | null {
    return this.#perSecond(({ droppedLate }) => droppedLate);
  }

  quantileMs(name: HistogramName, quantile: number): number | null {
    const seconds = quantileBetween(this.#before.histograms[name], this.#now.histograms[name], quantile);
    return seconds === null ? null : seconds * 1_000;
  }

  #perSecond(of: (counters: Counters) => number): number | null {
    const elapsedMs = this.#now.atMs - this.#before.atMs;
    return elapsedMs <= 0 ? null : ((of(this.#now) - of(this.#before)) * 1_000) / elapsedMs;
  }
}

function taskRows(
  status: StreamsStatus,
  lag: readonly ReportedValue[],
  streamTime: readonly ReportedValue[],
): readonly TaskRow[] {
  const times = new Map(
    streamTime.map(([labels, value]) => [`${labels.subtopology}_${labels.partition}`, value * 1_000]),
  );
  // Lag has the partition, not the sub-topology: with one sub-topology they are the same thing.
  const isSingle = status.tasks.every(({ id }) => id.startsWith("0_"));
  const lags = isSingle ? by(lag, "partition") : new Map<string, number>();
  return status.tasks.slice(0, TASKS_MAX).map(({ id, state, done, total: all }) => ({
    id,
    state,
    done: done ?? null,
    total: all ?? null,
    lag: lags.get(id.slice(id.indexOf("_") + 1)) ?? null,
    streamTimeMs: times.get(id) ?? null,
  }));
}

function pointOf(atMs: number, values: Readonly<Record<SeriesName, number | null>>): HistoryPoint {
  return { atMs, values: SERIES.map((name) => round(values[name])) };
}

/** Three digits behind the point are more than a plot can show. */
function round(value: number | null): number | null {
  return value === null ? null : Math.round(value * 1_000) / 1_000;
}

function sumOf(counts: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const count of counts.values()) sum += count;
  return sum;
}
