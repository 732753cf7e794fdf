/**
 * The TypeScript type of an Avro schema that is given as a literal.
 *
 * `long` is a number, and outside the safe range an error; with `L = "bigint"` it is a bigint. `decimal` is text in plain
 * notation ("19.99"), `uuid` text, `date` (midnight UTC) and `timestamp-millis` are Dates, `bytes` and `fixed` Buffers.
 *
 * A union is the union of its branches' types where values tell the branches apart; where they do not (two number types,
 * two records) a value is wrapped in an object with the branch's name, as Avro's JSON has it: `{ "int": 1 }`.
 */
export type InferAvro<S, L extends LongType = "number"> = Of<S, NamedIn<S>, L, "">;

/** How `long` is held. */
export type LongType = "number" | "bigint";

interface Primitives<L extends LongType> {
  readonly null: null;
  readonly boolean: boolean;
  readonly int: number;
  readonly long: L extends "bigint" ? bigint : number;
  readonly float: number;
  readonly double: number;
  readonly bytes: Buffer;
  readonly string: string;
}

type Of<S, D, L extends LongType, NS extends string> = S extends keyof Primitives<L>
  ? Primitives<L>[S]
  : S extends string
    ? Of<Definition<S, D>, D, L, NS>
    : S extends readonly unknown[]
      ? IsAmbiguous<S, D> extends true
        ? Wrapped<S[number], D, L, NS>
        : Of<S[number], D, L, NS>
      : OfDefinition<S, D, L, NS>;

type OfDefinition<S, D, L extends LongType, NS extends string> = S extends {
  readonly logicalType: infer Logical extends keyof Logicals;
}
  ? Logicals[Logical]
  : S extends { readonly type: "record" | "error"; readonly fields: infer F extends readonly Field[] }
    ? { readonly [X in F[number] as X["name"]]: Of<X["type"], D, L, NamespaceOf<S, NS>> }
    : S extends { readonly type: "enum"; readonly symbols: infer Y extends readonly string[] }
      ? Y[number]
      : S extends { readonly type: "fixed" }
        ? Buffer
        : S extends { readonly type: "array"; readonly items: infer I }
          ? readonly Of<I, D, L, NS>[]
          : S extends { readonly type: "map"; readonly values: infer V }
            ? { readonly [key: string]: Of<V, D, L, NS> }
            : S extends { readonly type: infer T }
              ? Of<T, D, L, NS>
              : never;

interface Field {
  readonly name: string;
  readonly type: unknown;
}

interface Logicals {
  readonly date: Date;
  readonly "timestamp-millis": Date;
  readonly decimal: string;
  readonly uuid: string;
}

/** Every record, enum and fixed that is defined in a schema, for the places that name them. */
type NamedIn<S> = S extends readonly (infer B)[]
  ? NamedIn<B>
  : S extends { readonly type: "record" | "error"; readonly fields: readonly { readonly type: infer F }[] }
    ? S | NamedIn<F>
    : S extends { readonly type: "enum" | "fixed" }
      ? S
      : S extends { readonly items: infer I }
        ? NamedIn<I>
        : S extends { readonly values: infer V }
          ? NamedIn<V>
          : S extends { readonly type: infer T extends object }
            ? NamedIn<T>
            : never;

type Definition<N extends string, D> = D extends { readonly name: infer M extends string }
  ? LastPart<M> extends LastPart<N>
    ? D
    : never
  : never;

type LastPart<N extends string> = N extends `${string}.${infer Rest}` ? LastPart<Rest> : N;

// ---- unions ----

type IsAmbiguous<S extends readonly unknown[], D, Seen = never> = S extends readonly [infer First, ...infer Rest]
  ? Kind<First, D> extends Seen
    ? true
    : IsAmbiguous<Rest, D, Seen | Kind<First, D>>
  : false;

/** What a value can be told by: two branches of one kind make a union ambiguous. The same table as in `avro-types.ts`. */
type Kind<S, D> = S extends "int" | "long" | "float" | "double"
  ? "number"
  : S extends "null" | "boolean" | "string" | "bytes"
    ? S
    : S extends string
      ? Kind<Definition<S, D>, D>
      : S extends { readonly logicalType: infer Logical extends keyof Logicals }
        ? Logicals[Logical] extends string
          ? "string"
          : "date"
        : S extends { readonly type: "record" | "error" | "map" }
          ? "object"
          : S extends { readonly type: "enum" }
            ? "string"
            : S extends { readonly type: "fixed" }
              ? "bytes"
              : S extends { readonly type: "array" }
                ? "array"
                : S extends { readonly type: infer T }
                  ? Kind<T, D>
                  : never;

type Wrapped<B, D, L extends LongType, NS extends string> = B extends "null"
  ? null
  : { readonly [N in BranchName<B, NS>]: Of<B, D, L, NS> };

type BranchName<B, NS extends string> = B extends keyof Primitives<"number">
  ? B
  : B extends string
    ? Qualified<B, NS>
    : B extends { readonly type: "record" | "error" | "enum" | "fixed"; readonly name: infer N extends string }
      ? Qualified<N, NamespaceOf<B, NS>>
      : B extends { readonly type: infer T extends string }
        ? T
        : never;

type NamespaceOf<S, NS extends string> = S extends { readonly namespace: infer N extends string }
  ? N
  : S extends { readonly name: `${infer First}.${infer Rest}` }
    ? WithoutLastPart<`${First}.${Rest}`>
    : NS;

type WithoutLastPart<N extends string> = N extends `${infer First}.${infer Rest}`
  ? Rest extends `${string}.${string}`
    ? `${First}.${WithoutLastPart<Rest>}`
    : First
  : "";

type Qualified<N extends string, NS extends string> = N extends `${string}.${string}`
  ? N
  : NS extends ""
    ? N
    : `${NS}.${N}`;
