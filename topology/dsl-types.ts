import type { Serde } from "../serdes/serde.js";
import type { Windowed } from "../serdes/windowed.js";
import type { AnyAggregator, ResultOf, StateOf } from "./aggregators.js";
import type {
  Args,
  Callback,
  Due,
  Grouped,
  GroupedBy,
  GroupedValue,
  Late,
  Name,
  Named,
  Present,
  Produced,
  Repartitioned,
  SuppressOptions,
  Sync,
  TableOptions,
  UntilWindowCloses,
  WindowTableOptions,
} from "./dsl-options.js";
import type { EmitStrategy } from "./graph.js";
import type { RecordContext } from "./record.js";
import type { Windows } from "./windows.js";

type Guard<K, V, U extends V> = (value: V, record: RecordContext<K>) => value is U;
type Pair<K, V> = { readonly key: K; readonly value: V };
type WithKey<K> = Named & { readonly key: Serde<K> };
type WithValue<V> = Named & { readonly value: Serde<V> };

/**
 * A stream of records: each is an insert. `D` is what is still due before they can be stored or sent; `never` at first.
 *
 * Callbacks are synchronous and get `(value, record)`; the record is reused, and valid during the call. A null key or
 * value is passed to them as any other: declare it with `nullable(serde)` where the topic has such records. A `name` in
 * the options is for errors, metrics and `describe`.
 */
export interface KStream<K, V, D extends Due = never> {
  /** Keeps the records for which `keep` is true. */
  filter<U extends V>(keep: Guard<K, V, U>, options?: Named): KStream<K, U, D>;
  filter(keep: Callback<K, V, boolean>, options?: Named): KStream<K, V, D>;
  /** Drops the records for which `drop` is true. */
  filterNot<U extends V>(drop: Guard<K, V, U>, options?: Named): KStream<K, Exclude<V, U>, D>;
  filterNot(drop: Callback<K, V, boolean>, options?: Named): KStream<K, V, D>;

  /** A new value under the same key. With `value`, what stands below knows its serde. */
  mapValues<U>(map: Callback<K, V, NoInfer<U>>, options: WithValue<U>): KStream<K, U, Exclude<D, "value">>;
  mapValues<U>(map: Callback<K, V, Sync<U>>, options?: Named): KStream<K, U, D | "value">;
  /** Any number of values under the same key, in order. */
  flatMapValues<U>(
    map: Callback<K, V, readonly NoInfer<U>[]>,
    options: WithValue<U>,
  ): KStream<K, U, Exclude<D, "value">>;
  flatMapValues<U>(map: Callback<K, V, readonly U[]>, options?: Named): KStream<K, U, D | "value">;

  /** A new key and value. A stateful operator below gets a repartition topic. */
  map<L, U>(
    map: Callback<K, V, Pair<NoInfer<L>, NoInfer<U>>>,
    options: WithKey<L> & WithValue<U>,
  ): KStream<L, U, "rekeyed">;
  map<L, U>(map: Callback<K, V, Pair<L, U>>, options?: Named): KStream<L, U, Due>;
  /** Any number of records from one, in order. A stateful operator below gets a repartition topic. */
  flatMap<L, U>(
    map: Callback<K, V, readonly Pair<NoInfer<L>, NoInfer<U>>[]>,
    options: WithKey<L> & WithValue<U>,
  ): KStream<L, U, "rekeyed">;
  flatMap<L, U>(map: Callback<K, V, readonly Pair<L, U>[]>, options?: Named): KStream<L, U, Due>;
  /** A new key for the same value. A stateful operator below gets a repartition topic, which drops null keys. */
  selectKey<L>(select: Callback<K, V, NoInfer<L>>, options: WithKey<L>): KStream<L, V, Exclude<D, "key"> | "rekeyed">;

