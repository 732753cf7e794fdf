import { Counter, Gauge, Histogram, type Registry } from "prom-client";

// What is counted in plain numbers, and how it becomes prom-client's when it collects. prom-client awaits `collect` before
// it reads a metric's values, so a scrape always has the numbers of its own moment.

export type Labels = Readonly<Record<string, string>>;

export interface PublishTarget {
  readonly name: string;
  readonly help: string;
  readonly labels: Readonly<Record<string, readonly string[]>>;
  readonly registry: Registry;
  /** On every series. Not the registry's default labels: a registry of the user's may have others. */
  readonly constant: Labels;
  /** How values of the same labels become one. */
  readonly merge?: "sum" | "max";
  /** Waited for before values are read: other threads count too. */
  readonly refresh: () => Promise<void> | undefined;
}

/** One series of a counter or a gauge; of a counter, by how much it has grown since the last time it was told. */
export type ReportedValue = readonly [labels: Labels, value: number];

/** One series of a histogram, as what was observed since the last time it was told. */
export type ReportedBuckets = readonly [labels: Labels, counts: readonly number[], sum: number];

/** How many were observed up to each bound and above the one before; one count more than bounds, for what is above them all. */
export interface BucketCounts {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
}

/** The cells of one metric by their labels. */
class Series<C> {
  readonly #byKey = new Map<string, { readonly labels: Labels; readonly own: Labels; readonly cell: C }>();
  readonly #names: readonly string[];
  readonly #target: PublishTarget;
  readonly #create: () => C;

  constructor(target: PublishTarget, create: () => C) {
    this.#names = Object.keys(target.labels);
    this.#target = target;
    this.#create = create;
  }

  cell(labels: Labels): C {
    const key = this.key(labels);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known.cell;
    const cell = this.#create();
    this.#byKey.set(key, { labels: { ...labels, ...this.#target.constant }, own: labels, cell });
    return cell;
  }

  remove(labels: Labels): void {
    this.#byKey.delete(this.key(labels));
  }

  /** `own`: without the labels that are on every series. */
  values(): Iterable<{ readonly labels: Labels; readonly own: Labels; readonly cell: C }> {
    return this.#byKey.values();
  }

  key(labels: Labels): string {
    return JSON.stringify(this.#names.map((name) => labels[name]));
  }
}

function config(target: PublishTarget) {
  const labelNames = [...Object.keys(target.labels), ...Object.keys(target.constant)];
  return { name: target.name, help: target.help, labelNames, registers: [target.registry] };
}

const zero = (): { value: number } => ({ value: 0 });

export class PublishedCounter {
  readonly #series: Series<{ value: number }>;
  readonly #told = new Map<object, number>();

  constructor(target: PublishTarget) {
    const series = new Series(target, zero);
    this.#series = series;
    new Counter({
      ...config(target),
      async collect() {
        await target.refresh();
        this.reset();
        for (const { labels, cell } of series.values()) this.inc(labels, cell.value);
      },
    });
  }

  /** What has grown since the last call; a new series also at 0, so that it is there. */
  takeGrowth(): ReportedValue[] {
    const grown: ReportedValue[] = [];
    for (const { own, cell } of this.#series.values()) {
      const told = this.#told.get(cell);
      if (told === cell.value) continue;
      this.#told.set(cell, cell.value);
      grown.push([own, cell.value - (told ?? 0)]);
    }
    return grown;
  }

  cell(labels: Labels): { value: number } {
    return this.#series.cell(labels);
  }

  values(): ReportedValue[] {
    return Array.from(this.#series.values(), ({ own, cell }): ReportedValue => [own, cell.value]);
  }
}

export type Reader = (sample: (labels: Labels, value: number) => void) => void;

export class PublishedGauge {
  readonly #series: Series<{ value: number }>;
  readonly #readers = new Set<{ readonly read: Reader }>();
  readonly #merge: (a: number, b: number) => number;
  readonly #sampleFailed: () => void;

  constructor(target: PublishTarget, sampleFailed: (metric: string) => void) {
    this.#series = new Series(target, zero);
    this.#merge = target.merge === "max" ? Math.max : (a, b) => a + b;
    this.#sampleFailed = () => sampleFailed(target.name);
    const values = (): ReportedValue[] => this.values();
    new Gauge({
      ...config(target),
      async collect() {
        await target.refresh();
        this.reset();
        for (const [labels, value] of values()) this.set({ ...labels, ...target.constant }, value);
      },
    });
  }

