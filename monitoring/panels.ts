/** What a panel shows; the JSON around it is made by dashboard.ts. */
export interface Panel {
  readonly title: string;
  readonly help: string;
  readonly kind: "stat" | "timeseries" | "heatmap";
  /** Grafana's name of the unit. */
  readonly unit: string;
  readonly queries: readonly Query[];
}

interface Query {
  readonly expr: string;
  readonly legend: string;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** What the variables of the dashboard choose; on every metric. */
const OWN = 'application_id=~"$application", instance=~"$instance"';

const of = (metric: string, more = ""): string => `millrace_${metric}{${OWN}${more === "" ? "" : `, ${more}`}}`;
const rate = (metric: string, by: string, more = ""): string =>
  `sum by (${by}) (rate(${of(metric, more)}[$__rate_interval]))`;
const quantile = (share: number, metric: string, by = ""): string =>
  `histogram_quantile(${share}, ${rate(`${metric}_bucket`, by === "" ? "le" : `${by}, le`)})`;
/** Of the process, as prom-client names them. */
const ofProcess = (metric: string): string => `${metric}{${OWN}}`;
const one = (expr: string, legend = ""): readonly Query[] => [{ expr, legend }];
const quantiles = (metric: string): readonly Query[] =>
  [0.5, 0.95, 0.99].map((share) => ({ expr: quantile(share, metric), legend: `p${share * 100}` }));

type Body = readonly [title: string, help: string, unit: string, queries: readonly Query[]];
const make =
  (kind: Panel["kind"]) =>
  (...[title, help, unit, queries]: Body): Panel => ({ kind, title, help, unit, queries });
const stat = make("stat");
const plot = make("timeseries");
const heatmap = make("heatmap");

export const ROWS: readonly Row[] = [
  {
    title: "Now",
    panels: [
      stat("Running", "Instances in state RUNNING.", "none", one(`sum(${of("state", 'state="running"')})`)),
      stat(
        "Tasks",
        "Active tasks; those that restore are below.",
        "none",
        one(`sum(${of("tasks", 'state="active"')})`),
      ),
      stat("Lag", "Records that wait in all source topics.", "short", one(`sum(${of("consumer_lag_records")})`)),
      stat("Records/s", "Read from source topics.", "short", one(`sum(rate(${of("records_consumed_total")}[1m]))`)),
      stat("Late and dropped", "In the last five minutes.", "short", [
        { expr: `sum(increase(${of("records_late_total", 'outcome="dropped"')}[5m]))`, legend: "" },
      ]),
      stat("Failures", "Tasks closed without a commit, last hour.", "short", [
        { expr: `sum(increase(${of("task_failures_total")}[1h]))`, legend: "" },
      ]),
    ],
  },
  {
    title: "Records",
    panels: [
      plot("Read", "Records by topic.", "short", one(rate("records_consumed_total", "topic"), "{{topic}}")),
      plot("Written", "Records by topic.", "short", one(rate("records_produced_total", "topic"), "{{topic}}")),
      plot("Lag", "Log end minus the next offset to process.", "short", [
        { expr: `sum by (topic) (${of("consumer_lag_records")})`, legend: "{{topic}}" },
      ]),
      plot("Given to nodes", "Records and rows by node.", "short", one(rate("node_records_total", "node"), "{{node}}")),
      plot("End-to-end latency, p99", "From a record's own time to its output committed, by sink.", "s", [
        { expr: quantile(0.99, "end_to_end_latency_seconds", "node"), legend: "{{node}}" },
      ]),
      plot("Dropped and dead letters", "By node and reason; dead letters by topic.", "short", [
        { expr: rate("records_dropped_total", "node, reason"), legend: "{{node}} {{reason}}" },
        { expr: rate("dead_letter_records_total", "topic"), legend: "to {{topic}}" },
      ]),
    ],
  },
  {
    title: "Event time",
    panels: [
      plot(
        "Late records",
        "Behind the end of their windows: accepted within the grace period, else dropped.",
        "short",
        [{ expr: rate("records_late_total", "node, outcome"), legend: "{{node}} {{outcome}}" }],
      ),
      heatmap("Lateness", "Stream time minus event time of each record.", "s", [
        { expr: rate("record_lateness_seconds_bucket", "le"), legend: "{{le}}" },
      ]),
      plot("Stream time behind the clock", "Grows where no newer record comes or nothing is processed.", "s", [
        {
          expr: `time() - max by (subtopology, partition) (${of("stream_time_timestamp_seconds")})`,
          legend: "{{subtopology}}_{{partition}}",
        },
      ]),
    ],
  },
  {
    title: "Threads and commits",
    panels: [
      plot("Busy", "Share of each thread's time that is work.", "percentunit", [
        {
          expr: `${rate("thread_activity_seconds_total", "instance, thread", 'activity=~"process|commit"')} / ${rate("thread_activity_seconds_total", "instance, thread")}`,
          legend: "{{instance}} thread {{thread}}",
        },
      ]),
      plot("Time of the threads", "What it goes to.", "percentunit", [
        {
          expr: `${rate("thread_activity_seconds_total", "activity")} / scalar(sum(rate(${of("thread_activity_seconds_total")}[$__rate_interval])))`,
          legend: "{{activity}}",
        },
      ]),
      plot("Commits/s", "By result.", "short", one(rate("commits_total", "result"), "{{result}}")),
      plot(
        "Commit duration",
        "From taking the changes to having them in Kafka and in the store.",
        "s",
        quantiles("commit_duration_seconds"),
      ),
      plot(
        "Commit interval",
        "From the start of one to the start of the next.",
        "s",
        quantiles("commit_interval_seconds"),
      ),
      plot("Rebalances and failures", "Generations joined; tasks closed without a commit.", "short", [
        { expr: `sum(increase(${of("rebalances_total")}[$__rate_interval]))`, legend: "rebalances" },
        {
          expr: `sum by (phase) (increase(${of("task_failures_total")}[$__rate_interval]))`,
          legend: "failed in {{phase}}",
        },
        { expr: `sum(increase(${of("broker_failures_total")}[$__rate_interval]))`, legend: "brokers away" },
      ]),
    ],
  },
  {
    title: "State",
    panels: [
      plot("Tasks", "By state.", "none", one(`sum by (state) (${of("tasks")})`, "{{state}}")),
      plot("Rows", "In SQLite, by store.", "short", one(`sum by (store) (${of("store_rows")})`, "{{store}}")),
      plot("On disk", "State files and their logs.", "bytes", [
        { expr: `sum by (instance) (${of("state_disk_bytes")})`, legend: "{{instance}}" },
      ]),
      plot(
        "Memory of records and rows",
        "Against the limits at which fetching pauses and a commit comes early.",
        "bytes",
        [
          { expr: `sum(${of("buffered_bytes")})`, legend: "fetched" },
          { expr: `sum(${of("buffered_limit_bytes")})`, legend: "fetched, limit" },
          { expr: `sum(${of("store_buffered_bytes")})`, legend: "uncommitted" },
          { expr: `sum(${of("store_buffered_limit_bytes")})`, legend: "uncommitted, limit" },
          { expr: `sum(${of("store_cached_bytes")})`, legend: "cached rows" },
        ],
      ),
      plot("Restore: records to go", "By store; 0 when done.", "short", [
        { expr: `sum by (store) (${of("restore_remaining_records")})`, legend: "{{store}}" },
      ]),
      plot("Restored records/s", "By store.", "short", one(rate("restored_records_total", "store"), "{{store}}")),
    ],
  },
  {
    title: "Processes",
    panels: [
      plot("CPU", "Cores in use, all threads together.", "none", [
        {
          expr: `sum by (instance) (rate(${ofProcess("process_cpu_seconds_total")}[$__rate_interval]))`,
          legend: "{{instance}}",
        },
      ]),
      plot("Memory", "What the system holds for the process, and the heap of its main thread.", "bytes", [
        { expr: `sum by (instance) (${ofProcess("process_resident_memory_bytes")})`, legend: "{{instance}}" },
        { expr: `sum by (instance) (${ofProcess("nodejs_heap_size_used_bytes")})`, legend: "{{instance}} heap" },
      ]),
      plot("Event loop lag, p99", "How late timers of the main thread are.", "s", [
        { expr: `max by (instance) (${ofProcess("nodejs_eventloop_lag_p99_seconds")})`, legend: "{{instance}}" },
      ]),
      plot("Garbage collection", "Share of the main thread's time, by kind.", "percentunit", [
        {
          expr: `sum by (instance, kind) (rate(${ofProcess("nodejs_gc_duration_seconds_sum")}[$__rate_interval]))`,
          legend: "{{instance}} {{kind}}",
        },
      ]),
    ],
  },
];
