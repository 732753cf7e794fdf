import type { ProbeRecord } from "../../testing/log-probe.suite.js";
import type { Random } from "./random.js";

export interface GoodPurchase {
  readonly transaction_id: string;
  readonly user_id: string;
  readonly goods: string;
  readonly quantity: number;
  readonly price: number;
  readonly amount: number;
  readonly timestamp: string;
}

type Spoil = (good: GoodPurchase, ingestionMs: number, random: Random) => Partial<ProbeRecord>;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const FIELDS = ["transaction_id", "user_id", "goods", "quantity", "price", "amount", "timestamp"] as const;

const iso = (timeMs: number): string => new Date(timeMs).toISOString();
const json = (value: unknown): { readonly value: string } => ({ value: JSON.stringify(value) });
const bytes = (...parts: (string | number[])[]): { readonly value: Buffer } => ({
  value: Buffer.concat(parts.map((part) => Buffer.from(part as string))),
});
/** The purchase's text with something in it changed that no `JSON.stringify` would write. */
const text = (good: GoodPurchase, from: string | RegExp, to: string): { readonly value: string } => ({
  value: JSON.stringify(good).replace(from, to),
});

/** Not a text of JSON, or not one of an object. */
const NO_OBJECT: readonly Spoil[] = [
  () => ({ value: "not a purchase" }),
  () => ({ value: "" }),
  () => ({ value: null }),
  () => ({ value: " \n\t " }),
  () => ({ value: "null" }),
  () => ({ value: "true" }),
  () => ({ value: "42" }),
  () => ({ value: "{}" }),
  (good) => ({ value: JSON.stringify(JSON.stringify(good)) }),
  (good) => json([good]),
  (good) => json({ purchase: good }),
  (good) => ({ value: `${JSON.stringify(good)}}` }),
  (good) => ({ value: `${JSON.stringify(good)}\n${JSON.stringify(good)}` }),
  (good) => ({ value: JSON.stringify(good).replaceAll('"', "'") }),
  (good) => ({ value: `/* a purchase */${JSON.stringify(good)}` }),
  (good, _, random) => ({ value: JSON.stringify(good).slice(0, random.between(1, JSON.stringify(good).length)) }),
  (good, _, random) => ({ value: JSON.stringify(good).slice(random.between(1, 20)) }),
  () => ({ value: "[".repeat(100_000) }),
  () => ({ value: `${"[".repeat(5_000)}${"]".repeat(5_000)}` }),
  (good) => ({ value: `{"__proto__":${JSON.stringify(good)}}` }),
  () => ({ value: `<purchase/>` }),
  () => ({ value: "transaction_id,user_id\n1,2\n" }),
];

/** Bytes that are no text, or no text that JSON allows. */
const NO_TEXT: readonly Spoil[] = [
  () => bytes([0xff, 0xfe, 0x00, 0x7b]),
  () => ({ value: Buffer.alloc(64) }),
  (good) => ({ value: Buffer.from(JSON.stringify(good), "utf16le") }),
  (good) => ({ value: Buffer.from(JSON.stringify({ ...good, goods: "thé" }), "latin1") }),
  (good) => bytes(JSON.stringify(good).replace(/"goods":"[^"]*"/, '"goods":"'), [0xed, 0xa0, 0x80], '"}'),
  (good) => bytes('{"goods":"', [0xc0, 0xaf], `",${JSON.stringify(good).slice(1)}`),
  (good) => text(good, '"goods":"', '"goods":"\u0001'),
  (good) => text(good, '"goods":"', '"goods":"\n'),
  (good) => text(good, ",", ",\u0000"),
  (good) => ({ value: Buffer.from(JSON.stringify(good)).map((byte) => byte ^ 0x80) }),
  // As a schema registry's wire format begins.
  (good) => bytes([0, 0, 0, 0, 1], JSON.stringify(good)),
];

/** Objects with all fields, one of which is wrong. */
const WRONG_FIELD: readonly Spoil[] = [
  (good) => json({ ...good, transaction_id: "" }),
  (good) => json({ ...good, user_id: "" }),
  (good) => json({ ...good, transaction_id: 17 }),
  (good) => json({ ...good, user_id: [good.user_id] }),
  (good) => json({ ...good, goods: { name: good.goods } }),
  (good) => json({ ...good, quantity: 0 }),
  (good) => json({ ...good, quantity: -3 }),
  (good) => json({ ...good, quantity: 1.5 }),
  (good) => json({ ...good, quantity: "2" }),
  (good) => json({ ...good, quantity: true }),
  (good) => json({ ...good, quantity: 1e300 }),
  (good) => json({ ...good, price: -0.01 }),
  (good) => json({ ...good, price: 0.005 }),
  (good) => json({ ...good, price: "NaN" }),
  (good) => json({ ...good, amount: -1 }),
  (good) => json({ ...good, amount: "25.00" }),
  (good) => json({ ...good, amount: 1e300 }),
  (good) => json({ ...good, amount: 2 ** 53 }),
  (good) => json({ ...good, amount: [] }),
  (good) => json({ ...good, amount: {} }),
  (good) => text(good, /"amount":[\d.]+/, '"amount":NaN'),
  (good) => text(good, /"amount":[\d.]+/, '"amount":Infinity'),
  (good) => text(good, /"amount":[\d.]+/, '"amount":1e999'),
  (good) => text(good, /"amount":[\d.]+/, `"amount":${"9".repeat(400)}`),
  (good) => text(good, /"amount":[\d.]+/, '"amount":0x10'),
  (good) => text(good, /"quantity":\d+/, '"quantity":007'),
  // Twice the same field: the last one counts, and it is wrong.
  (good) => text(good, /\}$/, ',"user_id":"somebody else"}'),
  (good) => text(good, /\}$/, ',"amount":null}'),
];

