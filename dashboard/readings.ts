import type { ReportedValue } from "../metrics/published.js";

export function total(all: readonly ReportedValue[]): number {
  return all.reduce((sum, [, value]) => sum + value, 0);
}

/** Added up by one label. */
export function by(all: readonly ReportedValue[], label: string): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const [labels, value] of all) sums.set(labels[label] ?? "", (sums.get(labels[label] ?? "") ?? 0) + value);
  return sums;
}
