import type { TopologyFault } from "./errors.js";
import type { Graph, GraphNode, NodeId } from "./graph.js";

export interface NodeNames {
  /** The name of every node of the graph, also of those that are no node of the compiled topology. */
  readonly of: ReadonlyMap<NodeId, string>;
  /** By group: the name of its repartition topic, without "-repartition". */
  readonly repartition: ReadonlyMap<NodeId, string>;
  readonly faults: readonly TopologyFault[];
}

const LEGAL_NAME = /^[a-zA-Z0-9._+-]{1,249}$/;

/**
 * Names every node from its operator and its topic, store or parent, so that a name (a metric label, the key of a clock)
 * stays what it is when something unrelated is put in elsewhere. Nodes that would have one name are told apart by their
 * position: `x.filter`, `x.filter-2`. Names that the user gave come first and are never changed.
 */
export function nameNodes(graph: Graph): NodeNames {
  const faults: TopologyFault[] = [];
  const taken = new Set<string>();
  for (const node of graph.nodes) {
    for (const name of givenNames(node)) {
      if (!LEGAL_NAME.test(name)) {
        faults.push({
          code: "ILLEGAL_NAME",
          node: name,
          message: `a name has 1 to 249 of a-z A-Z 0-9 . _ -, not ${JSON.stringify(name)}`,
        });
      } else if (taken.has(name)) {
        faults.push({
          code: "DUPLICATE_NAME",
          node: name,
          message: "two nodes have this name; give one of them another",
        });
      }
      taken.add(name);
    }
  }
  const of = new Map<NodeId, string>();
  const repartition = new Map<NodeId, string>();
  for (const node of graph.nodes) {
    const name = ownName(node) ?? unused(taken, madeName(node, of));
    of.set(node.id, name);
    if (node.kind === "group") repartition.set(node.id, node.name ?? firstStore(graph, node) ?? name);
  }
  return { of, repartition, faults };
}

/** The names that a node's definition takes, beside those made for it. */
function givenNames(node: GraphNode): readonly string[] {
  if (node.kind === "repartition") return repartitionNodes(node.topic);
  if (node.kind === "group") return node.name !== undefined && node.rekeyed ? repartitionNodes(node.name) : [];
  const own = ownName(node);
  return own === undefined ? [] : [own];
}

/** The three nodes of a repartition topic; the last is where the stream goes on. */
export function repartitionNodes(name: string): [filter: string, sink: string, source: string] {
  return [`${name}-repartition-filter`, `${name}-repartition-sink`, `${name}-repartition-source`];
}

/** An aggregate's node has its store's name; any other node the name it was given. */
function ownName(node: GraphNode): string | undefined {
  if (node.kind === "aggregate") return node.store;
  if (node.kind === "suppress") return node.name;
  if (node.kind === "repartition") return `${node.topic}-repartition-source`;
  return node.kind === "group" ? undefined : node.name;
}

function madeName(node: GraphNode, names: ReadonlyMap<NodeId, string>): string {
  // A topic's name may hold what a node's may not; the faults say so, and the name is only for them.
  if (node.kind === "source") return `${node.topics.join("+")}-source`;
  if (node.kind === "sink" && typeof node.topic === "string") return `${node.topic}-sink`;
  const parent = node.parents[0] === undefined ? "" : names.get(node.parents[0]);
  return `${parent}.${node.operator}`;
}

function firstStore(graph: Graph, group: GraphNode): string | undefined {
  return graph.children(group.id).find((child) => child.kind === "aggregate")?.store;
}

function unused(taken: Set<string>, wanted: string): string {
  let name = wanted;
  for (let position = 2; taken.has(name); position++) name = `${wanted}-${position}`;
  taken.add(name);
  return name;
}
