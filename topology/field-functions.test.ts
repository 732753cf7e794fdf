import { expect, test } from "vitest";
import { type Aggregator, count, mean, sum } from "./aggregators.js";
import { compileFields } from "./field-functions.js";

function compiled(fields: Readonly<Record<string, Aggregator<number, never, unknown>>>) {
  return compileFields(Object.keys(fields), Object.values(fields) as unknown as Aggregator<unknown, unknown>[]);
}

test("names that are no identifiers, and those that every object has, are fields as any other", () => {
  const names = ["n", 'a "quoted" one', "$'`\\\n\u2028", "__proto__", "constructor"];
  const { next, result } = compiled(Object.fromEntries(names.map((name) => [name, count() as never])));
  const states = next(next(undefined, 1), 1);

  expect(Object.entries(states)).toEqual(names.map((name) => [name, 2]));
  expect(Object.getPrototypeOf(states)).toBe(Object.prototype);
  expect(Object.entries(result(states))).toEqual(Object.entries(states));
});

test("a field that the row does not have yet begins with its initial state", () => {
  const { next, result } = compiled({ n: count() as never, total: sum((value: number) => value) as never });

  expect(next({ n: 4 }, 5)).toEqual({ n: 5, total: 5 });
  expect(result({ n: 4 })).toEqual({ n: 4, total: 0 });
});

test("states are not changed in place", () => {
  const { next } = compiled({ mean: mean((value: number) => value) as never });
  const before = Object.freeze({ mean: Object.freeze({ n: 1, total: 2 }) });

  expect(next(before, 4)).toEqual({ mean: { n: 2, total: 6 } });
});
