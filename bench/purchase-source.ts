import { LATE_AFTER_MS } from "../apps/purchase/model.js";
import { Random } from "../apps/purchase/random.js";
import { partitionOf } from "../runtime/partitioner.js";
import { userName } from "./oracle.js";

const GOODS = [
  "laptop",
  "phone",
  "tablet",
  "headphones",
  "camera",
  "monitor",
  "keyboard",
  "mouse",
  "printer",
  "router",
];
/** A late purchase is less than an hour behind: the watermark refuses none of them. */
const LATE_BY_MS_MAX = 2 * LATE_AFTER_MS;
const TRANSIT_MS = 2_000;
const MINUTE_MS = 60_000;
/** Of an ISO time: `2026-11-22T12:00:`. */
const MINUTE_CHARACTERS = 17;

export interface SourceOptions {
  readonly seed: number;
  readonly users: number;
  readonly partitions: number;
  /** Share of late purchases, 0 to 1. */
  readonly late: number;
}

/** The numbers that a purchase is made from, and its bytes. One object, filled anew by each `next`. */
export interface MadePurchase {
  user: number;
  partition: number;
  key: Buffer;
  value: Buffer;
  eventMs: number;
  isLate: boolean;
  cents: number;
}

/** Purchases for measurements, cheap enough for ten million of them: the same seed and ingestion times give the same ones. */
export class PurchaseSource {
  readonly #options: SourceOptions;
  readonly #random: Random;
  readonly #keys: (Buffer | undefined)[];
  readonly #minutes = new Map<number, string>();
  readonly #made: MadePurchase = {
    ...{ user: 0, partition: 0, key: Buffer.alloc(0), value: Buffer.alloc(0) },
    ...{ eventMs: 0, isLate: false, cents: 0 },
  };
  #number = 0;

  constructor(options: SourceOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#keys = new Array<Buffer | undefined>(options.users);
  }

  /** @param ingestionMs must not go back: what is late would be expired by then */
  next(ingestionMs: number): MadePurchase {
    const { users, late, partitions, seed } = this.#options;
    const random = this.#random;
    const made = this.#made;
    made.user = random.between(0, users);
    made.key = this.#keyOf(made.user);
    made.partition = partitionOf(made.key, partitions);
    made.isLate = random.happens(late);
    made.eventMs =
      ingestionMs - (made.isLate ? random.between(LATE_AFTER_MS + 1, LATE_BY_MS_MAX) : random.between(0, TRANSIT_MS));
    const quantity = random.between(1, 6);
    const priceCents = random.between(100, 100_000);
    made.cents = quantity * priceCents;
    const number = String(this.#number++).padStart(9, "0");
    made.value = Buffer.from(
      `{"transaction_id":"tx-${seed}-${number}","user_id":"${made.key.toString("latin1")}","goods":"${random.pick(GOODS)}",` +
        `"quantity":${quantity},"price":${priceCents / 100},"amount":${made.cents / 100},` +
        `"timestamp":"${this.#isoTime(made.eventMs)}"}`,
      "latin1",
    );
    return made;
  }

  /** As `toISOString`: the minute part is the same for thousands of purchases. */
  #isoTime(timeMs: number): string {
    const inMinute = timeMs % MINUTE_MS;
    let minute = this.#minutes.get(timeMs - inMinute);
    if (minute === undefined) {
      minute = new Date(timeMs).toISOString().slice(0, MINUTE_CHARACTERS);
      this.#minutes.set(timeMs - inMinute, minute);
    }
    const digits = String(100_000 + inMinute);
    return `${minute}${digits.slice(1, 3)}.${digits.slice(3)}Z`;
  }

  #keyOf(user: number): Buffer {
    let key = this.#keys[user];
    if (key === undefined) {
      key = Buffer.from(userName(user), "latin1");
      this.#keys[user] = key;
    }
    return key;
  }
}