  cell(labels: Labels): { value: number } {
    return this.#series.cell(labels);
  }

  remove(labels: Labels): void {
    this.#series.remove(labels);
  }

  addReader(read: Reader): () => void {
    const reader = { read };
    this.#readers.add(reader);
    return () => void this.#readers.delete(reader);
  }

  /** Every series there is now, each once. */
  values(): ReportedValue[] {
    const merged = new Map<string, ReportedValue>();
    const say = (labels: Labels, value: number): void => {
      const key = this.#series.key(labels);
      const before = merged.get(key);
      merged.set(key, [labels, before === undefined ? value : this.#merge(before[1], value)]);
    };
    for (const { own, cell } of this.#series.values()) say(own, cell.value);
    for (const { read } of this.#readers) {
      try {
        // Read to its end before any of it counts: half a reader would be a wrong number.
        const said: ReportedValue[] = [];
        read((labels, value) => said.push([labels, value]));
        for (const [labels, value] of said) say(labels, value);
      } catch {
        this.#sampleFailed();
      }
    }
    return [...merged.values()];
  }
}

/** Counts per bucket in an array. `counts` has one place more than there are bounds, for what is above them all. */
class Buckets {
  readonly counts: number[];
  sum = 0;
  readonly #bounds: readonly number[];

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  add(counts: readonly number[], sum: number): void {
    for (const [at, count] of counts.entries()) this.counts[at]! += count;
    this.sum += sum;
  }

  observe(value: number): void {
    let low = 0;
    let high = this.#bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= this.#bounds[middle]!) high = middle;
      else low = middle + 1;
    }
    this.counts[low]! += 1;
    this.sum += value;
  }
}

interface HistogramValue {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
}

/**
 * A histogram whose buckets are ours. prom-client can only observe one value at a time and has no way to be given counts, so
 * this stands in its registry in a histogram's place and answers for itself. A registry asks `getForPromString` first, where there is one.
 */
export class BucketHistogram extends Histogram<string> {
  readonly #target: PublishTarget;
  readonly #series: Series<Buckets>;
  readonly #bounds: readonly number[];
  readonly #told = new Map<Buckets, Buckets>();

  constructor(target: PublishTarget, bounds: readonly number[] = []) {
    super({ ...config(target), buckets: [...bounds] });
    this.#target = target;
    this.#bounds = bounds;
    this.#series = new Series(target, () => new Buckets(bounds));
  }

  cell(labels: Labels): Buckets {
    return this.#series.cell(labels);
  }

  /** What was observed since the last call; a new series also when that is nothing, so that it is there. */
  takeGrowth(): ReportedBuckets[] {
    const grown: ReportedBuckets[] = [];
    for (const { own, cell } of this.#series.values()) {
      const told = this.#told.get(cell);
      const before = told ?? new Buckets(this.#bounds);
      this.#told.set(cell, before);
      const counts = cell.counts.map((count, at) => count - before.counts[at]!);
      if (told !== undefined && counts.every((count) => count === 0)) continue;
      const sum = cell.sum - before.sum;
      before.add(counts, sum);
      grown.push([own, counts, sum]);
    }
    return grown;
  }

  /** Over all series. */
  bucketCounts(): BucketCounts {
    const sum = new Buckets(this.#bounds);
    for (const { cell } of this.#series.values()) sum.add(cell.counts, 0);
    return { bounds: this.#bounds, counts: sum.counts };
  }

  override get(): ReturnType<Histogram<string>["get"]> {
    // prom-client's types call the type a number of an enum that does not exist; its registry prints the word.
    return this.#answer() as unknown as ReturnType<Histogram<string>["get"]>;
  }

  async #answer() {
    const { name, help } = this.#target;
    await this.#target.refresh();
    return { name, help, type: "histogram", aggregator: "sum", values: this.#values(name) };
  }

  getForPromString(): ReturnType<Histogram<string>["get"]> {
    return this.get();
  }

  #values(name: string): HistogramValue[] {
    const out: HistogramValue[] = [];
    for (const { labels, cell } of this.#series.values()) {
      let below = 0;
      for (const [at, count] of cell.counts.entries()) {
        below += count;
        out.push({ metricName: `${name}_bucket`, labels: { ...labels, le: this.#bounds[at] ?? "+Inf" }, value: below });
      }
      out.push({ metricName: `${name}_sum`, labels: { ...labels }, value: cell.sum });
      out.push({ metricName: `${name}_count`, labels: { ...labels }, value: below });
    }
    return out;
  }
}
