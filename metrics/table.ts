/** A label whose values are not known beforehand: topics, stores, nodes. Never user ids, keys or offsets, which have no end. */
export const ANY: readonly string[] = [];

export const STATES = ["created", "rebalancing", "running", "pending_shutdown", "not_running", "error"] as const;
export const TASK_STATES = ["active", "restoring", "standby"] as const;
export const DROP_REASONS = ["null-key", "null-value", "late", "bad-timestamp", "handler"] as const;
export const ERROR_STAGES = ["deserialization", "processing", "production"] as const;
export const ERROR_ACTIONS = ["fail", "continue", "dead-letter"] as const;
export const COMMIT_RESULTS = ["ok", "failed"] as const;

export interface MetricDefinition {
  readonly type: "counter" | "gauge" | "histogram";
  readonly labels: Readonly<Record<string, readonly string[]>>;
  readonly help: string;
  /** Of gauges, how values of the same labels from several tasks or threads become one. Default `sum`. */
  readonly merge?: "max";
  /** Upper bounds, rising, in the unit of the name; histograms only. */
  readonly buckets?: readonly number[];
}

// 1 ms to 60 s: a commit takes some milliseconds, a rebalance or a restore may take a minute.
const WAIT_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

/**
 * Every metric there is; on the wire each has the prefix `millrace_` and the label `application_id`. Base units
 * (seconds, bytes), counters end in `_total`, instants in `_timestamp_seconds`. Of several stream threads counters and
 * histograms add up; so do gauges, but for those of one partition, which for a moment two threads may tell of when its
 * task moves: `merge: "max"`.
 */
export const METRICS = {
  state: { type: "gauge", labels: { state: STATES }, help: "1 for the state the application is in, 0 for the others" },
  tasks: { type: "gauge", labels: { state: TASK_STATES }, help: "Tasks this instance holds now" },
  rebalances_total: { type: "counter", labels: {}, help: "Generations of the group this instance has joined" },
  rebalance_duration_seconds: {
    type: "histogram",
    labels: {},
    buckets: WAIT_BUCKETS,
    help: "From the end of processing in one generation to its start in the next",
  },

  records_consumed_total: {
    type: "counter",
    labels: { topic: ANY },
    help: "Records read from source and repartition topics",
  },
  bytes_consumed_total: {
    type: "counter",
    labels: { topic: ANY },
    help: "Bytes of record batches read, as they came over the wire",
  },
  consumer_lag_records: {
    type: "gauge",
    merge: "max",
    labels: { topic: ANY, partition: ANY },
    help: "High watermark minus the next offset to process",
  },
  buffered_bytes: {
    type: "gauge",
    labels: {},
    help: "Bytes fetched and not yet processed; at the maximum fetching pauses",
  },
  stream_time_timestamp_seconds: {
    type: "gauge",
    merge: "max",
    labels: { subtopology: ANY, partition: ANY },
    help: "Largest event time seen, in seconds since the epoch",
  },

  records_produced_total: {
    type: "counter",
    labels: { topic: ANY },
    help: "Records written to sinks, repartition topics and changelogs",
  },
  bytes_produced_total: { type: "counter", labels: { topic: ANY }, help: "Bytes of record batches written" },
  records_dropped_total: {
    type: "counter",
    labels: { node: ANY, reason: DROP_REASONS },
    help: "Records that went no further; for windows, refusals of a window",
  },
  errors_handled_total: {
    type: "counter",
    labels: { stage: ERROR_STAGES, action: ERROR_ACTIONS },
    help: "What the error handlers decided",
  },
  dead_letter_records_total: { type: "counter", labels: { topic: ANY }, help: "Records sent to a dead-letter topic" },

  commits_total: { type: "counter", labels: { result: COMMIT_RESULTS }, help: "Commits" },
  commit_duration_seconds: {
    type: "histogram",
    labels: {},
    buckets: WAIT_BUCKETS,
    help: "From taking the changes to having them in Kafka and in the store",
  },
  restored_records_total: { type: "counter", labels: { store: ANY }, help: "Changelog records read back into a store" },
  restore_remaining_records: {
    type: "gauge",
    merge: "max",
    labels: { store: ANY, partition: ANY },
    help: "Changelog offsets still to read back; 0 when done",
  },
  restore_duration_seconds: {
    type: "histogram",
    labels: { store: ANY },
    buckets: WAIT_BUCKETS,
    help: "Reading one partition of a store back",
  },
  store_rows: { type: "gauge", labels: { store: ANY }, help: "Rows in SQLite, as of the last commit" },
  store_buffered_bytes: {
    type: "gauge",
    labels: {},
    help: "About how much the changes since the last commit hold in memory",
  },

  task_failures_total: {
    type: "counter",
    labels: {},
    help: "Times that tasks were closed without a commit because something failed",
  },
  thread_replacements_total: {
    type: "counter",
    labels: {},
    help: "Stream threads that died and were replaced",
  },
  broker_failures_total: {
    type: "counter",
    labels: {},
    help: "Times that a broker could not be reached or did not answer in time",
  },
  metric_sample_failures_total: {
    type: "counter",
    labels: { metric: ANY },
    help: "Gauges left out of a scrape because reading them failed",
  },
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof METRICS;
