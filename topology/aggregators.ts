/**
 * One field of a named aggregate. The state is held as JSON, so it is made of JSON's values; an undefined state is one
 * that is not there yet. States are never changed in place.
 */
export interface Aggregator<in V, S, out R = S> {
  /** Stands in a store's definition, so that another aggregator in its place is noticed; "custom" without one. */
  readonly name?: string;
  readonly initial: () => S;
  readonly add: (state: S, value: V) => S;
  readonly result: (state: S) => R;
}

/** Any aggregator over `V`, whatever its state: what a map of them is checked against. */
export interface AnyAggregator<in V> {
  readonly name?: string;
  readonly initial: () => unknown;
  readonly add: (state: never, value: V) => unknown;
  readonly result: (state: never) => unknown;
}

/** What comes out of an aggregator. */
export type ResultOf<A> = A extends { readonly result: (state: never) => infer R } ? R : never;

const itself = <S>(state: S): S => state;

/** What an aggregator holds. */
export type StateOf<A> = A extends { readonly initial: () => infer S } ? S : never;

/** How many records. */
export function count(): Aggregator<unknown, number> {
  return { name: "count", initial: () => 0, add: (n) => n + 1, result: itself };
}

/** How many records pass the test. */
export function countIf<V>(test: (value: V) => boolean): Aggregator<V, number> {
  return { name: "countIf", initial: () => 0, add: (n, value) => (test(value) ? n + 1 : n), result: itself };
}

/**
 * The sum of a number of each record.
 *
 * @throws RangeError (a processing error) when the number or the sum is not finite, or when a sum of whole numbers leaves
 * the safe range ±(2^53 - 1): a wrong number is worse than none
 */
export function sum<V>(of: (value: V) => number): Aggregator<V, number> {
  return { name: "sum", initial: () => 0, add: (total, value) => plus(total, of(value)), result: itself };
}

/** The mean of a number of each record; bounded as `sum` is. */
export function mean<V>(
  of: (value: V) => number,
): Aggregator<V, { readonly n: number; readonly total: number }, number> {
  return {
    name: "mean",
    initial: () => ({ n: 0, total: 0 }),
    add: ({ n, total }, value) => ({ n: n + 1, total: plus(total, of(value)) }),
    result: ({ n, total }) => total / n,
  };
}

/** The smallest; a record for which `of` gives undefined is passed over. Texts compare by UTF-16 code units, as `<` does. */
export function min<V, T extends number | string>(of: (value: V) => T | undefined): Aggregator<V, T | undefined> {
  return extreme("min", of, (candidate, best) => candidate < best);
}

/** The largest; a record for which `of` gives undefined is passed over. Texts compare by UTF-16 code units, as `<` does. */
export function max<V, T extends number | string>(of: (value: V) => T | undefined): Aggregator<V, T | undefined> {
  return extreme("max", of, (candidate, best) => candidate > best);
}

/** What `of` gave for the first record, in the order of processing. It is held as JSON. */
export function first<V, T extends NonNullable<unknown>>(of: (value: V) => T): Aggregator<V, T | undefined> {
  return { name: "first", initial: () => undefined, add: (kept, value) => kept ?? of(value), result: itself };
}

/** What `of` gave for the last record, in the order of processing. It is held as JSON. */
export function last<V, T extends NonNullable<unknown>>(of: (value: V) => T): Aggregator<V, T | undefined> {
  return { name: "last", initial: () => undefined, add: (_, value) => of(value), result: itself };
}

function extreme<V, T extends number | string>(
  name: string,
  of: (value: V) => T | undefined,
  isBetter: (candidate: T, best: T) => boolean,
): Aggregator<V, T | undefined> {
  return {
    name,
    initial: () => undefined,
    add: (best, value) => {
      const candidate = of(value);
      if (candidate === undefined) return best;
      // NaN is neither smaller nor larger than anything: it would stay for ever if it came first, and JSON has no text for it.
      if (typeof candidate === "number" && !Number.isFinite(candidate))
        throw new RangeError(`${candidate} has no place in an order`);
      return best === undefined || isBetter(candidate, best) ? candidate : best;
    },
    result: itself,
  };
}

function plus(total: number, addend: number): number {
  const next = total + addend;
  if (!Number.isFinite(next)) throw new RangeError(`${total} + ${addend} is no finite number`);
  if (Number.isInteger(addend) && Number.isInteger(total) && !Number.isSafeInteger(next)) {
    throw new RangeError(`${total} + ${addend} leaves the safe range of whole numbers`);
  }
  return next;
}
