import { beforeEach, expect, test } from "vitest";
import { Account } from "./account.js";
import type { ExpectedPurchase, SimulatedRecord } from "./simulator.js";

const NOON = Date.UTC(2026, 10, 22, 12);
const MINUTE = 60_000;

let account: Account;
beforeEach(() => {
  account = new Account();
});

function purchase(transactionId: string, changes: Partial<ExpectedPurchase> = {}): SimulatedRecord {
  const eventTimeMs = changes.eventTimeMs ?? NOON;
  return {
    partition: 0,
    ingestionTimeMs: eventTimeMs,
    key: Buffer.from("ann"),
    value: Buffer.from(transactionId),
    expected: {
      kind: "purchase",
      transactionId,
      userId: "ann",
      amountCents: 250,
      eventTimeMs,
      windowStartMs: eventTimeMs - (eventTimeMs % (5 * MINUTE)),
      isLate: false,
      isExpired: false,
      ...changes,
    },
  };
}

const bytes = (key: string | null, value: string | null) => ({
  key: key === null ? null : Buffer.from(key),
  value: value === null ? null : Buffer.from(value),
});

test("purchases are settled when the newest aggregate of their window has them all, to the cent", () => {
  account.produced(purchase("a"));
  account.produced(purchase("b", { isLate: true }));
  account.sawLate("b");
  account.sawAggregate({ userId: "ann", windowStartMs: NOON, count: 1, late: 0, cents: 250 });
  expect(account.mismatches()).toEqual([
    "aggregate of ann at 2026-11-22T12:00:00.000Z: expected 2 purchases (1 late) of 500 cents, found 1 purchases (0 late) of 250 cents",
  ]);
  account.sawAggregate({ userId: "ann", windowStartMs: NOON, count: 2, late: 1, cents: 500 });
  expect(account.isSettled).toBe(true);
  expect(account.totals()).toEqual({
    produced: 2,
    accounted: 2,
    aggregated: 2,
    late: 1,
    expired: 0,
    deadLetters: 0,
    cents: 500,
  });
});

test("an aggregate that is one cent off is a mismatch", () => {
  account.produced(purchase("a"));
  account.sawAggregate({ userId: "ann", windowStartMs: NOON, count: 1, late: 0, cents: 251 });
  expect(account.isSettled).toBe(false);
});

test("an aggregate of nothing that was produced is a mismatch", () => {
  account.sawAggregate({ userId: "bob", windowStartMs: NOON, count: 1, late: 0, cents: 1 });
  expect(account.mismatches()).toHaveLength(1);
});

test("an expired purchase belongs in its own topic with its bytes, in the late topic too, and in no aggregate", () => {
  account.produced(purchase("old", { isLate: true, isExpired: true }));
  account.sawExpired(bytes("ann", "old "));
  account.sawLate("old");
  expect(account.mismatches()).toEqual([
    expect.stringContaining("1 × expired purchase missing in the expired topic"),
    expect.stringContaining("1 × expired purchase too many in the expired topic"),
  ]);
});

test("a late event that comes twice is one too many", () => {
  account.produced(purchase("a", { isLate: true }));
  account.sawAggregate({ userId: "ann", windowStartMs: NOON, count: 1, late: 1, cents: 250 });
  account.sawLate("a");
  expect(account.isSettled).toBe(true);
  account.sawLate("a");
  expect(account.mismatches()).toEqual([expect.stringContaining("1 × late event too many")]);
});

test("dead letters are compared by their bytes, and null is not empty", () => {
  const invalid = (key: string | null, value: string | null): SimulatedRecord => ({
    partition: 0,
    ingestionTimeMs: NOON,
    ...bytes(key, value),
    expected: { kind: "invalid", why: "test" },
  });
  account.produced(invalid("ann", null));
  account.produced(invalid("ann", "no JSON"));
  account.produced(invalid("ann", "no JSON"));
  account.sawDeadLetter(bytes("ann", "no JSON"));
  account.sawDeadLetter(bytes("ann", "no JSON"));
  account.sawDeadLetter(bytes("ann", ""));
  expect(account.isSettled).toBe(false);
  account.sawDeadLetter(bytes("ann", null));
  expect(account.mismatches()).toEqual([expect.stringContaining("1 × dead letter too many")]);
});

test("windows that are done keep counting in the totals", () => {
  account.produced(purchase("a"));
  account.sawAggregate({ userId: "ann", windowStartMs: NOON, count: 1, late: 0, cents: 250 });
  account.produced(purchase("b", { eventTimeMs: NOON + 180 * MINUTE }));
  expect(account.mismatches()).toHaveLength(1);
  account.sawAggregate({ userId: "ann", windowStartMs: NOON + 180 * MINUTE, count: 1, late: 0, cents: 250 });
  expect(account.isSettled).toBe(true);
  expect(account.totals()).toMatchObject({ produced: 2, aggregated: 2, cents: 500 });
});

test("many differences are shown by a few examples and a count", () => {
  for (let user = 0; user < 8; user++) account.produced(purchase(`t${user}`, { userId: `user-${user}` }));
  const lines = account.mismatches();
  expect(lines).toHaveLength(6);
  expect(lines.at(-1)).toBe("and 3 more aggregates that differ");
});
