import type { Serde, Serializer } from "../serdes/serde.js";
import type { Window } from "../serdes/windowed.js";
import type { ErrorHandler } from "./processor-topology.js";
import type { Header, RecordContext } from "./record.js";

/** A callback gives its answer at once: one that returns a promise is refused. */
export type Sync<R> = R extends PromiseLike<unknown> ? never : R;

/** A value that is there: without the null of a tombstone. */
export type Present<V> = Exclude<V, null>;

/** What every operator calls: the value, then the record that it is the value of. */
export type Callback<K, V, R> = (value: V, record: RecordContext<K>) => R;

/**
 * What must still be said before a stream's records can be stored or sent: the serde of a key or value whose type an
 * operator changed. `rekeyed`: the key was changed, so that a stateful operator needs a repartition topic, and with it both serdes.
 */
export type Due = "key" | "value" | "rekeyed";

declare const runTimeName: unique symbol;
/** A store name known only at run time, marked by `storeName`. */
export type StoreName = string & { readonly [runTimeName]: true };

/** A store's name is a topic, a metric label and what state is found by: it must be there, and be a literal. */
export type Name<N extends string> = "" extends N ? never : N;

/** Lets a name through that is known only at run time, for topologies that are built in a loop. It must be the same in every process. */
export function storeName(name: string): StoreName {
  return name as StoreName;
}

/** Optional exactly where nothing in it is required. */
export type Args<O> = Partial<O> extends O ? [options?: O] : [options: O];

type Given<Field extends "key" | "value", S, D> = Field extends D
  ? { readonly [F in Field]: S }
  : { readonly [F in Field]?: S };

export interface Named {
  /** Instead of the name made of the parent's and the operator's: for errors, metrics and `describe`. */
  readonly name?: string;
}

export interface ConsumedOptions<K, V> extends Named {
  readonly key: Serde<K>;
  readonly value: Serde<V>;
  /** The event time, milliseconds since the epoch. Not a whole number >= 0, or thrown: the record goes to `onError`. */
  readonly timestamp?: (value: NoInfer<V>, record: RecordContext<NoInfer<K>>) => number;
  readonly onError?: ErrorHandler;
  /** How far the event time may be ahead of Kafka's timestamp; beyond it the record goes to `onError`. One day by default. */
  readonly maxAheadMs?: number;
  /** Where a partition without a committed offset starts. */
  readonly startAt?: "earliest" | "latest";
}

/** Headers of an output: Kafka's own form, or an object where each name stands once. Text becomes UTF-8. */
export type HeadersOf = readonly Header[] | Readonly<Record<string, string | Uint8Array | null>>;

export interface SinkOptions<K, V> extends Named {
  readonly headers?: Callback<K, V, HeadersOf>;
  readonly partitioner?: (key: K, value: V, partitions: number) => number;
  readonly onError?: ErrorHandler;
}

/** Options of a sink: a serde is required exactly where the stream no longer knows one. */
export type Produced<K, V, D> = Given<"key", Serializer<Present<K>>, D> &
  Given<"value", Serializer<Present<V>>, D> &
  SinkOptions<K, V>;

/** The value's serde is needed only where the key was changed: then the record goes through a topic. */
type GroupDue<D> = Extract<D, "key"> | ("rekeyed" extends D ? Extract<D, "value"> : never);
/** What is still due of a grouped stream's value. */
export type GroupedValue<D> = "rekeyed" extends D ? never : Extract<D, "value">;

export type Grouped<K, V, D> = Given<"key", Serde<Present<K>>, GroupDue<D>> &
  Given<"value", Serde<Present<V>>, GroupDue<D>> &
  Named;

export type GroupedBy<L, V, D> = { readonly key: Serde<L> } & Given<"value", Serde<Present<V>>, D> & Named;

export type Repartitioned<K, V, D> = Given<"key", Serde<Present<K>>, D> &
  Given<"value", Serde<Present<V>>, D> & {
    /** By default as many as the widest topic upstream has. */
    readonly partitions?: number;
  };

export interface TableOptions {
  /** True: what changed goes on once per commit. False: each update goes on at once. True by default. */
  readonly cache?: boolean;
  /** False: not replicated, gone with its file. True by default. */
  readonly changelog?: boolean;
}

export interface WindowTableOptions extends TableOptions {
  /** How long after its start a window is kept, by stream time; size + grace by default, and never less. */
  readonly retentionMs?: number;
}

export interface SuppressOptions<V> extends Named {
  /** Holds the rows until their windows close; JSON by default. */
  readonly value?: Serde<V>;
  readonly changelog?: boolean;
}

export interface UntilWindowCloses {
  readonly until: "window-closes";
}

/** For `suppress`: one row for each window, when nothing can change it any more. */
export const untilWindowCloses: UntilWindowCloses = Object.freeze({ until: "window-closes" });

/**
 * A record that a windowed aggregate refused for all of its windows.
 *
 * `windows` are the windows it belongs to, oldest first, and `streamTimeMs` is the operator's when it came. `lateByMs` is
 * how far the stream time was past the moment in which the newest of them closed: `streamTimeMs - (end + graceMs)`, so 0
 * for a record that came in the very moment of closing.
 */
export interface Late<V> {
  readonly value: V;
  readonly windows: readonly [Window, ...Window[]];
  readonly streamTimeMs: number;
  readonly lateByMs: number;
}
