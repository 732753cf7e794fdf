/** A label whose values are not known beforehand: topics, stores, nodes. Never user ids, keys or offsets, which have no end. */
export const ANY: readonly string[] = [];

export const STATES = ["created", "rebalancing", "running", "pending_shutdown", "not_running", "error"] as const;
export const TASK_STATES = ["active", "restoring", "standby"] as const;
export const DROP_REASONS = ["null-key", "null-value", "late", "bad-timestamp", "handler"] as const;
export const ERROR_STAGES = ["deserialization", "processing", "production"] as const;
export const ERROR_ACTIONS = ["fail", "continue", "dead-letter"] as const;
export const COMMIT_RESULTS = ["ok", "failed"] as const;
// biome-ignore format: one line for one set
export const THREAD_STATES = ["starting", "waiting", "joining", "restoring", "running", "recovering", "closing", "closed"] as const;
/** What a thread's time goes to; together they are all of it. `commit` is its work alone, not the waiting for brokers. */
export const THREAD_ACTIVITIES = ["process", "commit", "rebalance", "blocked", "idle"] as const;
export const FAILURE_PHASES = ["rebalance", "restore", "fetch", "process", "commit"] as const;
export const LATE_OUTCOMES = ["accepted", "dropped"] as const;

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

// Lateness is mostly 0 or within minutes; grace periods are hours.
const LATENESS_BUCKETS = [0, 1, 10, 60, 300, 900, 1_800, 3_600, 7_200, 21_600, 86_400] as const;
// From a commit interval up to a replay of old data.
const LATENCY_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 3_600, 86_400] as const;

/**
 * Every metric there is; on the wire each has the prefix `millrace_` and the label `application_id`. Base units
 * (seconds, bytes), counters end in `_total`, instants in `_timestamp_seconds`. Of several stream threads counters and
 * histograms add up; so do gauges, but for those of one partition, which for a moment two threads may tell of when its
 * task moves: `merge: "max"`.
 */
export const METRICS = {
  state: { type: "gauge", labels: { state: STATES }, help: "1 for the state the application is in, 0 for the others" },
  info: {
    type: "gauge",
    labels: { version: ANY, node_version: ANY, guarantee: ANY, topology_hash: ANY },
    help: "1; its labels say what runs",
  },
  start_timestamp_seconds: { type: "gauge", labels: {}, help: "When this instance was started" },
  thread_state: {
    type: "gauge",
    labels: { thread: ANY, state: THREAD_STATES },
    help: "1 for the state a stream thread is in, 0 for the others",
  },
  thread_activity_seconds_total: {
    type: "counter",
    labels: { thread: ANY, activity: THREAD_ACTIVITIES },
    help: "What the time of a stream thread went to; process and commit are work, blocked waits for a commit",
  },
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
    help: "Bytes fetched and not yet processed; at the limit fetching pauses",
  },
  buffered_limit_bytes: { type: "gauge", labels: {}, help: "Limit of buffered_bytes, bufferedBytesMax" },
  stream_time_timestamp_seconds: {
    type: "gauge",
    merge: "max",
    labels: { subtopology: ANY, partition: ANY },
    help: "Largest event time seen, in seconds since the epoch",
  },

  node_records_total: { type: "counter", labels: { node: ANY }, help: "Records and rows that a node was given" },
  record_lateness_seconds: {
    type: "histogram",
    labels: { node: ANY },
    buckets: LATENESS_BUCKETS,
    help: "Stream time minus event time of the records of a windowed operator; 0 in order",
  },
  records_late_total: {
    type: "counter",
    labels: { node: ANY, outcome: LATE_OUTCOMES },
    help: "Records whose windows had all ended; accepted within the grace period, else dropped",
  },
  end_to_end_latency_seconds: {
    type: "histogram",
    labels: { node: ANY },
    buckets: LATENCY_BUCKETS,
    help: "From a record's Kafka timestamp, for a row its event time, to its output committed; one output in 16",
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

  commit_interval_seconds: {
    type: "histogram",
    labels: {},
    buckets: WAIT_BUCKETS,
    help: "From the start of one commit to the start of the next",
  },
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
  standby_records_total: {
    type: "counter",
    labels: { store: ANY },
    help: "Changelog records read into standbys: copies of the state of tasks that other instances run",
  },
  standby_lag_records: {
    type: "gauge",
    merge: "max",
    labels: { store: ANY, partition: ANY },
    help: "Changelog offsets that a standby is behind, as of its last look",
  },
  store_rows: {
    type: "gauge",
    labels: { store: ANY },
    help: "Rows in SQLite, as they were last counted: each scrape counts a little, so that of a large store it is minutes old",
  },
  store_rows_age_seconds: {
    type: "gauge",
    merge: "max",
    labels: { store: ANY },
    help: "How long ago the counting of store_rows began, of the oldest part of it",
  },
  store_buffered_bytes: {
    type: "gauge",
    labels: {},
    help: "About how much the changes and outputs since the last commit hold in memory; at the limit it commits early",
  },
  store_buffered_limit_bytes: { type: "gauge", labels: {}, help: "Limit of store_buffered_bytes, cacheBytesMax" },
  store_cached_bytes: {
    type: "gauge",
    labels: {},
    help: "About how much the rows kept decoded above SQLite hold in memory, as of their last commit",
  },
  state_disk_bytes: {
    type: "gauge",
    labels: { subtopology: ANY },
    help: "State files on disk, their logs included",
  },

  task_failures_total: {
    type: "counter",
    labels: { phase: FAILURE_PHASES },
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