const WRONG_TIME: readonly Spoil[] = [
  (good) => json({ ...good, timestamp: "" }),
  (good) => json({ ...good, timestamp: "yesterday" }),
  (good) => json({ ...good, timestamp: Date.parse(good.timestamp) }),
  (good) => json({ ...good, timestamp: String(Date.parse(good.timestamp)) }),
  (good) => json({ ...good, timestamp: good.timestamp.slice(0, -1) }),
  (good) => json({ ...good, timestamp: good.timestamp.slice(0, 10) }),
  (good) => json({ ...good, timestamp: "2026-02-30T12:00:00.000Z" }),
  (good) => json({ ...good, timestamp: "2026-13-01T12:00:00.000Z" }),
  (good) => json({ ...good, timestamp: "2026-11-22T25:00:00.000Z" }),
  (good) => json({ ...good, timestamp: "+275760-09-13T00:00:00.000Z" }),
  (good) => json({ ...good, timestamp: "9999-12-31T23:59:59.999Z" }),
  (good) => json({ ...good, timestamp: "1969-12-31T23:59:59.999Z" }),
  (good) => json({ ...good, timestamp: new Date(good.timestamp).toUTCString() }),
  (good, ingestionMs) => json({ ...good, timestamp: iso(ingestionMs + HOUR_MS + 1) }),
  (good, ingestionMs) => json({ ...good, timestamp: iso(ingestionMs + 365 * DAY_MS) }),
  // No ingestion time: every event is from its future.
  () => ({ timestampMs: -1 }),
];

const WRONG_RECORD: readonly Spoil[] = [
  () => ({ key: null }),
  () => ({ key: "" }),
  (good) => ({ key: `${good.user_id} ` }),
  (good) => ({ key: good.user_id.toUpperCase() }),
  (good) => ({ key: JSON.stringify(good.user_id) }),
  () => ({ key: Buffer.from([0xff, 0x00, 0x80]) }),
  () => ({ key: null, value: null }),
  () => ({ key: Buffer.alloc(10_000, "k"), value: null }),
  (good) => ({
    ...json([good]),
    headers: [
      ["a", null],
      ["a", Buffer.from([0xff])],
      ["", Buffer.alloc(0)],
      ["a", null],
    ],
  }),
  (good) => ({
    ...json({ ...good, amount: null }),
    headers: Array.from({ length: 300 }, (_, at) => [`header-${at}`, Buffer.from(String(at))] as const),
  }),
  // A name that a dead letter's own headers have as well.
  () => ({ value: "{", headers: [["__streams.errors.topic", Buffer.from("elsewhere")]] }),
];

const WITHOUT_FIELD: readonly Spoil[] = FIELDS.flatMap((field): Spoil[] => [
  (good) => json({ ...good, [field]: undefined }),
  (good) => json({ ...good, [field]: null }),
]);

/** Too large to have many of. */
const LARGE: readonly Spoil[] = [
  () => ({ value: Buffer.alloc(900_000, "x") }),
  () => ({ value: Buffer.alloc(900_000) }),
  (good) => json({ ...good, amount: -1, note: "n".repeat(899_000) }),
  (good) => ({ value: JSON.stringify({ ...good, note: "n".repeat(899_000) }).slice(0, -1) }),
];

const KINDS = [...NO_OBJECT, ...NO_TEXT, ...WRONG_FIELD, ...WRONG_TIME, ...WRONG_RECORD, ...WITHOUT_FIELD];

/** `count` records that are no purchases, of every kind, each beside a purchase that it was made of. */
export function malformedRecords(
  count: number,
  good: () => { readonly purchase: GoodPurchase; readonly ingestionMs: number },
  random: Random,
): ProbeRecord[] {
  return Array.from({ length: count }, (_, at): ProbeRecord => {
    const spoil = LARGE[at] ?? (KINDS[at % KINDS.length] as Spoil);
    const { purchase, ingestionMs } = good();
    return {
      key: purchase.user_id,
      value: JSON.stringify(purchase),
      timestampMs: ingestionMs,
      ...spoil(purchase, ingestionMs, random),
    };
  });
}

/** Purchases that look odd and are good: each must be counted. */
export const ODD_BUT_GOOD: readonly ((good: GoodPurchase) => Partial<ProbeRecord>)[] = [
  (good) => json({ ...good, note: "an extra field", nested: { deep: [1, { a: null }] } }),
  (good) => ({ value: ` \n${JSON.stringify(good, null, 2)}\r\n` }),
  (good) => json({ ...good, goods: "" }),
  (good) => json({ ...good, goods: "Tee 🍵 \u0000 \ud800" }),
  (good) => ({ value: JSON.stringify(good).replace("goods", "\\u0067oods") }),
  (good) => json({ ...good, timestamp: good.timestamp.replace("Z", "+00:00") }),
  (good) => json({ ...good, timestamp: iso(Date.parse(good.timestamp) + 5.5 * HOUR_MS).replace("Z", "+05:30") }),
  (good) => ({ value: JSON.stringify(good).replace(/\}$/, `,"n":${"[".repeat(500)}${"]".repeat(500)}}`) }),
  (good) => ({ value: JSON.stringify(good).replace(/\}$/, `,"big":${"9".repeat(300)}}`) }),
  (good) => ({ value: JSON.stringify(good).replace("{", '{"user_id":"overruled",') }),
  (good) => ({
    value: JSON.stringify(good),
    headers: [
      ["trace", null],
      ["trace", Buffer.from([0xff])],
    ],
  }),
  (good) => json({ ...good, note: "n".repeat(200_000) }),
];
