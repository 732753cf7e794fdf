import type { Reading } from "./readings.js";

/** A histogram's counts below each bound, rising; the last bound is infinite. */
export type Buckets = readonly { readonly bound: number; readonly below: number }[];

export function bucketsOf(all: readonly Reading[]): Buckets {
  const below = new Map<number, number>();
  for (const { labels, value } of all) {
    const bound = labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels.le);
    below.set(bound, (below.get(bound) ?? 0) + value);
  }
  return [...below].map(([bound, count]) => ({ bound, below: count })).sort((a, b) => a.bound - b.bound);
}

/**
 * The quantile of what was observed between two readings, as Prometheus' `histogram_quantile` computes it: evenly spread
 * within its bucket, and the last finite bound for what is above it. Null where nothing was observed.
 */
export function quantileBetween(before: Buckets, now: Buckets, quantile: number): number | null {
  const earlier = new Map(before.map(({ bound, below }) => [bound, below]));
  const fresh = now.map(({ bound, below }) => ({ bound, below: below - (earlier.get(bound) ?? 0) }));
  const count = fresh.at(-1)?.below ?? 0;
  if (count <= 0) return null;
  const rank = quantile * count;
  let from = { bound: 0, below: 0 };
  for (const bucket of fresh) {
    if (bucket.below >= rank) {
      if (!Number.isFinite(bucket.bound)) return from.bound;
      const inBucket = bucket.below - from.below;
      const share = inBucket === 0 ? 1 : (rank - from.below) / inBucket;
      return from.bound + (bucket.bound - from.bound) * share;
    }
    from = bucket;
  }
  return from.bound;
}
