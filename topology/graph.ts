import type { Serde, Serializer } from "../serdes/serde.js";
import type { Aggregation } from "./aggregation.js";
import type { HeadersOf } from "./dsl-options.js";
import type { ErrorHandler, SourceNode } from "./processor-topology.js";
import type { RecordContext } from "./record.js";
import type { Windows } from "./windows.js";

export type NodeId = number;

/** A user's callback with its types gone: the DSL has checked them. */
export type AnyCallback = (value: unknown, record: RecordContext) => unknown;

interface NodeBase {
  readonly id: NodeId;
  /** They come before it in the graph. */
  readonly parents: readonly NodeId[];
  /** As the user gave it; else it is made of the parent's name and the operator. */
  readonly name: string | undefined;
  /** The DSL's method. */
  readonly operator: string;
}

type Source = Pick<SourceNode, "key" | "value" | "timestamp" | "maxAheadMs" | "onError" | "startAt"> & {
  readonly kind: "source";
  readonly topics: readonly string[];
};

interface Mapping {
  readonly kind: "map" | "mapValues" | "flatMap" | "flatMapValues" | "selectKey" | "peek" | "foreach";
  readonly callback: AnyCallback;
}

interface Filter {
  readonly kind: "filter";
  readonly keep: AnyCallback;
  /** The answer that lets a record through. */
  readonly pass: boolean;
}

interface Merge {
  readonly kind: "merge";
}

interface Split {
  readonly kind: "split";
}

interface Branch {
  readonly kind: "branch";
  /** Undefined: takes every record that comes to it. */
  readonly predicate: AnyCallback | undefined;
  readonly label: string;
}

/** Serdes that a topic or store between two operators needs; undefined where the stream no longer knows them. */
interface KnownSerdes {
  readonly key: Serde<unknown> | undefined;
  readonly value: Serde<unknown> | undefined;
}

interface Repartition extends KnownSerdes {
  readonly kind: "repartition";
  readonly topic: string;
  readonly partitions: number | undefined;
}

interface Group extends KnownSerdes {
  readonly kind: "group";
  readonly rekeyed: boolean;
}

export type EmitStrategy = "on-update" | "on-window-close";

interface Aggregate {
  readonly kind: "aggregate";
  readonly store: string;
  readonly aggregation: Aggregation;
  readonly key: Serde<unknown> | undefined;
  readonly value: Serde<unknown>;
  readonly cache: boolean;
  readonly changelog: boolean;
  readonly windowed:
    | { readonly windows: Windows; readonly retentionMs: number; readonly emit: EmitStrategy }
    | undefined;
}

interface LateSide {
  readonly kind: "late";
}

interface TableFilter {
  readonly kind: "table-filter";
  readonly keep: AnyCallback;
  readonly pass: boolean;
}

interface TableMapValues {
  readonly kind: "table-map-values";
  readonly map: AnyCallback;
}

interface Suppress {
  readonly kind: "suppress";
  readonly store: string;
  readonly value: Serde<unknown>;
  readonly changelog: boolean;
}

interface ToStream {
  readonly kind: "to-stream";
  readonly selectKey: AnyCallback | undefined;
}

interface Sink {
  readonly kind: "sink";
  readonly topic: string | ((value: unknown, record: RecordContext) => string);
  readonly key: Serializer<unknown> | undefined;
  readonly value: Serializer<unknown> | undefined;
  readonly headers: ((value: unknown, record: RecordContext) => HeadersOf) | undefined;
  readonly partitioner: ((key: unknown, value: unknown, partitions: number) => number) | undefined;
  readonly onError: ErrorHandler | undefined;
}

/** What an operator is; what the compiler's switches go by. */
export type NodeSpec =
  | Source
  | Mapping
  | Filter
  | Merge
  | Split
  | Branch
  | Repartition
  | Group
  | Aggregate
  | LateSide
  | TableFilter
  | TableMapValues
  | Suppress
  | ToStream
  | Sink;

export type GraphNode = NodeBase & NodeSpec;
/** The node of one kind. */
export type NodeOf<Kind extends GraphNode["kind"]> = NodeBase & Extract<NodeSpec, { readonly kind: Kind }>;

/** What the DSL writes down: frozen nodes, each after its parents. It is read by the compiler only. */
export class Graph {
  readonly #nodes: GraphNode[] = [];

  get nodes(): readonly GraphNode[] {
    return this.#nodes;
  }

  add(
    spec: NodeSpec,
    place: { readonly parents: readonly NodeId[]; readonly operator: string; readonly name?: string | undefined },
  ): NodeId {
    const id = this.#nodes.length;
    const base: NodeBase = {
      id,
      parents: Object.freeze([...place.parents]),
      operator: place.operator,
      name: place.name,
    };
    this.#nodes.push(Object.freeze({ ...spec, ...base }));
    return id;
  }

  node(id: NodeId): GraphNode {
    const node = this.#nodes[id];
    if (node === undefined) throw new RangeError(`the graph has no node ${id}`);
    return node;
  }

  /** In the order in which they were added. */
  children(id: NodeId): readonly GraphNode[] {
    return this.#nodes.filter((node) => node.parents.includes(id));
  }
}
