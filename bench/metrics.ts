import { Counter, Histogram, Registry } from "prom-client";
import { StreamsMetrics } from "../metrics/metrics.js";

// What one count costs: an addition to a cell and a search in our buckets, beside prom-client's own calls.

const ROUNDS = 5;
const CALLS = 2_000_000;

const registry = new Registry();
const registers = [registry];
const metrics = new StreamsMetrics({ applicationId: "bench" });
const cell = metrics.counter("node_records_total", { node: "map" });
const histogram = metrics.histogram("record_lateness_seconds", { node: "count" });
const inc = new Counter({ name: "inc_total", help: "x", labelNames: ["node"], registers });
const observe = new Histogram({ name: "observe_seconds", help: "x", labelNames: ["node"], registers });

const CASES: Readonly<Record<string, (at: number) => void>> = {
  "cell.value++": () => {
    cell.value++;
  },
  "histogram.observe": (at) => histogram.observe(at % 4_000),
  "prom-client inc": () => inc.inc({ node: "map" }),
  "prom-client observe": (at) => observe.observe({ node: "count" }, at % 4_000),
};

for (const [name, work] of Object.entries(CASES)) {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage();
    for (let at = 0; at < CALLS; at++) work(at);
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, ((user + system) * 1_000) / CALLS);
  }
  process.stdout.write(`${name.padEnd(22)} ${best.toFixed(1).padStart(6)} ns\n`);
}
