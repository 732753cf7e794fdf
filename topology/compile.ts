import type { HeadersOf } from "./dsl-options.js";
import { TopologyError } from "./errors.js";
import type { Graph, GraphNode, NodeId, NodeOf } from "./graph.js";
import { type NodeNames, nameNodes, repartitionNodes } from "./node-names.js";
import { chooseProcessor } from "./node-processors.js";
import type { ProcessorTopology, SinkNode, SourceNode } from "./processor-topology.js";
import { dropNullKeysProcessor } from "./processors/stateless.js";
import type { Header } from "./record.js";
import { cutSubTopologies, type FlatTopology } from "./sub-topologies.js";
import { readsTheSame, validate } from "./validate.js";

/**
 * Makes of a graph what the runtime executes: checks it, names its nodes, puts repartition topics where a changed key
 * meets state, chooses the processors and cuts it into sub-topologies.
 *
 * @throws TopologyError with everything that is wrong, not only the first thing
 */
export function compile(graph: Graph): ProcessorTopology {
  const names = nameNodes(graph);
  const faults = validate(graph, names);
  if (faults.length > 0) throw new TopologyError(faults);
  return cutSubTopologies(flatten(graph, names));
}

/** The graph's nodes as nodes of the compiled topology, with repartition topics between them, in an order where parents come first. */
function flatten(graph: Graph, names: NodeNames): FlatTopology {
  const flat = new Flattening(graph, names);
  for (const node of graph.nodes) flat.add(node);
  return flat;
}

class Flattening implements FlatTopology {
  readonly sources: SourceNode[] = [];
  readonly processors: FlatTopology["processors"][number][] = [];
  readonly sinks: SinkNode[] = [];
  readonly children = new Map<string, string[]>();
  readonly stores: FlatTopology["stores"][number][] = [];

  readonly #graph: Graph;
  readonly #names: NodeNames;
  /** By node of the graph: whose records its children get. */
  readonly #output = new Map<NodeId, string>();

  constructor(graph: Graph, names: NodeNames) {
    this.#graph = graph;
    this.#names = names;
  }

  add(node: GraphNode): void {
    this.#output.set(node.id, this.#flatten(node));
  }

  #flatten(node: GraphNode): string {
    const name = this.#names.of.get(node.id) ?? "";
    switch (node.kind) {
      case "source":
        return this.#source(name, node);
      case "sink":
        this.sinks.push(sinkOf(name, node));
        return this.#connect(node, name);
      case "group":
        if (!node.rekeyed || this.#graph.children(node.id).length === 0) return this.#inputs(node)[0] ?? name;
        return this.#repartition(node, this.#names.repartition.get(node.id) ?? name, undefined);
      case "repartition":
        return this.#repartition(node, node.topic, node.partitions);
      default: {
        const { create, store, timed, sideChild } = chooseProcessor(this.#graph, node);
        if (store !== undefined) this.stores.push(store);
        const stores = store === undefined ? [] : [store.name];
        this.processors.push({ name, create, stores, timed: timed === true, sideChild });
        return this.#connect(node, name);
      }
    }
  }

  /** The same topics read twice in the same way are one source. */
  #source(name: string, node: NodeOf<"source">): string {
    const twin = this.#graph.nodes.find(
      (other) => other.kind === "source" && other.id < node.id && readsTheSame(other, node),
    );
    if (twin !== undefined) return this.#output.get(twin.id) ?? name;
    const { key, value, timestamp, maxAheadMs, onError, startAt } = node;
    const topics = [...new Set(node.topics)].map((topic) => ({ name: topic, internal: false }));
    this.sources.push({
      name,
      topics,
      key,
      value,
      timestamp,
      maxAheadMs,
      onError,
      startAt,
      children: this.#childrenOf(name),
    });
    return name;
  }

  #repartition(node: NodeOf<"group" | "repartition">, base: string, partitions: number | undefined): string {
    const [filter, sink, source] = repartitionNodes(base);
    const { key, value } = node;
    if (key === undefined || value === undefined)
      throw new RangeError("both serdes are known: validate() has seen to that");
    const topic = { name: `${base}-repartition`, internal: true };
    this.processors.push({
      name: filter,
      create: dropNullKeysProcessor,
      stores: [],
      timed: false,
      sideChild: undefined,
    });
    this.#connect(node, filter);
    this.#childrenOf(filter).push(sink);
    this.sinks.push({
      name: sink,
      topic,
      key,
      value,
      headers: undefined,
      partitioner: undefined,
      onError: undefined,
      repartition: { partitions },
    });
    this.sources.push({
      name: source,
      topics: [topic],
      key,
      value,
      timestamp: undefined,
      // The topic's timestamps are the event times that were checked where they came from.
      maxAheadMs: Number.POSITIVE_INFINITY,
      onError: undefined,
      startAt: "earliest",
      children: this.#childrenOf(source),
    });
    return source;
  }

  #connect(node: GraphNode, name: string): string {
    for (const parent of this.#inputs(node)) this.#childrenOf(parent).push(name);
    return name;
  }

  #inputs(node: GraphNode): string[] {
    return node.parents.map((parent) => this.#output.get(parent) ?? "");
  }

  #childrenOf(name: string): string[] {
    let children = this.children.get(name);
    if (children === undefined) {
      children = [];
      this.children.set(name, children);
    }
    return children;
  }
}

function sinkOf(name: string, node: NodeOf<"sink">): SinkNode {
  const { topic, key, value, headers, partitioner, onError } = node;
  if (key === undefined || value === undefined)
    throw new RangeError("both serdes are known: validate() has seen to that");
  return {
    name,
    topic: typeof topic === "string" ? { name: topic, internal: false } : topic,
    key,
    value,
    headers: headers && ((recordValue, record) => toHeaders(headers(recordValue, record))),
    partitioner,
    onError,
    repartition: undefined,
  };
}

function toHeaders(headers: HeadersOf): readonly Header[] {
  if (isHeaderList(headers)) return headers;
  return Object.entries(headers).map(([name, value]) => [
    name,
    typeof value === "string" ? Buffer.from(value, "utf8") : value,
  ]);
}

function isHeaderList(headers: HeadersOf): headers is readonly Header[] {
  return Array.isArray(headers);
}
