import { describe, expect, test } from "vitest";
import { StreamsMetrics } from "../metrics/metrics.js";
import type { StreamsStatus } from "../runtime/streams.js";
import type { EdgeMeter } from "./graph.js";
import { SERIES, type SeriesName } from "./messages.js";
import { type Sample, Sampler } from "./sampler.js";

const RUNNING: StreamsStatus = { state: "RUNNING", reason: "running", tasks: [{ id: "0_0", state: "running" }] };

function open(meters: readonly EdgeMeter[] = [], status: StreamsStatus = RUNNING) {
  const metrics = new StreamsMetrics({ applicationId: "orders" });
  const stores = [{ name: "sums", changelog: "orders-sums-changelog" }];
  return { metrics, sampler: new Sampler({ streams: { status, metrics }, meters, stores }) };
}

const value = ({ point }: Sample, series: SeriesName) => point.values[SERIES.indexOf(series)];

describe("rates", () => {
  test("are what was counted between two looks, per second", async () => {
    const { metrics, sampler } = open([{ by: "consumed", topics: ["orders"] }]);
    const orders = metrics.counter("records_consumed_total", { topic: "orders" });
    orders.value = 1_000;
    const first = await sampler.sample(10_000);
    orders.value = 1_500;
    const second = await sampler.sample(12_000);

    expect(value(first, "consumedPerSecond")).toBeNull();
    expect(value(second, "consumedPerSecond")).toBe(250);
    expect(second.edgeRates).toEqual([250]);
    expect(second.totals).toMatchObject({ records: 1_500, recordsPerSecond: 250 });
  });

  test("reach back three seconds, so that a burst of one commit is not one of the page", async () => {
    const { metrics, sampler } = open();
    const orders = metrics.counter("records_consumed_total", { topic: "orders" });
    for (const [atMs, count] of [
      [0, 0],
      [1_000, 900],
      [2_000, 900],
      [3_000, 900],
      [4_000, 900],
    ] as const) {
      orders.value = count;
      const sample = await sampler.sample(atMs);
      if (atMs === 3_000) expect(value(sample, "consumedPerSecond")).toBe(300);
      if (atMs === 4_000) expect(value(sample, "consumedPerSecond")).toBe(0);
    }
  });

  test("of dead letters and changelogs stand on their arrows", async () => {
    const { metrics, sampler } = open([
      { by: "dead-letter", topic: "bad" },
      { by: "changelog", store: "sums" },
    ]);
    await sampler.sample(0);
    metrics.counter("dead_letter_records_total", { topic: "bad" }).value = 3;
    metrics.counter("records_produced_total", { topic: "orders-sums-changelog" }).value = 50;
    expect((await sampler.sample(1_000)).edgeRates).toEqual([3, 50]);
  });

  test("are not known where nothing counts", async () => {
    const { sampler } = open([{ by: "processed", node: "no-such-node" }]);
    await sampler.sample(0);
    expect((await sampler.sample(1_000)).edgeRates).toEqual([null]);
  });
});

describe("a sample", () => {
  test("tells of tasks and stores how far a restore is", async () => {
    const tasks = [{ id: "0_1", state: "restoring", done: 10, total: 40 } as const];
    const { metrics, sampler } = open([], { state: "REBALANCING", reason: "restoring", tasks });
    metrics.counter("restored_records_total", { store: "sums" }).value = 10;
    metrics.sample("restore_remaining_records", (say) => say({ store: "sums", partition: "1" }, 30));
    const sample = await sampler.sample(0);
    expect(sample.tasks).toEqual([
      { id: "0_1", state: "restoring", done: 10, total: 40, lag: null, streamTimeMs: null },
    ]);
    expect(sample.stores[0]).toMatchObject({ name: "sums", restored: 10, restoreRemaining: 30 });
  });

  test("lists a bounded number of tasks, and says how many more there are", async () => {
    const tasks = Array.from({ length: 1_000 }, (_, at) => ({ id: `0_${at}`, state: "running" as const }));
    const { sampler } = open([], { ...RUNNING, tasks });
    const sample = await sampler.sample(0);
    expect(sample.tasks).toHaveLength(400);
    expect(sample.tasksLeftOut).toBe(600);
  });

  test("tells how many rows a store has, and when they were counted", async () => {
    const { metrics, sampler } = open();
    expect((await sampler.sample(10_000)).stores[0]).toMatchObject({ rows: null, rowsAtMs: null });
    metrics.sample("store_rows", (say) => say({ store: "sums" }, 7));
    metrics.sample("store_rows_age_seconds", (say) => say({ store: "sums" }, 1.5));
    expect((await sampler.sample(11_000)).stores[0]).toMatchObject({ rows: 7, rowsAtMs: 9_500 });
  });
});
