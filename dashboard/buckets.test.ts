import { describe, expect, test } from "vitest";
import { type Buckets, bucketsOf, quantileBetween } from "./buckets.js";

const of = (counts: Readonly<Record<string, number>>): Buckets =>
  Object.entries(counts).map(([le, below]) => ({
    bound: le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le),
    below,
  }));

describe("a quantile between two readings", () => {
  test("is of what came between them only", () => {
    const before = of({ "1": 100, "2": 100, "+Inf": 100 });
    const now = of({ "1": 100, "2": 110, "+Inf": 110 });
    expect(quantileBetween(before, now, 0.5)).toBe(1.5);
  });

  test("is spread evenly within its bucket, as Prometheus does", () => {
    // 4 below 1 and 6 more below 2: the fifth of ten is a sixth of the way from 1 to 2.
    expect(quantileBetween([], of({ "1": 4, "2": 10, "+Inf": 10 }), 0.5)).toBeCloseTo(1 + 1 / 6);
    expect(quantileBetween([], of({ "1": 4, "2": 10, "+Inf": 10 }), 0.2)).toBeCloseTo(0.5);
  });

  test("is the last finite bound for what is above all of them", () => {
    expect(quantileBetween([], of({ "1": 0, "2": 1, "+Inf": 10 }), 0.99)).toBe(2);
  });

  test("is nothing where nothing came", () => {
    const same = of({ "1": 5, "+Inf": 5 });
    expect(quantileBetween(same, same, 0.99)).toBeNull();
    expect(quantileBetween([], [], 0.99)).toBeNull();
  });
});

test("counts of single buckets become counts below each bound", () => {
  expect(bucketsOf({ bounds: [1, 2], counts: [4, 6, 1] })).toEqual([
    { bound: 1, below: 4 },
    { bound: 2, below: 10 },
    { bound: Number.POSITIVE_INFINITY, below: 11 },
  ]);
});
