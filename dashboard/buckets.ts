import type { BucketCounts } from "../metrics/published.js";

/** A histogram's counts below each bound, rising; the last bound is infinite. */
export type Buckets = readonly { readonly bound: number; readonly below: number }[];

export function bucketsOf({ bounds, counts }: BucketCounts): Buckets {
  let below = 0;
  return counts.map((count, at) => {
    below += count;
    return { bound: bounds[at] ?? Number.POSITIVE_INFINITY, below };
  });
}

/**
 * The quantile of what was observed between two readings, as Prometheus' `histogram_quantile` computes it: evenly spread
 * within its bucket, and the last finite bound for what is above it. Null where nothing was observed.
 */
export function quantileBetween(before: Buckets, now: Buckets, quantile: number): number | null {
  const fresh = now.map(({ bound, below }, at) => ({ bound, below: below - (before[at]?.below ?? 0) }));
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
