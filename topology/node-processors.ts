import type { Graph, GraphNode, NodeId, NodeOf } from "./graph.js";
import type { ProcessorFactory } from "./processor.js";
import { aggregateProcessor } from "./processors/aggregate.js";
import * as stateless from "./processors/stateless.js";
import { suppressProcessor } from "./processors/suppress.js";
import { tableFilterProcessor, tableMapValuesProcessor, toStreamProcessor } from "./processors/table.js";
import { windowAggregateProcessor } from "./processors/window-aggregate.js";
import type { StoreSpec } from "./state-store.js";
import type { Windows } from "./windows.js";

/** The kinds of node that become a processor; the others become sources, sinks and repartition topics. */
export type ProcessorGraphNode = Exclude<GraphNode, { readonly kind: "source" | "sink" | "group" | "repartition" }>;

export interface ChosenProcessor {
  readonly create: ProcessorFactory;
  readonly store?: StoreSpec;
  /** It has a clock. */
  readonly timed?: true;
  /** The child, by its position, that is not given what goes to all. */
  readonly sideChild?: number | undefined;
}

export function chooseProcessor(graph: Graph, node: ProcessorGraphNode): ChosenProcessor {
  switch (node.kind) {
    case "filter":
      return { create: stateless.filterProcessor(node.keep, node.pass) };
    case "mapValues":
      return { create: stateless.mapValuesProcessor(node.callback) };
    case "flatMapValues":
      return { create: stateless.flatMapValuesProcessor(node.callback) };
    case "map":
      return { create: stateless.mapProcessor(node.callback) };
    case "flatMap":
      return { create: stateless.flatMapProcessor(node.callback) };
    case "selectKey":
      return { create: stateless.selectKeyProcessor(node.callback) };
    case "peek":
    case "foreach":
      return { create: stateless.peekProcessor(node.callback) };
    case "merge":
    case "branch":
    case "late":
      return { create: stateless.passThroughProcessor };
    case "split":
      return { create: stateless.splitProcessor(predicates(graph, node)) };
    case "aggregate":
      return node.windowed === undefined ? aggregate(graph, node) : windowAggregate(graph, node, node.windowed);
    case "table-filter":
      return { create: tableFilterProcessor(node.keep, node.pass) };
    case "table-map-values":
      return { create: tableMapValuesProcessor(node.map) };
    case "to-stream":
      return { create: toStreamProcessor(node.selectKey) };
    case "suppress":
      return suppress(graph, node);
  }
}

function predicates(graph: Graph, split: NodeOf<"split">) {
  return graph.children(split.id).map((child) => (child.kind === "branch" ? child.predicate : undefined));
}

function aggregate(graph: Graph, node: NodeOf<"aggregate">): ChosenProcessor {
  const { store, aggregation, cache, changelog, key, value } = node;
  return {
    create: aggregateProcessor({ store, aggregation, cache, sendsOldValues: needsOldValues(graph, node.id) }),
    store: {
      kind: "key-value",
      name: store,
      key: known(key),
      value,
      changelog,
      fields: aggregation.fields,
      result: aggregation.result,
    },
  };
}

function windowAggregate(
  graph: Graph,
  node: NodeOf<"aggregate">,
  { windows, retentionMs, emit }: NonNullable<NodeOf<"aggregate">["windowed"]>,
): ChosenProcessor {
  const { store, aggregation, cache, changelog, key, value } = node;
  const sendsOldValues = needsOldValues(graph, node.id);
  const late = graph.children(node.id).findIndex((child) => child.kind === "late");
  const lateChild = late === -1 ? undefined : late;
  const options = { store, aggregation, cache, sendsOldValues, windows, retentionMs, emit, lateChild };
  return {
    create: windowAggregateProcessor(options),
    store: {
      kind: "window",
      name: store,
      key: known(key),
      value,
      changelog,
      sizeMs: windows.sizeMs,
      advanceMs: windows.advanceMs,
      retentionMs,
      fields: aggregation.fields,
      result: aggregation.result,
    },
    timed: true,
    sideChild: lateChild,
  };
}

function suppress(graph: Graph, node: NodeOf<"suppress">): ChosenProcessor {
  const source = windowedSource(graph, node.id);
  if (source === undefined)
    throw new RangeError("suppress stands below a windowed aggregate: validate() has seen to that");
  const { sizeMs, advanceMs, graceMs } = source.windows;
  return {
    create: suppressProcessor({ store: node.store, sizeMs, graceMs }),
    store: {
      kind: "window",
      name: node.store,
      key: known(source.key),
      value: node.value,
      changelog: node.changelog,
      sizeMs,
      advanceMs,
      retentionMs: sizeMs + graceMs,
    },
    timed: true,
  };
}

interface WindowedSource {
  readonly windows: Windows;
  readonly key: NodeOf<"aggregate">["key"];
  /** The rows are final already. */
  readonly final: boolean;
}

/** The windowed aggregate that a table comes from, through views and suppressions of it. */
export function windowedSource(graph: Graph, table: NodeId): WindowedSource | undefined {
  let final = false;
  for (let id: NodeId | undefined = graph.node(table).parents[0]; id !== undefined; id = graph.node(id).parents[0]) {
    const node: GraphNode = graph.node(id);
    if (node.kind === "suppress") final = true;
    if (node.kind !== "aggregate") continue;
    const { windowed, key } = node;
    return windowed && { windows: windowed.windows, key, final: final || windowed.emit === "on-window-close" };
  }
  return undefined;
}

/** A filter below, directly or behind mapped values, goes by what a row was before; nobody else asks. */
function needsOldValues(graph: Graph, table: NodeId): boolean {
  return graph
    .children(table)
    .some(
      (child) =>
        child.kind === "table-filter" || (child.kind === "table-map-values" && needsOldValues(graph, child.id)),
    );
}

function known<T>(serde: T | undefined): T {
  if (serde === undefined) throw new RangeError("the key's serde is known: validate() has seen to that");
  return serde;
}