  /** Looks at each record and passes it on as it is. */
  peek<R>(look: Callback<K, V, Sync<R>>, options?: Named): KStream<K, V, D>;
  /** Looks at each record; the stream ends here. */
  foreach<R>(look: Callback<K, V, Sync<R>>, options?: Named): void;
  /**
   * The records of both, in no promised order between them. This stream's serde goes on, so it stays known where it can
   * write the other's values as well.
   */
  merge<U, E extends Due>(
    other: KStream<K, U, E>,
    options?: Named,
  ): KStream<K, V | U, D | E | ([Present<U>] extends [Present<V>] ? never : "value")>;
  /** Begins to divide the stream: each record goes to the first branch that takes it. */
  split(options?: Named): SplitStream<K, V, D>;

  /** Through the topic `<application id>-<name>-repartition`, partitioned by the key. Null keys are dropped. */
  repartition<N extends string>(name: Name<N>, ...options: Args<Repartitioned<K, V, D>>): KStream<K, V>;
  /**
   * By the key as it is; after a change of key through a repartition topic. That is `<store>-repartition` after the
   * group's first stateful operator or, with `name`, `<name>-repartition`; all operators of one group share it.
   */
  groupByKey(...options: Args<Grouped<K, V, D>>): KGroupedStream<Present<K>, V, GroupedValue<D>>;
  /** By a new key, through a repartition topic as `groupByKey` has it; a record whose new key is null is dropped. */
  groupBy<L>(select: Callback<K, V, NoInfer<L> | null>, options: GroupedBy<L, V, D>): KGroupedStream<Present<L>, V>;

  /** Into a topic, or one chosen for each record. A null value becomes a tombstone, and reaches no serde. */
  to(topic: string | Callback<K, V, string>, ...options: Args<Produced<K, V, D>>): void;
}

type Branches = Readonly<Record<never, never>>;
type Position<Before extends readonly unknown[]> = `${[...Before, unknown]["length"] & number}`;
type With<B, N extends string, S> = { readonly [F in keyof B | N]: F extends keyof B ? B[F] : S };

/**
 * A stream being divided. A record goes to the first branch whose predicate holds; what none takes goes to the default
 * branch, or is dropped. The result has the branches by their names: one without a name is called by its position,
 * counted from 1 over all branches, one that was given a consumer is not in it.
 */
export interface SplitStream<K, V, D extends Due = never, B = Branches, Before extends readonly unknown[] = []> {
  branch(
    takes: Callback<K, V, boolean>,
    consumer: (branch: KStream<K, V, D>) => void,
  ): SplitStream<K, V, D, B, [...Before, unknown]>;
  branch<U extends V, N extends string = Position<Before>>(
    takes: Guard<K, V, U>,
    name?: N,
  ): SplitStream<K, Exclude<V, U>, D, With<B, N, KStream<K, U, D>>, [...Before, unknown]>;
  branch<N extends string = Position<Before>>(
    takes: Callback<K, V, boolean>,
    name?: N,
  ): SplitStream<K, V, D, With<B, N, KStream<K, V, D>>, [...Before, unknown]>;
  /** Takes what no branch has taken. */
  defaultBranch(consumer: (branch: KStream<K, V, D>) => void): B;
  defaultBranch<N extends string = "default">(name?: N): With<B, N, KStream<K, V, D>>;
  /** What no branch has taken is dropped. */
  noDefaultBranch(): B;
}

interface CustomAggregate<K, V, S, R> {
  readonly initial: () => S;
  readonly add: (state: NoInfer<S>, value: Present<V>, record: RecordContext<K>) => R;
}

