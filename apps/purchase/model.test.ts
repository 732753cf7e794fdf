import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { eventTimeMs } from "./event-time.js";
import { centsOf, checkKey, isExpired, isLate, isoTime, isPurchase, Purchase, windowStartMs } from "./model.js";

const NOON = Date.UTC(2026, 10, 22, 12);
const good = {
  transaction_id: "tx-1",
  user_id: "ann",
  goods: "tea",
  quantity: 3,
  price: 19.99,
  amount: 59.97,
  timestamp: "2026-11-22T12:00:00.000Z",
};

describe("a purchase", () => {
  test("is read with every extra field", () => {
    expect(Purchase.parse({ ...good, shop: { city: "Kiel" } })).toEqual({ ...good, shop: { city: "Kiel" } });
  });

  test("need not cost quantity times price", () => {
    expect(Purchase.parse({ ...good, amount: 0 }).amount).toBe(0);
  });

  test.each([
    ["no object", []],
    ["null", null],
    ["no transaction_id", { ...good, transaction_id: undefined }],
    ["empty transaction_id", { ...good, transaction_id: "" }],
    ["numeric user_id", { ...good, user_id: 7 }],
    ["empty user_id", { ...good, user_id: "" }],
    ["no goods", { ...good, goods: undefined }],
    ["quantity 0", { ...good, quantity: 0 }],
    ["quantity 1.5", { ...good, quantity: 1.5 }],
    ["quantity as text", { ...good, quantity: "3" }],
    ["unsafe quantity", { ...good, quantity: 2 ** 53 }],
    ["negative price", { ...good, price: -0.01 }],
    ["amount with a third decimal", { ...good, amount: 1.005 }],
    ["amount beyond safe cents", { ...good, amount: 90071992547409.92 }],
    ["amount as text", { ...good, amount: "59.97" }],
    ["no timestamp", { ...good, timestamp: undefined }],
    ["timestamp as number", { ...good, timestamp: NOON }],
    ["timestamp without a zone", { ...good, timestamp: "2026-11-22T12:00:00.000" }],
  ])("is refused: %s", (_, value) => {
    expect(Purchase.safeParse(value).success).toBe(false);
    expect(isPurchase(value)).toBe(false);
  });

  test("is by hand what it is by its schema", () => {
    const texts = fc.oneof(fc.constantFrom("", "x", good.timestamp), fc.string());
    const numbers = fc.oneof(fc.constantFrom(0, 1, -1, 1.5, 19.99, 0.005, 2 ** 53), fc.double());
    const anything = fc.oneof(texts, numbers, fc.constantFrom(null, true, undefined), fc.array(texts));
    const field = (value: unknown) => fc.oneof({ weight: 9, arbitrary: fc.constant(value) }, anything);
    const fields = Object.fromEntries(Object.entries(good).map(([name, value]) => [name, field(value)]));
    fc.assert(
      fc.property(fc.oneof(fc.record(fields, { requiredKeys: [] }), fc.jsonValue()), (value) => {
        expect(isPurchase(value)).toBe(Purchase.safeParse(value).success);
      }),
      { numRuns: 2_000 },
    );
    expect(isPurchase(good)).toBe(true);
  });

  test("is refused with the field's name and what it must be", () => {
    const outcome = Purchase["~standard"].validate({ ...good, price: 0.005 });
    expect(outcome).toMatchObject({
      issues: [{ path: ["price"], message: expect.stringContaining("at most two decimals") }],
    });
  });

  test("must have its user_id as the record's key", () => {
    const purchase = Purchase.parse(good);
    expect(() => checkKey(purchase, "ann")).not.toThrow();
    expect(() => checkKey(purchase, "bob")).toThrow('user_id: is "ann", but the record\'s key is "bob"');
    expect(() => checkKey(purchase, null)).toThrow("the record's key is null");
  });
});

