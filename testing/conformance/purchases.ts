import { unvalidatedJson } from "../../serdes/json.js";
import { string } from "../../serdes/serde.js";
import { windowed } from "../../serdes/windowed.js";
import { count, countIf, sum } from "../../topology/aggregators.js";
import type { StreamsBuilder } from "../../topology/dsl.js";
import { untilWindowCloses } from "../../topology/dsl-options.js";
import { tumbling } from "../../topology/windows.js";
import { type BuildOptions, type Definitions, plainKey } from "./definition.js";

const MINUTE_MS = 60_000;
const SIZE_MS = 5 * MINUTE_MS;
const GRACE_MS = 60 * MINUTE_MS;

interface Purchase {
  readonly user_id: string;
  readonly amount_cents: number;
  /** Event time and ingestion time, ms. */
  readonly timestamp: number;
  readonly ingestion: number;
}

type Fields = Readonly<Partial<Record<keyof Purchase, unknown>>>;

const json = unvalidatedJson<NonNullable<unknown>>();
const purchase = unvalidatedJson<Purchase>();
// As for the other topologies with results on close.
const LONG_RETENTION_MS = 10 * (SIZE_MS + GRACE_MS);

const out = {
  outputs: { "late-events": plainKey, "user-stats": () => windowed(string, { sizeMs: SIZE_MS }) },
  windows: () => ({ sizeMs: SIZE_MS, retentionMs: SIZE_MS + GRACE_MS }),
};

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isWhole = (value: unknown): value is number => Number.isInteger(value);

function isPurchase(value: unknown): value is Purchase {
  return (
    isObject(value) &&
    typeof value.user_id === "string" &&
    value.user_id !== "" &&
    isWhole(value.amount_cents) &&
    value.amount_cents >= 0 &&
    isWhole(value.timestamp) &&
    value.timestamp >= 0 &&
    isWhole(value.ingestion)
  );
}

const isLate = (p: Purchase): boolean => p.timestamp < p.ingestion - 30 * MINUTE_MS;

function statsPerUser(builder: StreamsBuilder, { cache }: BuildOptions, emit: "on-update" | "on-window-close") {
  const byUser = builder
    .stream("purchases", {
      key: string,
      value: json,
      timestamp: (value, record) =>
        isObject(value) && isWhole(value.timestamp) ? value.timestamp : record.recordTimestampMs,
      maxAheadMs: Number.MAX_SAFE_INTEGER,
    })
    .filter(isPurchase)
    .map((value) => ({ key: value.user_id, value }), { key: string, value: purchase });
  byUser.filter(isLate).to("late-events");
  return byUser
    .groupByKey()
    .windowedBy(tumbling({ sizeMs: SIZE_MS, graceMs: GRACE_MS }))
    .emit(emit)
    .aggregate(
      "user-stats-store",
      { transaction_count: count(), late_transaction: countIf(isLate), total_amount_cents: sum((p) => p.amount_cents) },
      { cache, ...(emit === "on-window-close" ? { retentionMs: LONG_RETENTION_MS } : {}) },
    );
}

const stats = unvalidatedJson<NonNullable<unknown>>();

/** The purchase pipeline. */
export const purchases: Definitions = {
  purchases: {
    ...out,
    build: (builder, _, options) => {
      statsPerUser(builder, options, "on-update").toStream().to("user-stats", { value: stats });
    },
  },
  "purchases-final": {
    ...out,
    build: (builder, _, options) => {
      statsPerUser(builder, options, "on-update")
        .suppress(untilWindowCloses)
        .toStream()
        .to("user-stats", { value: stats });
    },
  },
  "purchases-on-close": {
    ...out,
    windows: () => ({ sizeMs: SIZE_MS, retentionMs: LONG_RETENTION_MS }),
    build: (builder, _, options) => {
      statsPerUser(builder, options, "on-window-close").toStream().to("user-stats", { value: stats });
    },
  },
};
