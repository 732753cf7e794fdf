import type { Registry } from "prom-client";

export interface Reading {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface MetricValue {
  readonly labels: Readonly<Partial<Record<string, string | number>>>;
  readonly value: number;
  readonly metricName?: string;
}

/**
 * The series of a metric as they are now; none where there is no such metric. Asks the registry for this one only: others
 * may be dear to read, as those that count rows.
 */
export async function readings(registry: Registry, name: string, part = ""): Promise<readonly Reading[]> {
  const metric = registry.getSingleMetric(`millrace_${name}`);
  if (metric === undefined) return [];
  const { values } = (await metric.get()) as { values: readonly MetricValue[] };
  const wanted = `millrace_${name}${part}`;
  return values
    .filter(({ metricName }) => metricName === undefined || metricName === wanted)
    .map(({ labels, value }) => ({
      labels: Object.fromEntries(Object.entries(labels).map(([label, text]) => [label, String(text)])),
      value,
    }));
}

export function total(all: readonly Reading[]): number {
  return all.reduce((sum, { value }) => sum + value, 0);
}

/** Added up by one label. */
export function by(all: readonly Reading[], label: string): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const { labels, value } of all) sums.set(labels[label] ?? "", (sums.get(labels[label] ?? "") ?? 0) + value);
  return sums;
}