describe("money", () => {
  test("is whole cents, whatever two decimals are given", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000_000_000 }), (cents) => {
        const decimal = `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;
        expect(centsOf(JSON.parse(decimal) as number)).toBe(cents);
      }),
      { numRuns: 2_000 },
    );
  });

  test("computed in floats is the amount that was meant", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 0, max: 10_000_000 }), (quantity, cents) => {
        expect(centsOf(quantity * (cents / 100))).toBe(quantity * cents);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    [0, 0],
    [-0, 0],
    [0.07, 7],
    [1.1, 110],
    [0.1 * 3, 30],
    [4_503_599_627_370.49, 450_359_962_737_049],
  ])("%d is %d cents", (amount, cents) => {
    expect(centsOf(amount)).toBe(cents);
  });

  test.each([-0.01, 0.001, 19.999, 1e-9, 1e300, Number.POSITIVE_INFINITY, Number.NaN])("%d is no amount", (amount) => {
    expect(centsOf(amount)).toBeUndefined();
  });
});

describe("an event time", () => {
  test.each([
    ["2026-11-22T12:00:00.000Z", NOON],
    ["2026-11-22T12:00:00Z", NOON],
    ["2026-11-22T12:00Z", NOON],
    ["2026-11-22T13:30:00+01:30", NOON],
    ["2026-11-22T04:00:00.000-0800", NOON],
    ["2026-11-22T13:00:00+01", NOON],
    ["2026-11-22T12:00:00.5Z", NOON + 500],
    ["2026-11-22T12:00:00,25Z", NOON + 250],
    ["2026-11-22T12:00:00.123999+00:00", NOON + 123],
    ["2024-02-29T00:00:00.000Z", Date.UTC(2024, 1, 29)],
    ["1969-12-31T23:59:59.999Z", -1],
  ])("%s is read", (text, timeMs) => {
    expect(eventTimeMs(text)).toBe(timeMs);
  });

  test.each([
    "",
    "now",
    "1795348800000",
    "2026-11-22",
    "2026-11-22T12:00:00",
    "2026-11-22 12:00:00Z",
    "2026-11-22T12:00:00z",
    "2026-13-22T12:00:00.000Z",
    "2026-02-29T12:00:00.000Z",
    "2026-04-31T12:00:00.000Z",
    "2026-11-22T24:00:00.000Z",
    "2026-11-22T12:60:00.000Z",
    "2026-11-22T12:00:60.000Z",
    "2026-11-22T12:00:00.0x0Z",
    "2026-1-22T012:00:00.000Z",
    "2026-11-22T12:00:00.000Z ",
    "2026-11-22T12:00:00+24:00",
    "Sun, 22 Nov 2026 12:00:00 GMT",
  ])("%j is none", (text) => {
    expect(eventTimeMs(text)).toBeUndefined();
  });

  test("as JavaScript writes it is read as JavaScript reads it", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("1900-01-01T00:00:00Z"), max: new Date("2200-01-01T00:00:00Z"), noInvalidDate: true }),
        (date) => {
          expect(eventTimeMs(date.toISOString())).toBe(date.getTime());
        },
      ),
    );
  });
});

test("an event is late when it happened more than 30 minutes before its ingestion", () => {
  expect(isLate(NOON, NOON + 30 * 60_000)).toBe(false);
  expect(isLate(NOON, NOON + 30 * 60_000 + 1)).toBe(true);
});

test("a window closes one hour after its end, by the largest event time seen", () => {
  expect(windowStartMs(NOON + 299_999)).toBe(NOON);
  expect(windowStartMs(NOON + 300_000)).toBe(NOON + 300_000);
  expect(isExpired(NOON + 299_999, NOON + 65 * 60_000 - 1)).toBe(false);
  expect(isExpired(NOON, NOON + 65 * 60_000)).toBe(true);
});

test("an ISO text is Date's, at any millisecond, before the epoch and behind the year 9999 too", () => {
  fc.assert(
    fc.property(fc.integer({ min: -8.64e15, max: 8.64e15 }), (timeMs) => {
      expect(isoTime(timeMs)).toBe(new Date(timeMs).toISOString());
    }),
  );
  for (const timeMs of [0, 9, 99, 999, 9_999, 59_999, 60_000])
    expect(isoTime(timeMs)).toBe(new Date(timeMs).toISOString());
  expect(() => isoTime(Number.NaN)).toThrow(RangeError);
});
