import type { ProcessorTopology, SinkNode, SubTopology, TopicRef } from "./processor-topology.js";

export type DescribeFormat = "text" | "json" | "mermaid" | "dot";

/**
 * A topology for people and programs: `text` in the form of Kafka Streams' `Topology.describe()`, `json` (with the hash,
 * the stores' settings and what is internal), or a drawing in Mermaid or DOT. Internal topics are without the application
 * id in front, as it is not known here.
 */
export function describe(topology: ProcessorTopology, format: DescribeFormat = "text"): string {
  switch (format) {
    case "text":
      return toText(topology);
    case "json":
      return `${JSON.stringify(toData(topology), null, 2)}\n`;
    case "mermaid":
      return toMermaid(topology);
    case "dot":
      return toDot(topology);
  }
}

interface DescribedNode {
  readonly kind: "Source" | "Processor" | "Sink";
  readonly name: string;
  /** In Kafka Streams' words. */
  readonly detail: string;
  readonly children: readonly string[];
}

function nodesOf(sub: SubTopology): readonly DescribedNode[] {
  return [
    ...sub.sources.map(({ name, topics, children }): DescribedNode => {
      return { kind: "Source", name, detail: `topics: [${topics.map((topic) => topic.name).join(", ")}]`, children };
    }),
    ...sub.processors.map(({ name, stores, children }): DescribedNode => {
      return { kind: "Processor", name, detail: `stores: [${stores.join(", ")}]`, children };
    }),
    ...sub.sinks.map((sink): DescribedNode => {
      return { kind: "Sink", name: sink.name, detail: sinkDetail(sink), children: [] };
    }),
  ];
}

function sinkDetail({ topic }: SinkNode): string {
  return typeof topic === "function" ? `extractor: ${topic.name || "function"}` : `topic: ${topic.name}`;
}

/** Parents before children, and a sink after what it closes: depth first, as one reads the DSL. */
function inReadingOrder(nodes: readonly DescribedNode[]): readonly DescribedNode[] {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const waitsFor = new Map(nodes.map(({ name }) => [name, 0]));
  for (const { children } of nodes) for (const child of children) waitsFor.set(child, (waitsFor.get(child) ?? 0) + 1);
  const ordered: DescribedNode[] = [];
  const visit = (node: DescribedNode): void => {
    ordered.push(node);
    for (const name of node.children) {
      const left = (waitsFor.get(name) ?? 0) - 1;
      waitsFor.set(name, left);
      const child = byName.get(name);
      // A node of several parents is told behind the last of them.
      if (left === 0 && child !== undefined) visit(child);
    }
  };
  for (const node of nodes) if (node.kind === "Source") visit(node);
  return ordered;
}

function parentsOf(nodes: readonly DescribedNode[], name: string): readonly string[] {
  return nodes.filter(({ children }) => children.includes(name)).map((parent) => parent.name);
}

function toText({ subTopologies }: ProcessorTopology): string {
  const parts = subTopologies.map((sub) => {
    const nodes = nodesOf(sub);
    const lines = inReadingOrder(nodes).flatMap(({ kind, name, detail, children }) => [
      `    ${kind}: ${name} (${detail})`,
      ...(kind === "Sink" ? [] : [`      --> ${children.length === 0 ? "none" : children.join(", ")}`]),
      ...(kind === "Source" ? [] : [`      <-- ${parentsOf(nodes, name).join(", ")}`]),
    ]);
    return `  Sub-topology: ${sub.id}\n${lines.join("\n")}\n\n`;
  });
  // The odd space of the first sub-topology is Kafka Streams' own; programs that read its text expect it.
  return `Topologies:\n ${parts.join("")}`;
}

function toData({ subTopologies, hash }: ProcessorTopology): unknown {
  return {
    hash,
    subTopologies: subTopologies.map((sub) => ({
      id: sub.id,
      sources: sub.sources.map(({ name, topics, key, value, children }) => ({
        name,
        topics,
        key: key.name,
        value: value.name,
        children,
      })),
      processors: sub.processors.map(({ name, stores, children }) => ({ name, stores, children })),
      sinks: sub.sinks.map(({ name, topic, repartition }) => ({
        name,
        topic: typeof topic === "function" ? null : topic,
        ...(repartition?.partitions === undefined ? {} : { partitions: repartition.partitions }),
      })),
      stores: sub.stores.map(({ key, value, ...store }) => ({ ...store, key: key.name, value: value.name })),
    })),
  };
}

