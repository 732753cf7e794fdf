import { createHash } from "node:crypto";
import type { ProcessorNode, ProcessorTopology, SinkNode, SourceNode, SubTopology } from "./processor-topology.js";
import type { StoreSpec } from "./state-store.js";
import { definitionOf } from "./store-definition.js";

/** All nodes, each list in an order where parents come first, and who forwards to whom. */
export interface FlatTopology {
  readonly sources: readonly SourceNode[];
  readonly processors: readonly Omit<ProcessorNode, "children">[];
  readonly sinks: readonly SinkNode[];
  readonly stores: readonly StoreSpec[];
  readonly children: ReadonlyMap<string, readonly string[]>;
}

/**
 * Cuts at the topics: what is connected by forwarding or by a store is one sub-topology. They are numbered in the order of
 * their first sources, as Kafka Streams numbers them.
 */
export function cutSubTopologies(flat: FlatTopology): ProcessorTopology {
  const groups = new NodeGroups();
  for (const [parent, children] of flat.children) for (const child of children) groups.join(parent, child);
  for (const { name, stores } of flat.processors) for (const store of stores) groups.join(name, `store ${store}`);

  const ids = new Map<string, number>();
  for (const { name } of flat.sources) {
    const group = groups.of(name);
    if (!ids.has(group)) ids.set(group, ids.size);
  }
  const subTopologies = Array.from({ length: ids.size }, (_, id): SubTopology => {
    const isHere = ({ name }: { readonly name: string }): boolean => ids.get(groups.of(name)) === id;
    return {
      id,
      sources: flat.sources.filter(isHere),
      processors: flat.processors
        .filter(isHere)
        .map((node) => ({ ...node, children: flat.children.get(node.name) ?? [] })),
      sinks: flat.sinks.filter(isHere),
      stores: flat.stores.filter(({ name }) => ids.get(groups.of(`store ${name}`)) === id),
    };
  });
  return { subTopologies, hash: hashOf(subTopologies) };
}

/** Disjoint sets of names. */
class NodeGroups {
  readonly #above = new Map<string, string>();

  of(name: string): string {
    const above = this.#above.get(name);
    if (above === undefined) return name;
    const root = this.of(above);
    this.#above.set(name, root);
    return root;
  }

  join(a: string, b: string): void {
    const [rootOfA, rootOfB] = [this.of(a), this.of(b)];
    if (rootOfA !== rootOfB) this.#above.set(rootOfB, rootOfA);
  }
}

/** Callbacks cannot be compared between processes, so the hash is over what names, topics and stores say. */
function hashOf(subTopologies: readonly SubTopology[]): string {
  return digest(subTopologies.map(shapeOf));
}

/** Equal for sub-topologies of which each can go on with the other's state and positions; its number is not in it. */
export function hashOfSubTopology(subTopology: SubTopology): string {
  return digest(shapeOf(subTopology));
}

function digest(shape: unknown): string {
  return createHash("sha256").update(JSON.stringify(shape)).digest("hex").slice(0, 16);
}

function shapeOf({ sources, processors, sinks, stores }: SubTopology): unknown {
  return {
    sources: sources.map(({ name, topics, children }) => [
      name,
      topics.map(({ name: topic, internal }) => [topic, internal]),
      children,
    ]),
    processors: processors.map(({ name, stores: used, children }) => [name, used, children]),
    sinks: sinks.map(({ name, topic, repartition }) => [
      name,
      typeof topic === "function" ? null : [topic.name, topic.internal],
      repartition?.partitions,
    ]),
    stores: stores.map((store) => [store.name, definitionOf(store)]),
  };
}