/** What an aggregate has with and without windows: `Key` is its table's key, `More` what its table has beside. */
interface Aggregations<K, V, Key, D extends Due, Options, More> {
  /** How many records each key has. */
  count<N extends string>(name: Name<N>, options?: Options): KTable<Key, number, N> & More;
  /** The first value of a key as it is, then `reducer(so far, value)`. Null deletes the row. */
  reduce<N extends string, R extends Present<V> | null>(
    name: Name<N>,
    reducer: (aggregate: Present<V>, value: Present<V>, record: RecordContext<K>) => R,
    options?: Options,
  ): KTable<Key, Present<V> | Extract<R, null>, N, Extract<D, "value">> & More;
  /** Several aggregates as the fields of one object: `aggregate("per-user", { n: count(), total: sum((p) => p.cents) })`. */
  aggregate<N extends string, A extends Readonly<Record<string, AnyAggregator<Present<V>>>>>(
    name: Name<N>,
    fields: A,
    options?: Options & {
      /** Holds the aggregators' states, by field; unchecked JSON by default. */
      readonly value?: Serde<{ readonly [F in keyof A]: StateOf<A[F]> }>;
    },
  ): KTable<Key, { [F in keyof A]: ResultOf<A[F]> }, N, "value"> & More;
  /** `add(so far, value)`, from `initial()` on; null deletes the row. Without `value` the state is held as unchecked JSON. */
  aggregate<N extends string, S, R extends S | null>(
    name: Name<N>,
    options: CustomAggregate<K, V, S, R> & { readonly value: Serde<S> } & Options,
  ): KTable<Key, S | Extract<R, null>, N> & More;
  aggregate<N extends string, S, R extends S | null>(
    name: Name<N>,
    options: CustomAggregate<K, V, S, R> & Options,
  ): KTable<Key, S | Extract<R, null>, N, "value"> & More;
}

/**
 * Records by key. A stateful operator's first argument is the name of its store, its changelog and its metrics. Records
 * without a key or value are dropped and counted. A row's timestamp is the largest that went into it; after a deletion it
 * begins again.
 */
export interface KGroupedStream<K, V, D extends Due = never> extends Aggregations<K, V, K, D, TableOptions, unknown> {
  windowedBy(windows: Windows): TimeWindowedKStream<K, V, D>;
}

export interface TimeWindowedKStream<K, V, D extends Due = never>
  extends Aggregations<K, V, Windowed<K>, D, WindowTableOptions, LateSide<K, V>> {
  /** At each update (the default), or once for each window, when it has closed: `suppress` without a second store. */
  emit(when: EmitStrategy): TimeWindowedKStream<K, V, D>;
}

export interface LateSide<K, V> {
  /** The records that all their windows refused, once each: not aggregated, not lost. The timestamps are their own. */
  readonly late: KStream<K, Late<Present<V>>, "value">;
}

/**
 * The latest row of each key, as a stateful operator keeps it. `V` has null in it where rows can be deleted: that is what
 * `toStream` gives for them. Callbacks are never called for a deleted row.
 */
export interface KTable<K, V, N extends string = string, D extends Due = never> {
  /** The store it is read from; a filtered or mapped table is a view of it. */
  readonly storeName: N;
  /** How `KafkaStreams.store` and the test driver read it. */
  readonly view: TableView;
  /** The updates as records; with a selector under another key. */
  toStream(options?: Named): KStream<K, V, D>;
  toStream<L>(select: Callback<K, V, NoInfer<L>>, options: WithKey<L>): KStream<L, V, D | "rekeyed">;
  /** A row that does not match is as if deleted. Callbacks may be called for what a row was before, too. */
  filter(keep: Callback<K, Present<V>, boolean>, options?: Named): KTable<K, V | null, N, D>;
  filterNot(drop: Callback<K, Present<V>, boolean>, options?: Named): KTable<K, V | null, N, D>;
  mapValues<U>(
    map: Callback<K, Present<V>, NoInfer<U>>,
    options: WithValue<Present<U>>,
  ): KTable<K, U | Extract<V, null>, N>;
  mapValues<U>(map: Callback<K, Present<V>, Sync<U>>, options?: Named): KTable<K, U | Extract<V, null>, N, "value">;
  /** Holds each row back until its window has closed: one final row per window. Its buffer is the store `<store>-suppress`. */
  suppress(
    ...args: K extends Windowed<unknown>
      ? [until: UntilWindowCloses, options?: SuppressOptions<Present<V>>]
      : [until: "only a windowed table has windows that close"]
  ): KTable<K, Present<V>, N, D>;
}

/** What a reader of a table needs: which store, and how a stored state becomes the table's value. */
export interface TableView {
  readonly store: string;
  /** Undefined: a key-value store. */
  readonly sizeMs: number | undefined;
  /** Null: the row is not in this table. The record has the row's key and timestamp. */
  readonly read: (state: unknown, record: RecordContext) => unknown;
}
