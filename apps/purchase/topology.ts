import { count, countIf, StreamsBuilder, sum, tumbling } from "millrace";
import { json, type Serializer, string, unvalidatedJson, type WithBytes, withBytes } from "millrace/serdes";
import { eventTimeMs } from "./event-time.js";
import {
  centsOf,
  checkKey,
  EXPIRED_HEADER,
  GRACE_MS,
  isLate,
  isoTime,
  MAX_AHEAD_MS,
  NotAPurchaseError,
  Purchase,
  type UserWindow,
  WINDOW_MS,
  windowTime,
} from "./model.js";
import type { TopicNames } from "./topics.js";

export interface PurchaseTopologyOptions extends TopicNames {
  /** One record per changed window and commit, or one per closed window. */
  readonly emit: "update" | "final";
}

/** A purchase that fits its record, with the bytes it came in. */
interface TimedPurchase {
  readonly purchase: Purchase;
  readonly bytes: Uint8Array;
  readonly amountCents: number;
  readonly eventTimeMs: number;
  readonly ingestionTimeMs: number;
  readonly isLate: boolean;
}

const asLate: Serializer<TimedPurchase> = { serialize: latePurchaseBytes };
const asItCame: Serializer<{ readonly value: TimedPurchase }> = { serialize: ({ value }) => value.bytes };

/**
 * Purchases in; per user and five minutes their count, late count and total out; late events, what came behind the
 * watermark, and what is no purchase to topics of their own.
 */
export function purchaseTopology(options: PurchaseTopologyOptions): StreamsBuilder {
  const builder = new StreamsBuilder();
  const purchases = builder
    .stream(options.inputTopic, {
      key: string,
      value: withBytes(json(Purchase)),
      timestamp: eventTimeOf,
      maxAheadMs: MAX_AHEAD_MS,
      onError: { deadLetter: options.deadLetterTopic },
    })
    .mapValues(timed);

  purchases.filter((purchase) => purchase.isLate).to(options.lateTopic, { value: asLate });

  const perUser = purchases
    .groupByKey()
    .windowedBy(tumbling({ sizeMs: WINDOW_MS, graceMs: GRACE_MS }))
    .emit(options.emit === "final" ? "on-window-close" : "on-update")
    .aggregate("purchases-per-user", {
      transaction_count: count(),
      late_transaction: countIf((purchase) => purchase.isLate),
      total_cents: sum((purchase) => purchase.amountCents),
    });

  perUser
    .toStream()
    .mapValues(
      (sums, { key: { key, window } }): UserWindow => ({
        window_start: windowTime(window.startMs),
        window_end: windowTime(window.endMs),
        user_id: key,
        transaction_count: sums.transaction_count,
        late_transaction: sums.late_transaction,
        total_amount: sums.total_cents / 100,
      }),
    )
    .to(options.outputTopic, { value: unvalidatedJson<UserWindow>() });

  perUser.late.to(options.expiredTopic, {
    value: asItCame,
    headers: ({ windows: [window], lateByMs, streamTimeMs }) => ({
      [EXPIRED_HEADER.windowStart]: isoTime(window.startMs),
      [EXPIRED_HEADER.windowEnd]: isoTime(window.endMs),
      [EXPIRED_HEADER.lateByMs]: String(lateByMs),
      [EXPIRED_HEADER.streamTime]: isoTime(streamTimeMs),
    }),
  });
  return builder;
}

/** A null value is no purchase either: it reaches the extractor as it is. */
function eventTimeOf(read: WithBytes<Purchase> | null): number {
  if (read === null) throw new NotAPurchaseError("the value is null");
  // The schema has refused every text that is no time.
  return eventTimeMs(read.value.timestamp) as number;
}

/** @throws NotAPurchaseError when the purchase does not fit its record */
function timed(
  { value: purchase, bytes }: WithBytes<Purchase>,
  record: { readonly key: string | null; readonly timestampMs: number; readonly recordTimestampMs: number },
): TimedPurchase {
  checkKey(purchase, record.key);
  const { timestampMs, recordTimestampMs } = record;
  // The schema has refused every amount that is not whole cents.
  const amountCents = centsOf(purchase.amount) as number;
  return {
    purchase,
    bytes,
    amountCents,
    eventTimeMs: timestampMs,
    ingestionTimeMs: recordTimestampMs,
    isLate: isLate(timestampMs, recordTimestampMs),
  };
}

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
