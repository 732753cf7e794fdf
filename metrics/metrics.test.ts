import { Counter, Histogram, Registry } from "prom-client";
import { describe, expect, test } from "vitest";
import { StreamsMetrics } from "./metrics.js";
import { ERROR_ACTIONS, ERROR_STAGES, METRICS, type MetricDefinition, STATES } from "./table.js";

const metrics = (): StreamsMetrics => new StreamsMetrics({ applicationId: "app" });
const definitions = Object.entries(METRICS) as [string, MetricDefinition][];

/** The lines of one metric in Prometheus' text format, without its help and type. */
async function linesOf(from: StreamsMetrics, name: string): Promise<readonly string[]> {
  return (await from.text()).split("\n").filter((line) => line.startsWith(`millrace_${name}`));
}

describe("the table of metrics", () => {
  test.each(definitions)("%s: the name ends in its base unit, a counter in _total", (name, { type }) => {
    expect(name).toMatch(/^[a-z][a-z_]*$/);
    expect(name.endsWith("_total")).toBe(type === "counter");
    expect(name).not.toMatch(/_(ms|millis|milliseconds|minutes|kb|mb|kilobytes|percent)(_|$)/);
    expect(name).not.toMatch(/_(sum|count|bucket|info)$/);
    if (name.includes("duration")) expect(name).toMatch(/_seconds$/);
    if (name.includes("time_") && !name.includes("duration")) expect(name).toMatch(/_timestamp_seconds$/);
  });

  test.each(definitions)("%s: its help is one sentence and its labels are known to end", (_, { help, labels }) => {
    expect(help).toMatch(/^[A-Z1].*[^.]$/);
    for (const label of Object.keys(labels))
      expect(label).toMatch(
        /^(state|topic|partition|subtopology|node|reason|stage|action|result|store|metric|phase|outcome|thread|activity|version|node_version|guarantee|topology_hash)$/,
      );
  });

  test.each(definitions)("%s: buckets are there for a histogram only, and rise", (_, { type, buckets }) => {
    expect(buckets !== undefined).toBe(type === "histogram");
    expect([...(buckets ?? [])].sort((a, b) => a - b)).toEqual(buckets ?? []);
  });

  test("every metric is in the answer with prefix, help and type", async () => {
    const text = await metrics().text();
    for (const [name, { type, help }] of definitions) {
      expect(text).toContain(`# HELP millrace_${name} ${help}\n# TYPE millrace_${name} ${type}\n`);
    }
  });
});

describe("counters", () => {
  test("a cell is what is scraped, at the moment of the scrape, and counts on after it", async () => {
    const own = metrics();
    const cell = own.counter("records_consumed_total", { topic: "in" });
    cell.value += 3;
    expect(await linesOf(own, "records_consumed_total")).toEqual([
      'millrace_records_consumed_total{topic="in",application_id="app"} 3',
    ]);
    cell.value += 4;
    expect(await linesOf(own, "records_consumed_total")).toEqual([
      'millrace_records_consumed_total{topic="in",application_id="app"} 7',
    ]);
  });

  test("the same labels give the same cell, in whatever order they are written", () => {
    const own = metrics();
    const cell = own.counter("records_dropped_total", { node: "n", reason: "late" });
    expect(own.counter("records_dropped_total", { reason: "late", node: "n" })).toBe(cell);
    expect(own.counter("records_dropped_total", { reason: "handler", node: "n" })).not.toBe(cell);
    expect(own.counter("records_dropped_total", { reason: "late", node: "m" })).not.toBe(cell);
  });

  test("failures with a closed set of labels are at 0 from the start", async () => {
    const own = metrics();
    const handled = await linesOf(own, "errors_handled_total");
    expect(handled).toHaveLength(ERROR_STAGES.length * ERROR_ACTIONS.length);
    expect(handled).toContain(
      'millrace_errors_handled_total{stage="production",action="dead-letter",application_id="app"} 0',
    );
    expect(await linesOf(own, "commits_total")).toEqual([
      'millrace_commits_total{result="ok",application_id="app"} 0',
      'millrace_commits_total{result="failed",application_id="app"} 0',
    ]);
    expect(await linesOf(own, "rebalances_total")).toEqual(['millrace_rebalances_total{application_id="app"} 0']);
    expect(await linesOf(own, "records_dropped_total")).toEqual([]);
  });

  test("startAtZero makes every series of the labels that are not said", async () => {
    const own = metrics();
    own.counter("records_dropped_total", { node: "count", reason: "late" }).value += 2;
    own.startAtZero("records_dropped_total", { node: "count" });
    const lines = await linesOf(own, "records_dropped_total");
    expect(lines).toHaveLength(5);
    expect(lines).toContain('millrace_records_dropped_total{node="count",reason="late",application_id="app"} 2');
    expect(lines).toContain('millrace_records_dropped_total{node="count",reason="null-key",application_id="app"} 0');
  });
});

