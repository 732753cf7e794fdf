import { unvalidatedFields, unvalidatedJson } from "../serdes/json.js";
import { int64, type Serde, type Serializer } from "../serdes/serde.js";
import { windowed } from "../serdes/windowed.js";
import {
  type Aggregation,
  countAggregation,
  customAggregation,
  namedAggregation,
  reduceAggregation,
} from "./aggregation.js";
import type { AnyAggregator } from "./aggregators.js";
import { compile } from "./compile.js";
import type { ConsumedOptions, HeadersOf, Named, TableOptions, UntilWindowCloses } from "./dsl-options.js";
import type { KGroupedStream, KStream, KTable, SplitStream, TableView, TimeWindowedKStream } from "./dsl-types.js";
import { StreamsError } from "./errors.js";
import { type AnyCallback, type EmitStrategy, Graph, type NodeId, type NodeSpec } from "./graph.js";
import type { ErrorHandler, ProcessorTopology } from "./processor-topology.js";
import type { RecordContext } from "./record.js";
import type { Windows } from "./windows.js";

// The types stand in dsl-types.ts and are what users see. The classes here are written without them: they only append
// nodes, and the one cast from one to the other is in `StreamsBuilder.stream`.

const MAX_AHEAD_MS = 86_400_000;
const anyJson = unvalidatedJson<NonNullable<unknown>>() as Serde<unknown>;

/** Where a stream or table stands in the graph, and what is known there of its bytes. */
interface Place {
  readonly graph: Graph;
  readonly node: NodeId;
  readonly key: Serde<unknown> | undefined;
  readonly value: Serde<unknown> | undefined;
  /** The key is no longer the one that the records are partitioned by. */
  readonly rekeyed: boolean;
}

interface Serdes {
  readonly key?: Serde<unknown>;
  readonly value?: Serde<unknown>;
}

/** Every method of the public interface, so that none is forgotten; what it takes and gives is said there. */
type MethodsOf<T> = Readonly<Record<keyof T, unknown>>;

/** The place of a new node below `above`; what `changes` leaves out stays as it is there. */
function below(
  above: Place,
  operator: string,
  spec: NodeSpec,
  options: Named = {},
  changes: Partial<Place> = {},
): Place {
  const node = above.graph.add(spec, { parents: [above.node], operator, name: options.name });
  return { ...above, ...changes, node };
}

class StreamNode implements MethodsOf<KStream<unknown, unknown>> {
  readonly #place: Place;

  constructor(place: Place) {
    this.#place = place;
  }

  filter(keep: AnyCallback, options?: Named): StreamNode {
    return this.#add("filter", { kind: "filter", keep, pass: true }, options);
  }

  filterNot(keep: AnyCallback, options?: Named): StreamNode {
    return this.#add("filterNot", { kind: "filter", keep, pass: false }, options);
  }

  mapValues(callback: AnyCallback, options?: Named & Serdes): StreamNode {
    return this.#add("mapValues", { kind: "mapValues", callback }, options, { value: options?.value });
  }

  flatMapValues(callback: AnyCallback, options?: Named & Serdes): StreamNode {
    return this.#add("flatMapValues", { kind: "flatMapValues", callback }, options, { value: options?.value });
  }

  map(callback: AnyCallback, options?: Named & Serdes): StreamNode {
    const changes = { key: options?.key, value: options?.value, rekeyed: true };
    return this.#add("map", { kind: "map", callback }, options, changes);
  }

  flatMap(callback: AnyCallback, options?: Named & Serdes): StreamNode {
    const changes = { key: options?.key, value: options?.value, rekeyed: true };
    return this.#add("flatMap", { kind: "flatMap", callback }, options, changes);
  }

  selectKey(callback: AnyCallback, options?: Named & Serdes): StreamNode {
    return this.#add("selectKey", { kind: "selectKey", callback }, options, { key: options?.key, rekeyed: true });
  }

  peek(callback: AnyCallback, options?: Named): StreamNode {
    return this.#add("peek", { kind: "peek", callback }, options);
  }

