import { METRICS, type MetricDefinition } from "../metrics/table.js";

const INTRODUCTION = `# Metrics

<!-- Written by \`npm run generate\` from metrics/table.ts; a test holds the two equal. -->

\`/metrics\` answers in Prometheus' text format. On the wire each name has the prefix \`millrace_\`, and each series the label
\`application_id\`. Units are seconds and bytes, counters end in \`_total\`, and no label has values without an end: no keys, no users, no offsets. What
each alert looks at, and what to do then: [monitoring.md](monitoring.md).

Counters of failures are there at 0 from the start: a series that first appears at 1 is no increase for Prometheus.

## What they cost

The hot path adds to plain numbers, which are copied into prom-client's metrics when somebody scrapes. prom-client's own \`inc\` took about 170 ns, which at
five metrics and 100,000 records a second is 9 % of a core. A record of the purchase pipeline meets about a dozen such additions; a windowed operator's
record also a search of 11 buckets. End-to-end latency is timed for one output in 16, and the first of each commit. \`node --import tsx bench/metrics.ts\` says what
these come to on your machine.

## In a registry of your own

\`\`\`ts
const metrics = new StreamsMetrics({ applicationId: "purchases", registry });
new KafkaStreams(topology, { applicationId: "purchases", transport, metrics });
\`\`\`

Its other metrics and its default labels stay as they are. One registry takes one application.

## Of the process

\`run\` adds what prom-client collects by itself, with the label \`application_id\`: \`process_cpu_seconds_total\`, \`process_resident_memory_bytes\`, \`nodejs_eventloop_lag_p99_seconds\`, \`nodejs_gc_duration_seconds\` and
others. CPU and resident memory are those of all threads, event loop and garbage collection of the main thread. A registry of your own that has them stays as it is.

## All of them
`;

const CLOSED = `## Labels with a fixed set of values
`;

/** docs/metrics.md. */
export function metricsPage(): string {
  const definitions = Object.entries(METRICS) as [string, MetricDefinition][];
  const rows = definitions.map(
    ([name, { type, labels, help }]) => `| \`${name}\` | ${type} | ${Object.keys(labels).join(", ")} | ${help} |`,
  );
  const closed = definitions.flatMap(([name, { labels }]) =>
    Object.entries(labels)
      .filter(([, values]) => values.length > 0)
      .map(([label, values]) => `| \`${label}\` of \`${name}\` | ${values.join(", ")} |`),
  );
  const buckets = definitions
    .filter(([, definition]) => definition.buckets !== undefined)
    .map(([name, definition]) => `| \`${name}\` | ${definition.buckets?.join(", ")} |`);
  return [
    INTRODUCTION,
    "| metric | type | labels | |\n|---|---|---|---|",
    `${rows.join("\n")}\n`,
    CLOSED,
    "| label | values |\n|---|---|",
    `${closed.join("\n")}\n`,
    "## Buckets\n",
    "| histogram | upper bounds, seconds |\n|---|---|",
    `${buckets.join("\n")}\n`,
  ].join("\n");
}