describe("gauges", () => {
  test("a cell and every reader of the same labels add up", async () => {
    const own = metrics();
    own.gauge("tasks", { state: "active" }).value = 1;
    own.sample("tasks", (sample) => sample({ state: "active" }, 2));
    own.sample("tasks", (sample) => {
      sample({ state: "active" }, 3);
      sample({ state: "standby" }, 4);
    });
    expect(await linesOf(own, "tasks")).toEqual([
      'millrace_tasks{state="active",application_id="app"} 6',
      'millrace_tasks{state="restoring",application_id="app"} 0',
      'millrace_tasks{state="standby",application_id="app"} 4',
    ]);
  });

  test("a reader that has ended is not asked any more, and its series are gone", async () => {
    const own = metrics();
    const end = own.sample("store_rows", (sample) => sample({ store: "counts" }, 5));
    expect(await linesOf(own, "store_rows")).toHaveLength(1);
    end();
    expect(await linesOf(own, "store_rows")).toEqual([]);
  });

  test("a reader that throws is left out as a whole and counted; the rest of the scrape stands", async () => {
    const own = metrics();
    own.sample("store_rows", (sample) => {
      sample({ store: "half" }, 1);
      throw new Error("the store is closed");
    });
    own.sample("store_rows", (sample) => sample({ store: "good" }, 2));
    const lines = (await own.text()).split("\n");
    expect(lines.filter((line) => line.startsWith("millrace_store_rows"))).toEqual([
      'millrace_store_rows{store="good",application_id="app"} 2',
    ]);
    expect(lines).toContain(
      'millrace_metric_sample_failures_total{metric="millrace_store_rows",application_id="app"} 1',
    );
  });

  test("a removed series is gone, and new when it comes back", async () => {
    const own = metrics();
    const labels = { topic: "in", partition: "0" };
    own.gauge("consumer_lag_records", labels).value = 9;
    own.remove("consumer_lag_records", labels);
    expect(await linesOf(own, "consumer_lag_records")).toEqual([]);
    expect(own.gauge("consumer_lag_records", labels).value).toBe(0);
  });

  test("exactly one state is 1", async () => {
    const own = metrics();
    own.setState("running");
    own.setState("error");
    const lines = await linesOf(own, "state");
    expect(lines).toHaveLength(STATES.length);
    expect(lines.filter((line) => line.endsWith(" 1"))).toEqual([
      'millrace_state{state="error",application_id="app"} 1',
    ]);
  });
});

describe("histograms", () => {
  test("answer exactly what prom-client's own histogram answers", async () => {
    const own = metrics();
    const { buckets, help } = METRICS.restore_duration_seconds;
    const registry = new Registry();
    const model = new Histogram({
      name: "millrace_restore_duration_seconds",
      help,
      labelNames: ["store", "application_id"],
      buckets: [...buckets],
      registers: [registry],
    });
    // On a bound, between bounds, below the first and above the last.
    for (const [store, value] of [
      ["a", 0.0005],
      ["a", 0.001],
      ["a", 0.3],
      ["b", 60],
      ["b", 61],
      ["a", 0.3],
    ] as const) {
      own.histogram("restore_duration_seconds", { store }).observe(value);
      model.observe({ store, application_id: "app" }, value);
    }
    const lineSet = (lines: readonly string[]): readonly string[] =>
      lines
        .map((line) => line.replace(/\{(.*)\}/, (_, labels: string) => `{${labels.split(",").sort().join(",")}}`))
        .sort();
    const expected = (await registry.metrics()).split("\n").filter((line) => line.startsWith("millrace_"));
    expect(lineSet(await linesOf(own, "restore_duration_seconds"))).toEqual(lineSet(expected));
  });

  test("one without labels is there, empty, from the start", async () => {
    const lines = await linesOf(metrics(), "commit_duration_seconds");
    expect(lines).toContain('millrace_commit_duration_seconds_bucket{application_id="app",le="+Inf"} 0');
    expect(lines).toContain('millrace_commit_duration_seconds_count{application_id="app"} 0');
  });

  test("are in a registry's JSON as well", async () => {
    const own = metrics();
    own.histogram("commit_duration_seconds", {}).observe(2);
    const json = await own.registry.getMetricsAsJSON();
    const histogram = json.find((metric) => metric.name === "millrace_commit_duration_seconds") as unknown as {
      type: string;
      values: { metricName: string; value: number }[];
    };
    expect(histogram.type).toBe("histogram");
    expect(histogram.values.find((value) => value.metricName.endsWith("_sum"))?.value).toBe(2);
  });
});

describe("read without prom-client", () => {
  test("series of counters and gauges have the labels they were made with, those of readers too", () => {
    const own = metrics();
    own.counter("records_consumed_total", { topic: "in" }).value = 3;
    own.counter("records_consumed_total", { topic: "more" }).value = 4;
    own.gauge("consumer_lag_records", { topic: "in", partition: "0" }).value = 5;
    own.sample("consumer_lag_records", (say) => say({ topic: "in", partition: "1" }, 6));
    expect(own.series("records_consumed_total")).toEqual([
      [{ topic: "in" }, 3],
      [{ topic: "more" }, 4],
    ]);
    expect(own.series("consumer_lag_records")).toEqual([
      [{ topic: "in", partition: "0" }, 5],
      [{ topic: "in", partition: "1" }, 6],
    ]);
  });

  test("observations of all series of a histogram add up, each in its own bucket", () => {
    const own = metrics();
    own.histogram("record_lateness_seconds", { node: "a" }).observe(0.5);
    own.histogram("record_lateness_seconds", { node: "b" }).observe(1);
    own.histogram("record_lateness_seconds", { node: "b" }).observe(90_000);
    const { bounds, counts } = own.bucketCounts("record_lateness_seconds");
    const filled = counts.flatMap((count, at) => (count === 0 ? [] : [[bounds[at], count]]));
    expect(filled).toEqual([
      [1, 2],
      [undefined, 1],
    ]);
  });
});

