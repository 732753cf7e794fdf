import { unvalidatedJson } from "../../serdes/json.js";
import { nullable } from "../../serdes/nullable.js";
import { type Serde, string } from "../../serdes/serde.js";
import { type Windowed, windowed } from "../../serdes/windowed.js";
import type { StreamsBuilder } from "../../topology/dsl.js";

/** A parameter of the vector's seed; throws when the vector has none of that name. */
export type Params = (name: string) => number;

export interface BuildOptions {
  /** True: a table's updates go on once per commit. The driver commits after each record, so it should make no difference. */
  readonly cache: boolean;
}

/** One topology of the vectors, in our DSL. */
export interface Definition {
  readonly build: (builder: StreamsBuilder, p: Params, options: BuildOptions) => void;
  /** Each output topic and the serde of its keys. */
  readonly outputs: Readonly<Record<string, (p: Params) => Serde<string> | Serde<Windowed<string>>>>;
  /** What its stores hold; none where they are key-value stores. */
  readonly windows?: (p: Params) => { readonly sizeMs: number; readonly retentionMs: number };
}

export type Definitions = Readonly<Record<string, Definition>>;

export const plainKey = (): Serde<string> => string;
export const windowedKey = (p: Params): Serde<Windowed<string>> => windowed(string, { sizeMs: p("sizeMs") });

export const long = unvalidatedJson<number>();
export const text = unvalidatedJson<string>();

/** An input topic with nulls among its keys and values. */
export const nullableKey = nullable(string);
export const longs = { key: nullableKey, value: nullable(long) };
export const texts = { key: nullableKey, value: nullable(text) };

/** The words of a text; none for the empty text. */
export function words(value: string): readonly string[] {
  return value === "" ? [] : value.split(" ");
}

/** The first word; null for null or the empty text. */
export function firstWord(value: string | null): string | null {
  return value === null ? null : (words(value)[0] ?? null);
}

/** `n` for negative numbers as well, unlike `%`. */
export function floorMod(value: number, n: number): number {
  return ((value % n) + n) % n;
}

export function group(value: number, n: number): string {
  return `g${floorMod(value, n)}`;
}

/** A comma-joined list: shows the order in which values were added. */
export function append(list: string, value: number): string {
  return list === "" ? `${value}` : `${list},${value}`;
}
