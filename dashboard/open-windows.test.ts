import { performance } from "node:perf_hooks";

import { beforeEach, expect, test, vi } from "vitest";
import { StreamsMetrics } from "../metrics/metrics.js";
import type { StreamsStatus } from "../runtime/streams.js";
import type { ReadOnlyWindowStore, WindowTimes } from "../topology/read-only-store.js";
import { openWindows } from "./open-windows.js";

const MINUTE_MS = 60_000;
const SIZE_MS = 5 * MINUTE_MS;
const GRACE_MS = 60 * MINUTE_MS;
const ROW_MS = 0.004;
const RUNNING: StreamsStatus = { state: "RUNNING", reason: "running", tasks: [] };

let nowMs: number;
let utilization: number;
beforeEach(() => {
  nowMs = 1_000_000;
  utilization = 0.1;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  vi.spyOn(Date, "now").mockImplementation(() => nowMs);
  vi.spyOn(performance, "eventLoopUtilization").mockImplementation(() => ({ idle: 0, active: 0, utilization }));
});

interface Sum {
  readonly cents: number;
}

/** A store in which each row takes 4 µs to read; windows by their start in minutes, with the cents of each key. */
class Store implements Pick<ReadOnlyWindowStore<unknown, Sum>, "sizeMs" | "fetchAll"> {
  readonly sizeMs = SIZE_MS;
  readonly windows = new Map<number, number[]>();
  rowsRead = 0;
  failure: Error | undefined;

  *fetchAll({ fromMs = 0, toMs = 0 }: WindowTimes = {}) {
    if (this.failure !== undefined) throw this.failure;
    for (const [startMinute, rows] of this.windows) {
      const startMs = startMinute * MINUTE_MS;
      if (startMs < fromMs || startMs >= toMs) continue;
      for (const [key, cents] of rows.entries()) {
        this.rowsRead++;
        nowMs += ROW_MS;
        yield { key, window: { startMs, endMs: startMs + SIZE_MS }, value: { cents }, timestampMs: 0 };
      }
    }
  }
}

/** `streamMinutes`: of the tasks. */
function open(...streamMinutes: number[]) {
  const metrics = new StreamsMetrics({ applicationId: "orders" });
  const store = new Store();
  metrics.sample("stream_time_timestamp_seconds", (sample) => {
    for (const [partition, minutes] of streamMinutes.entries())
      sample({ subtopology: "0", partition: String(partition) }, minutes * 60);
  });
  const panel = openWindows<Sum>({
    ...{ name: "windows", title: "Open windows", note: "", keys: "Users", graceMs: GRACE_MS },
    streams: { metrics, status: RUNNING },
    store: () => store as unknown as ReadOnlyWindowStore<unknown, Sum>,
    columns: [{ title: "Cents", kind: "money" }],
    valuesOf: ({ cents }) => [cents],
  });
  return { store, panel, streamMinutes };
}

const row = (startMinute: number, keys: number, cents: number, slowestMinute: number) => {
  const closesAt = startMinute + 65;
  return [
    ...[startMinute * MINUTE_MS, (startMinute + 5) * MINUTE_MS, keys, cents],
    ...[closesAt * MINUTE_MS, (closesAt - slowestMinute) * MINUTE_MS],
  ];
};

test("windows that the slowest task has not closed are added up, the newest first", async () => {
  const { store, panel } = open(200, 207);
  store.windows.set(135, [1]).set(140, [2, 3]).set(200, [4]).set(205, [5, 6, 7]);
  // At minute 200 the window from 135 to 140 has just been closed: 60 minutes after its end.
  expect(await panel.read()).toEqual({
    rows: [row(205, 3, 18, 200), row(200, 1, 4, 200), row(140, 2, 5, 200)],
    summary: "3 open",
    atMs: expect.any(Number),
  });
});

test("without stream time, and without rows, there are none", async () => {
  expect(await open().panel.read()).toEqual({ rows: [], summary: "" });
  expect(await open(200).panel.read()).toMatchObject({ rows: [], summary: "0 open", atMs: 1_000_000 });
});

