import { collectDefaultMetrics, type Registry } from "prom-client";

/** What `addProcessMetrics` adds that the Grafana dashboard shows; prom-client has more. */
export const PROCESS_METRICS = [
  "process_cpu_seconds_total",
  "process_resident_memory_bytes",
  "nodejs_heap_size_used_bytes",
  "nodejs_eventloop_lag_p99_seconds",
  "nodejs_gc_duration_seconds",
] as const;

/** Gauges that are named as counters: Prometheus' own check of names refuses them. */
const MISNAMED = ["nodejs_active_resources_total", "nodejs_active_handles_total", "nodejs_active_requests_total"];

/**
 * Adds prom-client's metrics of the process: CPU, memory, event loop and garbage collection, the last two of the main
 * thread. Nothing where the registry has them: who brings one may have added them.
 */
export function addProcessMetrics(registry: Registry, applicationId: string): void {
  if (PROCESS_METRICS.some((name) => registry.getSingleMetric(name) !== undefined)) return;
  collectDefaultMetrics({ register: registry, labels: { application_id: applicationId } });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
}
