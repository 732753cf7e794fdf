export {
  type Cell,
  type CounterName,
  type GaugeName,
  type HistogramCell,
  type HistogramName,
  type LabelsOf,
  type MetricsReport,
  type MetricsSource,
  type Sample,
  StreamsMetrics,
  type StreamsMetricsOptions,
} from "./metrics.js";
export {
  COMMIT_RESULTS,
  DROP_REASONS,
  ERROR_ACTIONS,
  ERROR_STAGES,
  METRICS,
  type MetricDefinition,
  type MetricName,
  STATES,
  TASK_STATES,
} from "./table.js";