test("a task that is months behind costs no more than some questions", async () => {
  const { store, panel } = open(0, 200_000);
  store.windows.set(0, [1]).set(200_000, [2]);
  const asked = vi.spyOn(store, "fetchAll");
  const { rows } = await panel.read();
  expect(rows.map(([startMs]) => startMs)).toEqual([200_000 * MINUTE_MS, 0]);
  expect(asked.mock.calls.length).toBeLessThan(20);
});

test("the newest hundred are read, and no more", async () => {
  const { store, panel } = open(0, 10_000);
  for (let start = 0; start <= 10_000; start += 5) store.windows.set(start, [1]);
  const { rows, summary } = await panel.read();
  expect(rows).toHaveLength(100);
  expect(rows[99]?.[0]).toBe((10_000 - 99 * 5) * MINUTE_MS);
  expect(summary).toBe("the newest 100 that are open");
  expect(store.rowsRead).toBe(100);
});

test.each([
  ["an idle", 0.1, 0.02],
  ["a busy", 0.9, 0.004],
])("%s thread gives 20 ms to a page that opens, and then its share", async (_, used, share) => {
  utilization = used;
  const { store, panel } = open(200);
  store.windows.set(200, Array(1_000_000).fill(1));
  await panel.read();
  expect(store.rowsRead).toBeLessThanOrEqual(20 / ROW_MS + 250);
  const before = store.rowsRead;
  const sinceMs = nowMs;
  for (let second = 0; second < 100; second++) {
    nowMs += 1_000;
    await panel.read();
  }
  // What goes beyond a second's part is taken from the next ones.
  const rows = ((nowMs - sinceMs) * share) / ROW_MS;
  expect(store.rowsRead - before).toBeLessThanOrEqual(rows + 250);
  expect(store.rowsRead - before).toBeGreaterThan(rows * 0.9);
});

test("what is not read yet is not shown as none, then the newest stand there while others are read", async () => {
  const { store, panel } = open(200);
  store.windows.set(195, Array(9_000).fill(1)).set(200, Array(6_000).fill(1));
  expect(await panel.read()).toMatchObject({ rows: [], summary: "", atMs: null });
  nowMs += 10_000;
  expect(await panel.read()).toEqual({
    rows: [row(200, 6_000, 6_000, 200)],
    summary: "the newest 1, the others are being read",
    atMs: 1_000_000,
  });
  nowMs += 10_000;
  const { rows, summary } = await panel.read();
  expect([rows.length, summary]).toEqual([2, "2 open"]);
});

test("between two openings the last numbers stay, with their age, and reading goes on where it was", async () => {
  const { store, panel, streamMinutes } = open(200);
  store.windows.set(200, Array(4_000).fill(1));
  const first = await panel.read();
  expect(first).toMatchObject({ summary: "1 open", atMs: 1_000_000 });

  streamMinutes[0] = 205;
  store.windows.set(205, [7]).set(200, Array(8_000).fill(1));
  nowMs += 50_000;
  expect(await panel.read()).toMatchObject({
    rows: [row(205, 1, 7, 205), row(200, 4_000, 4_000, 205)],
    atMs: 1_000_000,
  });
  nowMs += 50_000;
  const { rows, atMs } = await panel.read();
  expect(rows).toEqual([row(205, 1, 7, 205), row(200, 8_000, 8_000, 205)]);
  expect(atMs).toBeGreaterThan(1_050_000);
  expect(atMs).toBeLessThan(1_051_000);
  expect(store.rowsRead).toBe(4_000 + 1 + 8_000);
});

test("after an hour without a page, it begins with what is open then", async () => {
  const { store, panel, streamMinutes } = open(200);
  store.windows.set(200, Array(10_000).fill(1));
  await panel.read();
  streamMinutes[0] = 280;
  store.windows.set(280, [1]);
  nowMs += 3_600_000;
  expect((await panel.read()).rows).toEqual([row(280, 1, 1, 280)]);
});

test("a store that cannot be read is said, and read from the newest on when it can", async () => {
  const { store, panel } = open(200);
  store.windows.set(200, [1]);
  store.failure = new Error("it is being restored");
  await expect(panel.read()).rejects.toThrow("it is being restored");
  store.failure = undefined;
  nowMs += 1_000;
  expect((await panel.read()).rows).toHaveLength(1);
});
