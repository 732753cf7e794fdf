import type { Aggregator, AnyAggregator } from "./aggregators.js";
import { compileFields } from "./field-functions.js";
import type { RecordContext } from "./record.js";

/**
 * How a stateful operator makes its state: `next` is given undefined for the first record of a row, and null as its
 * answer deletes the row. What goes on to the table's children is `result(state)`.
 */
export interface Aggregation {
  readonly next: (state: unknown, value: unknown, record: RecordContext) => unknown;
  readonly result: (state: unknown) => unknown;
  /** Names of the aggregators, by field, of a named aggregate. */
  readonly fields?: Readonly<Record<string, string>>;
}

const itself = (state: unknown): unknown => state;

export function countAggregation(): Aggregation {
  return { next: (n) => ((n as number | undefined) ?? 0) + 1, result: itself };
}

/** The first value of a row is taken as it is; the reducer is not called for it. */
export function reduceAggregation(
  reducer: (aggregate: unknown, value: unknown, record: RecordContext) => unknown,
): Aggregation {
  return {
    next: (state, value, record) => (state === undefined ? value : reducer(state, value, record)),
    result: itself,
  };
}

export function customAggregation(
  initial: () => unknown,
  add: (state: unknown, value: unknown, record: RecordContext) => unknown,
): Aggregation {
  return {
    next: (state, value, record) => add(state === undefined ? initial() : state, value, record),
    result: itself,
  };
}

/** One state of several: an object of the aggregators' states, in the order of the fields. */
export function namedAggregation(fields: Readonly<Record<string, AnyAggregator<unknown>>>): Aggregation {
  const aggregators = Object.values(fields) as Aggregator<unknown, unknown>[];
  const { next, result } = compileFields(Object.keys(fields), aggregators);
  return {
    fields: Object.fromEntries(Object.entries(fields).map(([name, aggregator]) => [name, aggregator.name ?? "custom"])),
    next: (state, value) => next(state as Readonly<Record<string, unknown>> | undefined, value),
    result: (state) => result(state as Readonly<Record<string, unknown>>),
  };
}
