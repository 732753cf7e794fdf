import { dashboardJson } from "./dashboard.js";
import { metricsPage } from "./metrics-page.js";

/** By path: the files that are written from code, and committed. */
export const GENERATED: Readonly<Record<string, () => string>> = {
  "docs/metrics.md": metricsPage,
  "monitoring/grafana/dashboards/millrace.json": dashboardJson,
};