describe("the registry", () => {
  test("may be the user's, whose own metrics and default labels stay as they are", async () => {
    const registry = new Registry();
    registry.setDefaultLabels({ region: "north" });
    const theirs = new Counter({ name: "orders_total", help: "Orders", registers: [registry] });
    theirs.inc(2);
    const own = new StreamsMetrics({ applicationId: "app", registry });
    const text = await own.text();
    expect(text).toContain('orders_total{region="north"} 2');
    expect(text).toContain('millrace_rebalances_total{application_id="app",region="north"} 0');
  });

  test("takes one application only", () => {
    const { registry } = metrics();
    expect(() => new StreamsMetrics({ applicationId: "other", registry })).toThrow("already been registered");
  });
});

describe("metrics of other threads", () => {
  /** A thread's metrics, and the main thread's that take in its reports at each scrape. */
  function thread(main: StreamsMetrics) {
    const own = metrics();
    const source = main.addSource(async () => source.add(structuredClone(own.takeReport())));
    return { own, end: () => source.end() };
  }

  test("counters of all threads add up, and each growth counts once however often it is scraped", async () => {
    const main = metrics();
    const [first, second] = [thread(main), thread(main)];
    main.counter("rebalances_total", {}).value += 1;
    first.own.counter("rebalances_total", {}).value += 2;
    second.own.counter("rebalances_total", {}).value += 4;
    const sum = ['millrace_rebalances_total{application_id="app"} 7'];
    expect(await linesOf(main, "rebalances_total")).toEqual(sum);
    expect(await linesOf(main, "rebalances_total")).toEqual(sum);
    second.own.counter("rebalances_total", {}).value += 1;
    expect(await linesOf(main, "rebalances_total")).toEqual(['millrace_rebalances_total{application_id="app"} 8']);
  });

  test("a series that begins at 0 in a thread is there at 0", async () => {
    const main = metrics();
    thread(main).own.startAtZero("records_dropped_total", { node: "count", reason: "late" });
    expect(await linesOf(main, "records_dropped_total")).toEqual([
      'millrace_records_dropped_total{node="count",reason="late",application_id="app"} 0',
    ]);
  });

  test("histograms of all threads add up, bucket by bucket", async () => {
    const main = metrics();
    const threads = [thread(main), thread(main)];
    for (const { own } of threads) own.histogram("commit_duration_seconds", {}).observe(0.25);
    threads[1]?.own.histogram("commit_duration_seconds", {}).observe(100);
    const text = await main.text();
    const lines = text.split("\n").filter((line) => line.startsWith("millrace_commit_duration_seconds"));
    expect(lines).toContain('millrace_commit_duration_seconds_bucket{application_id="app",le="0.1"} 0');
    expect(lines).toContain('millrace_commit_duration_seconds_bucket{application_id="app",le="0.25"} 2');
    expect(lines).toContain('millrace_commit_duration_seconds_bucket{application_id="app",le="60"} 2');
    expect(lines).toContain('millrace_commit_duration_seconds_bucket{application_id="app",le="+Inf"} 3');
    expect(lines).toContain('millrace_commit_duration_seconds_sum{application_id="app"} 100.5');
    expect(await main.text()).toBe(text);
  });

  test("gauges add up, but what two threads say of one partition is the larger one", async () => {
    const main = metrics();
    for (const value of [3, 5]) {
      const { own } = thread(main);
      own.sample("tasks", (sample) => sample({ state: "active" }, value));
      own.sample("consumer_lag_records", (sample) => sample({ topic: "in", partition: "0" }, value));
    }
    expect(await linesOf(main, "tasks")).toContain('millrace_tasks{state="active",application_id="app"} 8');
    expect(await linesOf(main, "consumer_lag_records")).toEqual([
      'millrace_consumer_lag_records{topic="in",partition="0",application_id="app"} 5',
    ]);
  });

  test("of a thread that is gone its counts stay and its gauges go", async () => {
    const main = metrics();
    const gone = thread(main);
    gone.own.counter("rebalances_total", {}).value += 2;
    gone.own.sample("store_rows", (sample) => sample({ store: "counts" }, 5));
    expect(await linesOf(main, "store_rows")).toHaveLength(1);
    gone.end();
    expect(await linesOf(main, "store_rows")).toEqual([]);
    expect(await linesOf(main, "rebalances_total")).toEqual(['millrace_rebalances_total{application_id="app"} 2']);
  });
});
