import { collectDefaultMetrics, Registry } from "prom-client";
import { expect, test } from "vitest";
import { addProcessMetrics, PROCESS_METRICS } from "./process-metrics.js";

test("process metrics are in the answer, with the application's label", async () => {
  const registry = new Registry();
  addProcessMetrics(registry, "orders");
  const text = await registry.metrics();
  for (const name of PROCESS_METRICS) expect(text).toContain(`# HELP ${name} `);
  expect(text).toMatch(/^process_resident_memory_bytes\{application_id="orders"\} [1-9]/m);
});

test("a registry that has them keeps its own", async () => {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, labels: { team: "shop" } });
  addProcessMetrics(registry, "orders");
  expect(await registry.metrics()).not.toContain("orders");
});
