import { describe, expect, test } from "vitest";
import { eventTimeMs } from "./event-time.js";
import { INVALID_KINDS } from "./invalid-purchases.js";
import { centsOf, checkKey, isLate, MAX_AHEAD_MS, Purchase } from "./model.js";
import { type SimulatedRecord, Simulator, type SimulatorOptions } from "./simulator.js";

const START = Date.UTC(2026, 10, 22, 12);
const MINUTE = 60_000;
/** Any spread over the partitions will do; which one is the log's business. */
const byLength = (key: Uint8Array, partitions: number): number => key.reduce((sum, byte) => sum + byte, 0) % partitions;

const options: SimulatorOptions = {
  seed: 7,
  users: 50,
  late: 0.1,
  lateByMs: { from: 30 * MINUTE, to: 60 * MINUTE },
  expired: 0,
  invalid: 0,
  partitions: 4,
  partitionOf: byLength,
};

function simulate(count: number, changes: Partial<SimulatorOptions> = {}): readonly SimulatedRecord[] {
  const simulator = new Simulator({ ...options, ...changes });
  return Array.from({ length: count }, (_, index) => simulator.next(START + index * 100));
}

function purchaseOf(record: SimulatedRecord): Purchase {
  const purchase = Purchase.parse(JSON.parse(String(record.value)));
  checkKey(purchase, record.key === null ? null : String(record.key));
  if (timeOf(purchase) > record.ingestionTimeMs + MAX_AHEAD_MS) throw new RangeError("from the future");
  return purchase;
}

function timeOf(purchase: Purchase): number {
  return eventTimeMs(purchase.timestamp)!;
}

test("the same seed makes the same records, another seed others", () => {
  const changes = { expired: 0.05, invalid: 0.05 };
  expect(simulate(500, changes)).toEqual(simulate(500, changes));
  expect(simulate(500, { ...changes, seed: 8 })).not.toEqual(simulate(500, changes));
});

test("what a record is expected to become is what its bytes say", () => {
  for (const record of simulate(2_000)) {
    const purchase = purchaseOf(record);
    expect(record.expected).toMatchObject({
      kind: "purchase",
      transactionId: purchase.transaction_id,
      userId: purchase.user_id,
      amountCents: centsOf(purchase.amount),
      eventTimeMs: timeOf(purchase),
      isLate: isLate(timeOf(purchase), record.ingestionTimeMs),
    });
    expect(record.partition).toBe(byLength(record.key!, 4));
  }
});

test.each([0.02, 0.1])("a share of %d is late, by 30 to 60 minutes, and none of it expires", (late) => {
  const records = simulate(10_000, { late });
  const lateBy = records
    .filter(({ expected }) => expected.kind === "purchase" && expected.isLate)
    .map((record) => record.ingestionTimeMs - timeOf(purchaseOf(record)));
  expect(lateBy.length / 10_000).toBeCloseTo(late, 1);
  expect(lateBy.length).toBeGreaterThan(late * 10_000 * 0.8);
  expect(lateBy.length).toBeLessThan(late * 10_000 * 1.2);
  expect(Math.min(...lateBy)).toBeGreaterThan(30 * MINUTE);
  expect(Math.max(...lateBy)).toBeLessThan(60 * MINUTE);
  expect(records.filter(({ expected }) => expected.kind === "purchase" && expected.isExpired)).toEqual([]);
});

test("an expired purchase lies behind the watermark of its own partition, and is late as well", () => {
  const clocks = new Map<number, number>();
  let expired = 0;
  for (const record of simulate(5_000, { expired: 0.02 })) {
    const eventMs = timeOf(purchaseOf(record));
    const streamTimeMs = Math.max(clocks.get(record.partition) ?? -1, eventMs);
    clocks.set(record.partition, streamTimeMs);
    const windowEndMs = eventMs - (eventMs % (5 * MINUTE)) + 5 * MINUTE;
    const isBehind = windowEndMs + 60 * MINUTE <= streamTimeMs;
    expect(record.expected).toMatchObject({ isExpired: isBehind });
    if (isBehind) {
      expired++;
      expect(record.expected).toMatchObject({ isLate: true });
    }
  }
  expect(expired).toBeGreaterThan(50);
  expect(expired).toBeLessThan(150);
});

describe("a record that is no purchase", () => {
  const records = simulate(5_000, { invalid: 0.2 });
  const invalid = records.filter(({ expected }) => expected.kind === "invalid");

  test("is refused by the model, and comes in every kind", () => {
    for (const record of invalid) expect(() => purchaseOf(record), String(record.value)).toThrow();
    const kinds = invalid.map(({ expected }) => (expected.kind === "invalid" ? expected.why : ""));
    expect(new Set(kinds)).toEqual(new Set(INVALID_KINDS));
  });

  test("comes as often as asked", () => {
    expect(invalid.length).toBeGreaterThan(900);
    expect(invalid.length).toBeLessThan(1_100);
  });
});

test("ingestion time never goes back, and event time is at most two seconds behind it unless late", () => {
  const simulator = new Simulator({ ...options, late: 0 });
  const times = [START, START - 5_000, START + 10, START + 9].map((timeMs) => simulator.next(timeMs));
  expect(times.map((record) => record.ingestionTimeMs)).toEqual([START, START, START + 10, START + 10]);
  for (const record of times) {
    const behindMs = record.ingestionTimeMs - timeOf(purchaseOf(record));
    expect(behindMs).toBeGreaterThanOrEqual(0);
    expect(behindMs).toBeLessThan(2_000);
  }
});
