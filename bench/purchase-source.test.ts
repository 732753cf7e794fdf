import { expect, test } from "vitest";
import { PURCHASE } from "../apps/purchase/model.js";
import { partitionOf } from "../runtime/partitioner.js";
import { json } from "../serdes/json.js";
import { PurchaseSource } from "./purchase-source.js";

const START_MS = Date.UTC(2026, 10, 22, 12);
const HALF_AN_HOUR_MS = 1_800_000;
const OPTIONS = { seed: 7, users: 50, partitions: 9, late: 0.1 };

test("the bytes say what the numbers say, and every purchase is valid and never expired", () => {
  const source = new PurchaseSource(OPTIONS);
  const purchase = json(PURCHASE);
  let late = 0;
  for (let at = 0; at < 2_000; at++) {
    const ingestionMs = START_MS + at * 1_009;
    const made = source.next(ingestionMs);
    const read = purchase.deserialize(made.value);

    expect(read.user_id).toBe(made.key.toString());
    expect(read.user_id).toBe(`user-${String(made.user).padStart(6, "0")}`);
    expect(Math.round(read.amount * 100)).toBe(made.cents);
    expect(read.timestamp).toBe(new Date(made.eventMs).toISOString());
    expect(made.partition).toBe(partitionOf(made.key, 9));
    expect(made.isLate).toBe(made.eventMs < ingestionMs - HALF_AN_HOUR_MS);
    expect(made.eventMs).toBeGreaterThan(ingestionMs - 2 * HALF_AN_HOUR_MS);
    if (made.isLate) late++;
  }
  expect(late).toBeGreaterThan(150);
  expect(late).toBeLessThan(250);
});

test("the same seed makes the same purchases", () => {
  const [one, other] = [new PurchaseSource(OPTIONS), new PurchaseSource(OPTIONS)];
  for (let at = 0; at < 100; at++) expect(one.next(START_MS + at).value).toEqual(other.next(START_MS + at).value);
});
