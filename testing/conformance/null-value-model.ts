import type { Output, Vector } from "./vector.js";

/** A count by key and tumbling window with grace, by the book: what `tumbling-count-null-values` is compared with. */
export function countInTumblingWindows(
  vector: Vector,
  options: { readonly nullValues: "count" | "skip" },
): readonly (readonly Output[])[] {
  const sizeMs = Number(vector.params.sizeMs);
  const graceMs = Number(vector.params.graceMs);
  const rows = new Map<string, { readonly count: number; readonly timestamp: number }>();
  let streamTimeMs = -1;
  return vector.steps.map((step) => {
    if (!("topic" in step) || step.key === null) return [];
    if (step.value === null && options.nullValues === "skip") return [];
    streamTimeMs = Math.max(streamTimeMs, step.timestamp);
    const start = Math.floor(step.timestamp / sizeMs) * sizeMs;
    const end = start + sizeMs;
    if (end <= streamTimeMs - graceMs) return [];
    const row = JSON.stringify([step.key, start]);
    const old = rows.get(row) ?? { count: 0, timestamp: -1 };
    const now = { count: old.count + 1, timestamp: Math.max(old.timestamp, step.timestamp) };
    rows.set(row, now);
    return [{ topic: "out", key: { key: step.key, start, end }, value: now.count, timestamp: now.timestamp }];
  });
}
