import { count, countIf, StreamsBuilder, sum, tumbling } from "millrace";
import { type Serializer, string, type WithBytes } from "millrace/serdes";
import { eventTimeMs } from "./event-time.js";
import { JSON_FORMAT, type PurchaseFormat, type TimedPurchase } from "./format.js";
import {
  centsOf,
  checkKey,
  EXPIRED_HEADER,
  GRACE_MS,
  isLate,
  isoTime,
  MAX_AHEAD_MS,
  NotAPurchaseError,
  type Purchase,
  type UserWindow,
  WINDOW_MS,
  windowTime,
} from "./model.js";
import type { TopicNames } from "./topics.js";

export interface PurchaseTopologyOptions extends TopicNames {
  /** Of values and state; JSON by default. */
  readonly format?: PurchaseFormat;
  /** One record per changed window and commit, or one per closed window. */
  readonly emit: "update" | "final";
}

/** The name of the state: of its store, its changelog, and of its schema in a registry. */
export const STORE = "purchases-per-user";

const asItCame: Serializer<{ readonly value: TimedPurchase }> = { serialize: ({ value }) => value.read.bytes };

/**
 * Purchases in; per user and five minutes their count, late count and total out; late events, what came behind the
 * watermark, and what is no purchase to topics of their own.
 */
export function purchaseTopology(options: PurchaseTopologyOptions): StreamsBuilder {
  const { format = JSON_FORMAT } = options;
  const builder = new StreamsBuilder();
  const purchases = builder
    .stream(options.inputTopic, {
      key: string,
      value: format.purchase,
      timestamp: eventTimeOf,
      maxAheadMs: MAX_AHEAD_MS,
      onError: { deadLetter: options.deadLetterTopic },
    })
    .mapValues(timed);

  purchases.filter((purchase) => purchase.isLate).to(options.lateTopic, { value: format.late });

  const perUser = purchases
    .groupByKey()
    .windowedBy(tumbling({ sizeMs: WINDOW_MS, graceMs: GRACE_MS }))
    .emit(options.emit === "final" ? "on-window-close" : "on-update")
    .aggregate(
      STORE,
      {
        transaction_count: count(),
        late_transaction: countIf((purchase) => purchase.isLate),
        total_cents: sum((purchase) => purchase.amountCents),
      },
      format.sums === undefined ? {} : { value: format.sums },
    );

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
    .to(options.outputTopic, { value: format.userWindow });

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
  read: WithBytes<Purchase>,
  record: { readonly key: string | null; readonly timestampMs: number; readonly recordTimestampMs: number },
): TimedPurchase {
  const purchase = read.value;
  checkKey(purchase, record.key);
  const { timestampMs, recordTimestampMs } = record;
  // The schema has refused every amount that is not whole cents.
  const amountCents = centsOf(purchase.amount) as number;
  return {
    read,
    amountCents,
    eventTimeMs: timestampMs,
    ingestionTimeMs: recordTimestampMs,
    isLate: isLate(timestampMs, recordTimestampMs),
  };
}