/** What a drawing shows: boxes by sub-topology, topics and stores beside them, arrows between. */
interface Drawing {
  readonly ids: ReadonlyMap<string, string>;
  readonly topics: readonly TopicRef[];
}

function drawingOf({ subTopologies }: ProcessorTopology): Drawing {
  const ids = new Map<string, string>();
  const topics = new Map<string, TopicRef>();
  const add = (what: string, name: string): void => {
    if (!ids.has(`${what} ${name}`)) ids.set(`${what} ${name}`, `${what}${ids.size}`);
  };
  for (const sub of subTopologies) {
    for (const topic of topicsOf(sub)) {
      add("topic", topic.name);
      if (!topics.has(topic.name)) topics.set(topic.name, topic);
    }
    for (const { name } of nodesOf(sub)) add("node", name);
    for (const { name } of sub.stores) add("store", name);
  }
  return { ids, topics: [...topics.values()] };
}

function topicsOf({ sources, sinks }: SubTopology): readonly TopicRef[] {
  const written = sinks.flatMap(({ topic }) => (typeof topic === "function" ? [] : [topic]));
  return [...sources.flatMap(({ topics }) => topics), ...written];
}

/** From topic to source, node to child, node and store both ways, sink to topic. */
function arrowsOf(sub: SubTopology): readonly (readonly [from: string, to: string, both: boolean])[] {
  return [
    ...sub.sources.flatMap(({ name, topics }) =>
      topics.map((topic) => [`topic ${topic.name}`, `node ${name}`, false] as const),
    ),
    ...nodesOf(sub).flatMap(({ name, children }) =>
      children.map((child) => [`node ${name}`, `node ${child}`, false] as const),
    ),
    ...sub.processors.flatMap(({ name, stores }) =>
      stores.map((store) => [`node ${name}`, `store ${store}`, true] as const),
    ),
    ...sub.sinks.flatMap(({ name, topic }) =>
      typeof topic === "function" ? [] : [[`node ${name}`, `topic ${topic.name}`, false] as const],
    ),
  ];
}

function toMermaid(topology: ProcessorTopology): string {
  const { ids, topics } = drawingOf(topology);
  const id = (of: string): string => ids.get(of) ?? "";
  const lines = ["flowchart TD"];
  for (const { name } of topics) lines.push(`  ${id(`topic ${name}`)}[/"${name}"/]`);
  for (const sub of topology.subTopologies) {
    lines.push(`  subgraph sub${sub.id}["Sub-topology ${sub.id}"]`);
    for (const { name } of inReadingOrder(nodesOf(sub))) lines.push(`    ${id(`node ${name}`)}["${name}"]`);
    for (const { name } of sub.stores) lines.push(`    ${id(`store ${name}`)}[("${name}")]`);
    lines.push("  end");
  }
  for (const sub of topology.subTopologies) {
    for (const [from, to, both] of arrowsOf(sub)) lines.push(`  ${id(from)} ${both ? "<-->" : "-->"} ${id(to)}`);
  }
  return `${lines.join("\n")}\n`;
}

function toDot(topology: ProcessorTopology): string {
  const { ids, topics } = drawingOf(topology);
  const id = (of: string): string => ids.get(of) ?? "";
  const lines = ["digraph topology {", "  node [shape=box];"];
  for (const { name } of topics) lines.push(`  ${id(`topic ${name}`)} [label="${name}", shape=parallelogram];`);
  for (const sub of topology.subTopologies) {
    lines.push(`  subgraph cluster_${sub.id} {`, `    label="Sub-topology ${sub.id}";`);
    for (const { name } of inReadingOrder(nodesOf(sub))) lines.push(`    ${id(`node ${name}`)} [label="${name}"];`);
    for (const { name } of sub.stores) lines.push(`    ${id(`store ${name}`)} [label="${name}", shape=cylinder];`);
    lines.push("  }");
  }
  for (const sub of topology.subTopologies) {
    for (const [from, to, both] of arrowsOf(sub)) lines.push(`  ${id(from)} -> ${id(to)}${both ? " [dir=both]" : ""};`);
  }
  return `${lines.join("\n")}\n}\n`;
}
