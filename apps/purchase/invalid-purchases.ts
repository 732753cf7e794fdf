import { isoTime, MAX_AHEAD_MS } from "./model.js";
import type { Random } from "./random.js";

export interface InvalidRecord {
  readonly why: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

interface Good {
  readonly transaction_id: string;
  readonly user_id: string;
  readonly goods: string;
  readonly quantity: number;
  readonly price: number;
  readonly amount: number;
  readonly timestamp: string;
}

interface Kind {
  readonly why: string;
  /** What is sent instead of the good purchase's key or value. */
  readonly spoil: (good: Good, ingestionMs: number) => Partial<Pick<InvalidRecord, "key" | "value">>;
}

function json(value: unknown): { readonly value: Buffer } {
  return { value: Buffer.from(JSON.stringify(value), "utf8") };
}

/** One of each kind that a pipeline meets: no JSON, no object, a field missing or out of range, and no match with its record. */
const KINDS: readonly [Kind, ...Kind[]] = [
  { why: "no JSON", spoil: () => ({ value: Buffer.from("not a purchase") }) },
  { why: "JSON cut short", spoil: (good) => ({ value: json(good).value.subarray(0, -20) }) },
  { why: "no UTF-8", spoil: () => ({ value: Buffer.from([0xff, 0xfe, 0x00, 0x7b]) }) },
  { why: "empty value", spoil: () => ({ value: Buffer.alloc(0) }) },
  { why: "null value", spoil: () => ({ value: null }) },
  { why: "a list", spoil: (good) => json([good]) },
  { why: "no amount", spoil: (good) => json({ ...good, amount: undefined }) },
  { why: "amount as text", spoil: (good) => json({ ...good, amount: "25.00" }) },
  { why: "negative amount", spoil: (good) => json({ ...good, amount: -1 }) },
  { why: "fractions of a cent", spoil: (good) => json({ ...good, price: 0.005 }) },
  { why: "more cents than can be counted", spoil: (good) => json({ ...good, amount: 1e300 }) },
  { why: "quantity 0", spoil: (good) => json({ ...good, quantity: 0 }) },
  { why: "quantity 1.5", spoil: (good) => json({ ...good, quantity: 1.5 }) },
  { why: "empty transaction_id", spoil: (good) => json({ ...good, transaction_id: "" }) },
  { why: "empty user_id", spoil: (good) => json({ ...good, user_id: "" }) },
  { why: "time without a zone", spoil: (good) => json({ ...good, timestamp: good.timestamp.slice(0, -1) }) },
  { why: "no such day", spoil: (good) => json({ ...good, timestamp: "2026-02-30T12:00:00.000Z" }) },
  {
    why: "from the future",
    spoil: (good, ingestionMs) => json({ ...good, timestamp: isoTime(ingestionMs + 2 * MAX_AHEAD_MS) }),
  },
  { why: "another user's key", spoil: (good) => ({ key: Buffer.from(`${good.user_id}-other`, "utf8") }) },
  { why: "null key", spoil: () => ({ key: null }) },
];

export const INVALID_KINDS: readonly string[] = KINDS.map((kind) => kind.why);

/** A record that is no purchase, of a random kind. Its bytes name the transaction where its kind leaves room for that. */
export function invalidRecord(
  random: Random,
  base: { readonly transactionId: string; readonly userId: string; readonly ingestionMs: number },
): InvalidRecord {
  const { why, spoil } = random.pick(KINDS);
  const good: Good = {
    transaction_id: base.transactionId,
    user_id: base.userId,
    goods: "gift card",
    quantity: 1,
    price: 25,
    amount: 25,
    timestamp: isoTime(base.ingestionMs),
  };
  const asSent = { key: Buffer.from(base.userId, "utf8"), ...json(good) };
  return { why, ...asSent, ...spoil(good, base.ingestionMs) };
}
