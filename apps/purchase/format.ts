import { json, type Serde, type Serializer, unvalidatedJson } from "millrace/serdes";
import { isoTime, Purchase, type UserWindow } from "./model.js";

/** A purchase that fits its record, with the bytes it came in. */
export interface TimedPurchase {
  readonly purchase: Purchase;
  readonly bytes: Uint8Array;
  readonly amountCents: number;
  readonly eventTimeMs: number;
  readonly ingestionTimeMs: number;
  readonly isLate: boolean;
}

/** What the store holds of one user's window. Money in cents. */
export interface Sums {
  readonly transaction_count: number;
  readonly late_transaction: number;
  readonly total_cents: number;
}

/** How the pipeline's values are written: the same topology runs in each. */
export interface PurchaseFormat {
  readonly purchase: Serde<Purchase>;
  readonly late: Serializer<TimedPurchase>;
  readonly userWindow: Serializer<UserWindow>;
  /** Undefined: the store's own JSON. */
  readonly sums: Serde<Sums> | undefined;
}

export const JSON_FORMAT: PurchaseFormat = {
  purchase: json(Purchase),
  late: { serialize: latePurchaseBytes },
  userWindow: unvalidatedJson<UserWindow>(),
  sums: undefined,
};

const ADDED_FIELDS = ["event_time", "ingestion_time", "is_late"] as const;
const CLOSING_BRACE = "}".charCodeAt(0);

/**
 * The purchase as it came, with three fields at its end. Put into the text, not parsed and printed again: a number in a
 * field that is not ours may have more digits than a double holds.
 */
function latePurchaseBytes({ purchase, bytes, eventTimeMs, ingestionTimeMs }: TimedPurchase): Uint8Array {
  const added = { event_time: isoTime(eventTimeMs), ingestion_time: isoTime(ingestionTimeMs), is_late: 1 };
  if (ADDED_FIELDS.some((name) => Object.hasOwn(purchase, name)))
    return Buffer.from(JSON.stringify({ ...purchase, ...added }), "utf8");
  const end = bytes.lastIndexOf(CLOSING_BRACE);
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(`,${JSON.stringify(added).slice(1)}`, "utf8")]);
}