  foreach(callback: AnyCallback, options?: Named): void {
    this.#add("foreach", { kind: "foreach", callback }, options);
  }

  merge(other: StreamNode, options?: Named): StreamNode {
    const [one, two] = [this.#place, other.#place];
    if (one.graph !== two.graph) {
      throw new StreamsError("FOREIGN_STREAM", "merge: the streams come from different builders; build both from one");
    }
    const parents = [one.node, two.node];
    const node = one.graph.add({ kind: "merge" }, { parents, operator: "merge", name: options?.name });
    const key = two.key && one.key;
    return new StreamNode({ ...one, node, key, value: two.value && one.value, rekeyed: one.rekeyed || two.rekeyed });
  }

  split(options?: Named): SplitNode {
    return new SplitNode(below(this.#place, "split", { kind: "split" }, options));
  }

  repartition(name: string, options?: Serdes & { readonly partitions?: number }): StreamNode {
    const { key, value } = { ...this.#place, ...options };
    const spec: NodeSpec = { kind: "repartition", topic: name, key, value, partitions: options?.partitions };
    return this.#add("repartition", spec, {}, { key, value, rekeyed: false });
  }

  groupByKey(options?: Named & Serdes): GroupedNode {
    const { key, value, rekeyed } = { ...this.#place, ...options };
    const spec: NodeSpec = { kind: "group", key, value, rekeyed };
    return new GroupedNode(below(this.#place, "groupByKey", spec, options, { key, value, rekeyed: false }));
  }

  groupBy(callback: AnyCallback, options: Named & Serdes): GroupedNode {
    const selected = below(
      this.#place,
      "groupBy",
      { kind: "selectKey", callback },
      {},
      { key: options.key, rekeyed: true },
    );
    return new StreamNode(selected).groupByKey(options);
  }

  to(topic: string | AnyCallback, options: AnySinkOptions = {}): void {
    this.#add(
      "to",
      {
        kind: "sink",
        topic: topic as string | ((value: unknown, record: RecordContext) => string),
        key: options.key ?? this.#place.key,
        value: options.value ?? this.#place.value,
        headers: options.headers,
        partitioner: options.partitioner,
        onError: options.onError,
      },
      options,
    );
  }

  #add(operator: string, spec: NodeSpec, options?: Named, changes?: Partial<Place>): StreamNode {
    return new StreamNode(below(this.#place, operator, spec, options, changes));
  }
}

interface AnySinkOptions extends Named {
  readonly key?: Serializer<unknown>;
  readonly value?: Serializer<unknown>;
  readonly headers?: (value: unknown, record: RecordContext) => HeadersOf;
  readonly partitioner?: (key: unknown, value: unknown, partitions: number) => number;
  readonly onError?: ErrorHandler;
}

type BranchConsumer = (branch: StreamNode) => void;
type BranchStreams = Readonly<Record<string, StreamNode>>;

class SplitNode implements MethodsOf<SplitStream<unknown, unknown>> {
  readonly #place: Place;
  readonly #branches: BranchStreams;
  readonly #position: number;

  constructor(place: Place, branches: BranchStreams = {}, position = 0) {
    this.#place = place;
    this.#branches = branches;
    this.#position = position;
  }

  branch(predicate: AnyCallback, how?: string | BranchConsumer): SplitNode {
    const position = this.#position + 1;
    return new SplitNode(this.#place, this.#add(predicate, how, String(position)), position);
  }

  defaultBranch(how?: string | BranchConsumer): BranchStreams {
    return this.#add(undefined, how, "default");
  }

  noDefaultBranch(): BranchStreams {
    return this.#branches;
  }

  #add(predicate: AnyCallback | undefined, how: string | BranchConsumer | undefined, unnamed: string): BranchStreams {
    const label = typeof how === "string" ? how : unnamed;
    const stream = new StreamNode(below(this.#place, label, { kind: "branch", predicate, label }));
    if (typeof how !== "function") return { ...this.#branches, [label]: stream };
    how(stream);
    return this.#branches;
  }
}

/** The serde of what a store holds, and of what the table's readers see, where that is known. */
interface AggregateValue {
  readonly stored: Serde<unknown>;
  readonly known: Serde<unknown> | undefined;
}

interface AnyTableOptions extends TableOptions {
  readonly retentionMs?: number;
}

interface AnyCustomAggregate extends AnyTableOptions {
  readonly initial: () => unknown;
  readonly add: (state: unknown, value: unknown, record: RecordContext) => unknown;
  readonly value?: Serde<unknown>;
}

function isCustom(what: object): what is AnyCustomAggregate {
  return "initial" in what && typeof what.initial === "function";
}

class GroupedNode implements MethodsOf<KGroupedStream<unknown, unknown> & TimeWindowedKStream<unknown, unknown>> {
  readonly #place: Place;
  readonly #windows: Windows | undefined;
  readonly #emit: EmitStrategy;

  constructor(place: Place, windows?: Windows, emit: EmitStrategy = "on-update") {
    this.#place = place;
    this.#windows = windows;
    this.#emit = emit;
  }

  windowedBy(windows: Windows): GroupedNode {
    return new GroupedNode(this.#place, windows);
  }

  emit(when: EmitStrategy): GroupedNode {
    return new GroupedNode(this.#place, this.#windows, when);
  }

  count(name: string, options?: AnyTableOptions): TableNode {
    const int = int64 as Serde<unknown>;
    return this.#table("count", name, countAggregation(), { stored: int, known: int }, options);
  }

  reduce(
    name: string,
    reducer: (aggregate: unknown, value: unknown, record: RecordContext) => unknown,
    options?: AnyTableOptions,
  ): TableNode {
    const known = this.#place.value;
    return this.#table("reduce", name, reduceAggregation(reducer), { stored: known ?? anyJson, known }, options);
  }

  aggregate(
    name: string,
    what: AnyCustomAggregate | Readonly<Record<string, AnyAggregator<unknown>>>,
    options?: AnyTableOptions & { readonly value?: Serde<unknown> },
  ): TableNode {
    if (isCustom(what)) {
      const value = { stored: what.value ?? anyJson, known: what.value };
      return this.#table("aggregate", name, customAggregation(what.initial, what.add), value, what);
    }
    const rows = unvalidatedFields(Object.keys(what)) as Serde<unknown>;
    const value = { stored: options?.value ?? rows, known: undefined };
    return this.#table("aggregate", name, namedAggregation(what), value, options);
  }

  #table(
    operator: string,
    store: string,
    aggregation: Aggregation,
    value: AggregateValue,
    options: AnyTableOptions = {},
  ): TableNode {
    const { key } = this.#place;
    const windows = this.#windows;
    const windowed_ = windows && {
      windows,
      retentionMs: options.retentionMs ?? windows.sizeMs + windows.graceMs,
      emit: this.#emit,
    };
    const spec: NodeSpec = {
      kind: "aggregate",
      store,
      aggregation,
      key,
      value: value.stored,
      cache: options.cache ?? true,
      changelog: options.changelog ?? true,
      windowed: windowed_,
    };
    const tableKey = key && windows ? (windowed(key, windows) as Serde<unknown>) : key;
    const place = below(this.#place, operator, spec, {}, { key: tableKey, value: value.known });
    const view: TableView = { store, sizeMs: windows?.sizeMs, read: aggregation.result };
    return windows === undefined ? new TableNode(place, view) : new WindowedTableNode(place, view, this.#place);
  }
}

function isCallback(how: AnyCallback | Named | undefined): how is AnyCallback {
  return typeof how === "function";
}

class TableNode implements MethodsOf<KTable<unknown, unknown>> {
  readonly view: TableView;
  readonly #place: Place;

  constructor(place: Place, view: TableView) {
    this.#place = place;
    this.view = view;
  }

  get storeName(): string {
    return this.view.store;
  }

  toStream(how?: AnyCallback | Named, withSelector?: Named & Serdes): StreamNode {
    const [selectKey, options] = isCallback(how) ? [how, withSelector] : [undefined, how];
    const changes = selectKey === undefined ? {} : { key: withSelector?.key, rekeyed: true };
    return new StreamNode(below(this.#place, "toStream", { kind: "to-stream", selectKey }, options, changes));
  }

  filter(keep: AnyCallback, options?: Named): TableNode {
    return this.#filtered("filter", keep, true, options);
  }

  filterNot(keep: AnyCallback, options?: Named): TableNode {
    return this.#filtered("filterNot", keep, false, options);
  }

  mapValues(map: AnyCallback, options?: Named & Serdes): TableNode {
    const place = below(this.#place, "mapValues", { kind: "table-map-values", map }, options, {
      value: options?.value,
    });
    return new TableNode(
      place,
      readThrough(this.view, (value, record) => map(value, record)),
    );
  }

  suppress(_until: UntilWindowCloses, options: SuppressNodeOptions = {}): TableNode {
    const store = options.name ?? `${this.storeName}-suppress`;
    const value = options.value ?? this.#place.value ?? anyJson;
    const spec: NodeSpec = { kind: "suppress", store, value, changelog: options.changelog ?? true };
    return new TableNode(below(this.#place, "suppress", spec, options), this.view);
  }

  #filtered(operator: string, keep: AnyCallback, pass: boolean, options: Named | undefined): TableNode {
    const place = below(this.#place, operator, { kind: "table-filter", keep, pass }, options);
    return new TableNode(
      place,
      readThrough(this.view, (value, record) => (Boolean(keep(value, record)) === pass ? value : null)),
    );
  }
}

interface SuppressNodeOptions extends Named {
  readonly value?: Serde<unknown>;
  readonly changelog?: boolean;
}

/** A view of a view: `see` is not called for a row that the one below does not have. */
function readThrough(view: TableView, see: AnyCallback): TableView {
  const read: TableView["read"] = (state, record) => {
    const value = view.read(state, record);
    return value === null ? null : see(value, record);
  };
  return { ...view, read };
}

class WindowedTableNode extends TableNode {
  readonly #records: Place;
  readonly #table: Place;
  #late: StreamNode | undefined;

  /** `records` is where the aggregated records come from: the late ones still have their key. */
  constructor(table: Place, view: TableView, records: Place) {
    super(table, view);
    this.#table = table;
    this.#records = records;
  }

  get late(): StreamNode {
    const { key } = this.#records;
    this.#late ??= new StreamNode(below(this.#table, "late", { kind: "late" }, {}, { key, value: undefined }));
    return this.#late;
  }
}

/**
 * Where a topology begins: streams are read from topics here, and what they pass through is written down. `build` makes of
 * it what `KafkaStreams` and `TopologyTestDriver` run.
 */
export class StreamsBuilder {
  readonly #graph = new Graph();

  /**
   * A stream of one topic or of several with the same serdes. To use a topic twice keep the stream, and use that twice.
   *
   * A null value on a topic is passed on as null, whatever the type says: say `nullable(serde)` where it can come.
   */
  stream<K, V>(topic: string | readonly string[], options: ConsumedOptions<K, V>): KStream<K, V> {
    const key = options.key as Serde<unknown>;
    const value = options.value as Serde<unknown>;
    const spec: NodeSpec = {
      kind: "source",
      topics: typeof topic === "string" ? [topic] : [...topic],
      key,
      value,
      timestamp: options.timestamp as ((value: unknown, record: RecordContext) => number) | undefined,
      maxAheadMs: options.maxAheadMs ?? MAX_AHEAD_MS,
      onError: options.onError,
      startAt: options.startAt,
    };
    const node = this.#graph.add(spec, { parents: [], operator: "stream", name: options.name });
    return new StreamNode({ graph: this.#graph, node, key, value, rekeyed: false }) as unknown as KStream<K, V>;
  }

  /** @throws TopologyError with everything that is wrong with it */
  build(): ProcessorTopology {
    return compile(this.#graph);
  }
}
