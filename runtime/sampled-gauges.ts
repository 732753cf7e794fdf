import type { StreamsMetrics } from "../metrics/metrics.js";
import { THREAD_STATES } from "../metrics/table.js";
import { RowCounts } from "./row-counts.js";
import type { StreamThread } from "./stream-thread.js";
import { parseTaskId, type StreamTask } from "./task.js";

/** Gauges of what a thread holds, read when somebody scrapes; counting rows is the only one that costs more than a look. Returns what ends it. */
export function sampleGauges(metrics: StreamsMetrics, thread: StreamThread): () => void {
  const tasks = (): readonly StreamTask[] => thread.status.tasks;
  const sum = (of: (task: StreamTask) => number): number => tasks().reduce((total, task) => total + of(task), 0);
  const rowCounts = new RowCounts();
  const samples = [
    metrics.sample("tasks", (sample) => {
      sample({ state: "active" }, tasks().length);
      sample({ state: "restoring" }, thread.status.restoring.length);
      sample({ state: "standby" }, thread.status.standbys.length);
    }),
    sampleStandbys(metrics, thread),
    metrics.sample("buffered_bytes", (sample) =>
      sample(
        {},
        sum((task) => task.queuedBytes),
      ),
    ),
    metrics.sample("store_buffered_bytes", (sample) =>
      sample(
        {},
        sum((task) => task.cacheBytes),
      ),
    ),
    metrics.sample("store_cached_bytes", (sample) =>
      sample(
        {},
        sum((task) => task.state.cachedBytes),
      ),
    ),
    metrics.sample("state_disk_bytes", (sample) => {
      for (const { subTopology, state } of tasks()) {
        if (subTopology.stores.length > 0) sample({ subtopology: String(subTopology.id) }, state.diskBytes);
      }
    }),
    metrics.sample("thread_state", (sample) => {
      const { phase } = thread.status;
      for (const state of THREAD_STATES) sample({ thread: String(thread.number), state }, state === phase ? 1 : 0);
    }),
    metrics.sample("consumer_lag_records", (sample) => {
      for (const { queues } of tasks()) {
        for (const { topic, partition, highWatermark, position } of queues) {
          sample({ topic, partition: String(partition) }, Math.max(0, (highWatermark ?? position) - position));
        }
      }
    }),
    metrics.sample("stream_time_timestamp_seconds", (sample) => {
      for (const { subTopology, partition, clocks } of tasks()) {
        const streamTimeMs = Math.max(-1, ...Object.values(clocks).map((clock) => clock.streamTimeMs));
        const labels = { subtopology: String(subTopology.id), partition: String(partition) };
        if (streamTimeMs >= 0) sample(labels, streamTimeMs / 1000);
      }
    }),
    metrics.sample("restore_remaining_records", (sample) => {
      for (const { store, partition, remaining } of thread.status.restoringStores) {
        sample({ store, partition: String(partition) }, remaining);
      }
    }),
    metrics.sample("store_rows", (sample) => {
      rowCounts.countOn(tasks());
      for (const [store, { rows }] of rowCounts.stores) sample({ store }, rows);
    }),
    metrics.sample("store_rows_age_seconds", (sample) => {
      for (const [store, { ageMs }] of rowCounts.stores) sample({ store }, ageMs / 1000);
    }),
  ];
  return () => {
    for (const stop of samples) stop();
  };
}

function sampleStandbys(metrics: StreamsMetrics, thread: StreamThread): () => void {
  return metrics.sample("standby_lag_records", (sample) => {
    for (const { task, stores } of thread.status.standbys) {
      const partition = String(parseTaskId(task).partition);
      for (const { store, lag } of stores) sample({ store, partition }, lag);
    }
  });
}
