import { describe, expect, test } from "vitest";
import { namedAggregation, reduceAggregation } from "./aggregation.js";
import {
  type Aggregator,
  type AnyAggregator,
  count,
  countIf,
  first,
  last,
  max,
  mean,
  min,
  sum,
} from "./aggregators.js";
import { CurrentRecord } from "./record.js";

function fold<V, S, R>(aggregator: Aggregator<V, S, R>, values: readonly V[]): R {
  return aggregator.result(values.reduce((state, value) => aggregator.add(state, value), aggregator.initial()));
}
const n = (value: number): number => value;

describe("aggregators", () => {
  test("each gives what its name says", () => {
    const values = [3, 1, 4, 1, 5];
    expect(fold(count(), values)).toBe(5);
    expect(
      fold(
        countIf((value: number) => value > 2),
        values,
      ),
    ).toBe(3);
    expect(fold(sum(n), values)).toBe(14);
    expect(fold(mean(n), values)).toBe(2.8);
    expect(fold(min(n), values)).toBe(1);
    expect(fold(max(n), values)).toBe(5);
    expect(fold(first(n), values)).toBe(3);
    expect(fold(last(n), values)).toBe(5);
  });

  test("texts have a smallest and a largest as well", () => {
    const text = (value: string): string => value;
    expect(fold(min(text), ["b", "a", "c"])).toBe("a");
    expect(fold(max(text), ["b", "a", "c"])).toBe("c");
  });

  test("a record whose value is undefined is passed over by min and max", () => {
    const even = (value: number): number | undefined => (value % 2 === 0 ? value : undefined);
    expect(fold(max(even), [1, 2, 5])).toBe(2);
    expect(fold(min(even), [1, 3])).toBeUndefined();
  });

  test("a first value that is 0 or empty is kept", () => {
    expect(fold(first(n), [0, 7])).toBe(0);
    expect(
      fold(
        first((value: string) => value),
        ["", "x"],
      ),
    ).toBe("");
  });

  test("a sum of whole numbers that leaves the safe range throws instead of being wrong", () => {
    expect(fold(sum(n), [Number.MAX_SAFE_INTEGER - 1, 1])).toBe(Number.MAX_SAFE_INTEGER);
    expect(() => fold(sum(n), [Number.MAX_SAFE_INTEGER, 1])).toThrow(/safe range/);
    expect(() => fold(sum(n), [-Number.MAX_SAFE_INTEGER, -1])).toThrow(/safe range/);
    expect(() => fold(mean(n), [Number.MAX_SAFE_INTEGER, 1])).toThrow(/safe range/);
  });

  test("fractions may be summed", () => {
    expect(fold(sum(n), [0.5, 0.25, 1])).toBe(1.75);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])("%s is refused, as JSON could not hold it", (bad) => {
    expect(() => fold(sum(n), [bad])).toThrow(RangeError);
    expect(() => fold(max(n), [bad])).toThrow(RangeError);
  });
});

describe("a named aggregate", () => {
  const record = new CurrentRecord();
  const aggregation = namedAggregation({
    total: sum(n),
    mean: mean(n),
    top: max((value: number) => (value > 10 ? value : undefined)),
  } as unknown as Record<string, AnyAggregator<unknown>>);

  test("is one object of the aggregators' states, in the order of the fields", () => {
    const state = aggregation.next(aggregation.next(undefined, 2, record), 4, record);
    expect(JSON.stringify(state)).toBe('{"total":6,"mean":{"n":2,"total":6}}');
    expect(aggregation.result(state)).toEqual({ total: 6, mean: 3, top: undefined });
  });

  test("goes on from a state that was held as JSON", () => {
    const held: unknown = JSON.parse(JSON.stringify(aggregation.next(undefined, 2, record)));
    expect(aggregation.result(aggregation.next(held, 20, record))).toEqual({ total: 22, mean: 11, top: 20 });
  });

  test("never changes a state in place", () => {
    const state = Object.freeze(aggregation.next(undefined, 2, record));
    aggregation.next(state, 5, record);
    expect(aggregation.result(state)).toEqual({ total: 2, mean: 2, top: undefined });
  });

  test("a field that an older row does not have begins at its initial state", () => {
    expect(aggregation.result(aggregation.next({ total: 40 }, 2, record))).toEqual({
      total: 42,
      mean: 2,
      top: undefined,
    });
  });
});

test("a reducer is not called for the first value of a row", () => {
  const never = reduceAggregation(() => {
    throw new Error("called");
  });
  expect(never.next(undefined, 5, new CurrentRecord())).toBe(5);
});
