import dagre from "@dagrejs/dagre";
import type { ProcessorTopology, SubTopology } from "../topology/processor-topology.js";
import type { Graph, GraphEdge, GraphNode, GraphNodeKind, Layout } from "./messages.js";

/** How an edge's rate is known: each is a counter that the engine keeps anyway. */
export type EdgeMeter =
  | { readonly by: "consumed"; readonly topics: readonly string[] }
  | { readonly by: "produced"; readonly topic: string }
  | { readonly by: "dead-letter"; readonly topic: string }
  | { readonly by: "changelog"; readonly store: string }
  | { readonly by: "processed"; readonly node: string };

export interface TopologyGraph {
  /** Laid out when it is asked for: 80 ms on a machine of two cores, which a start does not wait for. */
  readonly graph: Graph;
  /** In the order of the graph's edges; undefined where nothing counts what passes. */
  readonly meters: readonly (EdgeMeter | undefined)[];
}

/**
 * The topology as one draws it on a board: topics, processors, stores, and arrows. Sources and sinks are not drawn, as the
 * arrow from or to their topic says the same.
 *
 * @param topicName the name of a topic on the broker, where internal ones have the application id in front
 */
export function graphOf(
  topology: ProcessorTopology,
  topicName: (ref: { readonly name: string; readonly internal: boolean }) => string,
): TopologyGraph {
  const drawing = new Drawing(topicName);
  for (const sub of topology.subTopologies) drawing.add(sub);
  const { nodes, edges, meters } = drawing;
  let graph: Graph | undefined;
  return {
    meters,
    get graph() {
      graph ??= { nodes, edges, wide: layout(nodes, edges, "LR"), tall: layout(nodes, edges, "TB") };
      return graph;
    },
  };
}

class Drawing {
  readonly nodes: GraphNode[] = [];
  readonly edges: GraphEdge[] = [];
  readonly meters: (EdgeMeter | undefined)[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #topicName: (ref: { readonly name: string; readonly internal: boolean }) => string;

  constructor(topicName: (ref: { readonly name: string; readonly internal: boolean }) => string) {
    this.#topicName = topicName;
  }

  add(sub: SubTopology): void {
    const parents = parentCounts(sub);
    // What leaves a node is known where its child hears from nobody else.
    const into = (child: string): EdgeMeter | undefined =>
      parents.get(child) === 1 ? { by: "processed", node: child } : undefined;
    for (const source of sub.sources) {
      const topics = source.topics.map((ref) => this.#topicName(ref));
      for (const topic of topics) {
        for (const child of source.children) {
          const meter: EdgeMeter = { by: "consumed", topics: [topic] };
          this.#connect(this.#topic(topic), this.#nodeOf(sub, child), meter);
        }
        if (typeof source.onError === "object") {
          const { deadLetter } = source.onError;
          const to = this.#node("dead-letter", deadLetter, deadLetter, null);
          this.#connect(this.#topic(topic), to, { by: "dead-letter", topic: deadLetter });
        }
      }
    }
    for (const node of sub.processors) {
      const from = this.#nodeOf(sub, node.name);
      for (const child of node.children) {
        const sink = sub.sinks.find(({ name }) => name === child);
        const written =
          sink === undefined || typeof sink.topic === "function" ? undefined : this.#topicName(sink.topic);
        const meter = written !== undefined && this.#isOnlyWriter(sub, written) ? produced(written) : into(child);
        this.#connect(from, this.#nodeOf(sub, child), meter);
      }
      for (const store of node.stores) {
        const changelog = sub.stores.find(({ name }) => name === store)?.changelog === true;
        const to = this.#node("store", store, store, sub.id);
        this.#connect(from, to, changelog ? { by: "changelog", store } : undefined);
      }
    }
  }

  #isOnlyWriter(sub: SubTopology, topic: string): boolean {
    const writers = sub.sinks.filter(
      (sink) => typeof sink.topic !== "function" && this.#topicName(sink.topic) === topic,
    );
    const parents = parentCounts(sub);
    return writers.length === 1 && parents.get(writers[0]?.name ?? "") === 1;
  }

  /** The node that is drawn for a processor, or for a sink the topic that it writes. */
  #nodeOf(sub: SubTopology, name: string): number {
    const sink = sub.sinks.find((one) => one.name === name);
    if (sink === undefined) return this.#node("processor", name, labelOf(name), sub.id);
    if (typeof sink.topic === "function") return this.#node("topic", name, "chosen by record", null);
    return this.#topic(this.#topicName(sink.topic));
  }

  #topic(name: string): number {
    return this.#node("topic", name, name, null);
  }

  #node(kind: GraphNodeKind, name: string, label: string, subTopology: number | null): number {
    const id = JSON.stringify([kind, name, subTopology]);
    const known = this.#indexes.get(id);
    if (known !== undefined) return known;
    const index = this.nodes.push({ kind, name, label, subTopology }) - 1;
    this.#indexes.set(id, index);
    return index;
  }

  #connect(from: number, to: number, meter: EdgeMeter | undefined): void {
    if (this.edges.some((edge) => edge.from === from && edge.to === to)) return;
    this.edges.push({ from, to });
    this.meters.push(meter);
  }
}

function produced(topic: string): EdgeMeter {
  return { by: "produced", topic };
}

function parentCounts({ sources, processors }: SubTopology): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { children } of [...sources, ...processors])
    for (const child of children) counts.set(child, (counts.get(child) ?? 0) + 1);
  return counts;
}

/** `orders-source.mapValues.filter` is a filter; a stateful operator has a name of its own. */
function labelOf(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}

const NODE_HEIGHT = 34;
/** A store has its number of rows below its name. */
const STORE_HEIGHT = 46;
/** Of the drawn font, at 13 px; a box may be a little wider than its text. */
const CHARACTER_WIDTH = 7.4;
const PADDING_WIDTH = 26;
const NODE_WIDTH_MAX = 260;
/** Room for an edge's rate. */
const RATE_SIZE = { width: 56, height: 18 };

function layout(nodes: readonly GraphNode[], edges: readonly GraphEdge[], rankdir: "LR" | "TB"): Layout {
  const graph = new dagre.graphlib.Graph({ multigraph: false });
  const isWide = rankdir === "LR";
  graph.setGraph({ rankdir, nodesep: isWide ? 22 : 18, ranksep: isWide ? 26 : 22, marginx: 6, marginy: 6 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const [index, { label, kind }] of nodes.entries()) {
    const width = Math.min(NODE_WIDTH_MAX, Math.round(label.length * CHARACTER_WIDTH + PADDING_WIDTH));
    graph.setNode(String(index), { width, height: kind === "store" ? STORE_HEIGHT : NODE_HEIGHT });
  }
  for (const { from, to } of edges) graph.setEdge(String(from), String(to), { ...RATE_SIZE, labelpos: "c" });
  dagre.layout(graph);
  const round = (value: number): number => Math.round(value * 10) / 10;
  const { width = 0, height = 0 } = graph.graph();
  return {
    width: round(width),
    height: round(height),
    nodes: nodes.map((_, index) => {
      const { x = 0, y = 0, width: w = 0, height: h = 0 } = graph.node(String(index)) as Partial<Box>;
      return { x: round(x), y: round(y), width: w, height: h };
    }),
    edges: edges.map(({ from, to }) => {
      const { points = [] } = graph.edge(String(from), String(to)) as { points?: { x: number; y: number }[] };
      return points.map(({ x, y }) => ({ x: round(x), y: round(y) }));
    }),
  };
}

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}
