import { expect, test } from "vitest";
import { type AggregateRow, isRight, Oracle } from "./oracle.js";

const START_MS = Date.UTC(2026, 10, 22, 12);
const FIVE_MINUTES_MS = 300_000;

function row(user: string, startMs: number, count: number, late: number, amount: number): AggregateRow {
  const counts = { transaction_count: count, late_transaction: late, total_amount: amount };
  return { user_id: user, window_start: new Date(startMs).toISOString(), ...counts };
}

/** Ann (0) buys twice in one window, once of them late, and once in the next; Bob (1) once. */
function ofFour(): Oracle {
  const oracle = new Oracle(2);
  oracle.add({ user: 0, eventMs: START_MS, isLate: false, cents: 1_250 });
  oracle.add({ user: 0, eventMs: START_MS + FIVE_MINUTES_MS - 1, isLate: true, cents: 50 });
  oracle.add({ user: 0, eventMs: START_MS + FIVE_MINUTES_MS, isLate: false, cents: 999 });
  oracle.add({ user: 1, eventMs: START_MS + 1, isLate: false, cents: 10 });
  return oracle;
}

const RIGHT: readonly AggregateRow[] = [
  row("user-000000", START_MS, 2, 1, 13),
  row("user-000000", START_MS + FIVE_MINUTES_MS, 1, 0, 9.99),
  row("user-000001", START_MS, 1, 0, 0.1),
];

function verdictOf(rows: readonly AggregateRow[], partition: (at: number) => number = () => 0) {
  const { see, verdict } = ofFour().checkAggregates();
  rows.forEach((one, at) => {
    see(one, partition(at));
  });
  return verdict();
}

const NONE = { missing: 0, different: 0, unexpected: 0, repeated: 0 };

test("the last row of each user and window counts", () => {
  expect(verdictOf([row("user-000000", START_MS, 1, 0, 12.5), ...RIGHT])).toEqual(NONE);
  expect(verdictOf([...RIGHT, row("user-000000", START_MS, 1, 0, 12.5)])).toEqual({ ...NONE, different: 1 });
});

test("a row that is not there, a cent too little and a late one forgotten are found", () => {
  expect(verdictOf(RIGHT.slice(1))).toEqual({ ...NONE, missing: 1 });
  expect(verdictOf([...RIGHT, row("user-000001", START_MS, 1, 0, 0.09)])).toEqual({ ...NONE, different: 1 });
  expect(verdictOf([...RIGHT, row("user-000000", START_MS, 2, 0, 13)])).toEqual({ ...NONE, different: 1 });
});

test("a row of nobody, of a window without a purchase, and one in two partitions are found", () => {
  expect(verdictOf([...RIGHT, row("user-000002", START_MS, 1, 0, 1)])).toEqual({ ...NONE, unexpected: 1 });
  expect(verdictOf([...RIGHT, row("user-000001", START_MS - FIVE_MINUTES_MS, 1, 0, 1)])).toMatchObject({
    unexpected: 1,
  });
  expect(verdictOf([...RIGHT, row("user-000001", START_MS + FIVE_MINUTES_MS, 1, 0, 1)])).toMatchObject({
    unexpected: 1,
  });
  expect(verdictOf([...RIGHT, ...RIGHT], (at) => (at === 5 ? 1 : 0))).toEqual({ ...NONE, unexpected: 1 });
});

test("each late purchase is there once, and no other", () => {
  const lates = (...ids: readonly string[]) => {
    const { see, verdict } = ofFour().checkLate();
    for (const id of ids) see(id);
    return verdict();
  };
  expect(isRight(lates("tx-42-000000001"))).toBe(true);
  expect(lates()).toEqual({ ...NONE, missing: 1 });
  expect(lates("tx-42-000000001", "tx-42-000000001")).toEqual({ ...NONE, repeated: 1 });
  expect(lates("tx-42-000000001", "tx-42-000000003", "tx-42-000000009")).toEqual({ ...NONE, unexpected: 2 });
});
