import { invalidRecord } from "./invalid-purchases.js";
import { GRACE_MS, isExpired, isLate, isoTime, WINDOW_MS, windowStartMs } from "./model.js";
import { Random } from "./random.js";

export interface SimulatorOptions {
  readonly seed: number;
  readonly users: number;
  /** Share of purchases that happened `lateByMs` before they are ingested, 0 to 1. */
  readonly late: number;
  /** How late: exclusive at both ends. */
  readonly lateByMs: { readonly from: number; readonly to: number };
  /** Share of purchases whose window is closed, 0 to 1. */
  readonly expired: number;
  /** Share of records that are no purchase, 0 to 1. */
  readonly invalid: number;
  readonly partitions: number;
  /** The partition of a key's bytes: the watermark is one per partition, so what is expired depends on it. */
  readonly partitionOf: (key: Uint8Array, partitions: number) => number;
}

/** What the pipeline must make of a purchase, known before it runs. */
export interface ExpectedPurchase {
  readonly kind: "purchase";
  readonly transactionId: string;
  readonly userId: string;
  readonly amountCents: number;
  readonly eventTimeMs: number;
  readonly windowStartMs: number;
  readonly isLate: boolean;
  /** Behind the watermark: not aggregated. Late ones among them stand in the late topic all the same. */
  readonly isExpired: boolean;
}

/** No purchase: goes to the dead letters. `why` is for people. */
export interface ExpectedDeadLetter {
  readonly kind: "invalid";
  readonly why: string;
}

export interface SimulatedRecord {
  readonly partition: number;
  readonly ingestionTimeMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly expected: ExpectedPurchase | ExpectedDeadLetter;
}

export const GOODS = [
  { name: "espresso beans", cents: 1899 },
  { name: "desk lamp", cents: 4250 },
  { name: "rain jacket", cents: 8900 },
  { name: "bicycle bell", cents: 1150 },
  { name: "headphones", cents: 12999 },
  { name: "paperback", cents: 1299 },
  { name: "tea kettle", cents: 3475 },
  { name: "running shoes", cents: 11995 },
  { name: "notebook", cents: 450 },
  { name: "house plant", cents: 1620 },
] as const;

/** An event reaches Kafka within this time, unless it is late. */
const TRANSIT_MS = 2_000;
/** How far behind the watermark an expired purchase lies at least: no rounding can bring it back. */
const EXPIRED_MARGIN_MS = 60_000;
const EXPIRED_SPREAD_MS = 30 * 60_000;

/**
 * Makes purchases, one after the other, and says of each what the pipeline must make of it. Pure: the same options and
 * the same ingestion times give the same records.
 *
 * It keeps the clock of every partition (the largest event time of a valid purchase in it), as the pipeline's windows
 * do, and classifies by that clock. This holds for a pipeline whose partitions begin with these records.
 */
export class Simulator {
  readonly #options: SimulatorOptions;
  readonly #random: Random;
  readonly #streamTimeMs: number[];
  #made = 0;
  #lastIngestionMs = 0;

  constructor(options: SimulatorOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#streamTimeMs = new Array<number>(options.partitions).fill(-1);
  }

  get made(): number {
    return this.#made;
  }

  /** @param ingestionTimeMs milliseconds since the epoch; one that goes back counts as the one before */
  next(ingestionTimeMs: number): SimulatedRecord {
    this.#lastIngestionMs = Math.max(this.#lastIngestionMs, Math.floor(ingestionTimeMs));
    const ingestionMs = this.#lastIngestionMs;
    const number = this.#made++;
    const { invalid, users } = this.#options;
    const userId = `user-${String(this.#random.between(0, users)).padStart(6, "0")}`;
    const transactionId = `tx-${this.#options.seed}-${String(number).padStart(9, "0")}`;
    if (this.#random.happens(invalid)) return this.#invalid(transactionId, userId, ingestionMs);
    return this.#purchase(transactionId, userId, ingestionMs);
  }

  #purchase(transactionId: string, userId: string, ingestionMs: number): SimulatedRecord {
    const key = Buffer.from(userId, "utf8");
    const partition = this.#options.partitionOf(key, this.#options.partitions);
    const eventMs = this.#eventTimeMs(partition, ingestionMs);
    const streamTimeMs = Math.max(this.#streamTimeMs[partition] as number, eventMs);
    this.#streamTimeMs[partition] = streamTimeMs;
    const goods = this.#random.pick(GOODS);
    const quantity = this.#random.between(1, 6);
    const amountCents = quantity * goods.cents;
    const value = JSON.stringify({
      transaction_id: transactionId,
      user_id: userId,
      goods: goods.name,
      quantity,
      price: goods.cents / 100,
      amount: amountCents / 100,
      timestamp: isoTime(eventMs),
    });
    return {
      partition,
      ingestionTimeMs: ingestionMs,
      key,
      value: Buffer.from(value, "utf8"),
      expected: {
        kind: "purchase",
        transactionId,
        userId,
        amountCents,
        eventTimeMs: eventMs,
        windowStartMs: windowStartMs(eventMs),
        isLate: isLate(eventMs, ingestionMs),
        isExpired: isExpired(eventMs, streamTimeMs),
      },
    };
  }

  #eventTimeMs(partition: number, ingestionMs: number): number {
    const { late, lateByMs, expired } = this.#options;
    const random = this.#random;
    const [isToExpire, isToBeLate, where] = [random.happens(expired), random.happens(late), random.fraction()];
    const streamTimeMs = this.#streamTimeMs[partition] as number;
    if (isToExpire && streamTimeMs >= 0) {
      return streamTimeMs - GRACE_MS - WINDOW_MS - EXPIRED_MARGIN_MS - Math.floor(where * EXPIRED_SPREAD_MS);
    }
    if (isToBeLate) return ingestionMs - lateByMs.from - 1 - Math.floor(where * (lateByMs.to - lateByMs.from - 1));
    return ingestionMs - Math.floor(where * TRANSIT_MS);
  }

  #invalid(transactionId: string, userId: string, ingestionMs: number): SimulatedRecord {
    const { why, key, value } = invalidRecord(this.#random, { transactionId, userId, ingestionMs });
    const { partitions, partitionOf } = this.#options;
    const partition = key === null ? this.#random.between(0, partitions) : partitionOf(key, partitions);
    return { partition, ingestionTimeMs: ingestionMs, key, value, expected: { kind: "invalid", why } };
  }
}
