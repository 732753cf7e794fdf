import type { TopologyFault } from "./errors.js";
import type { Graph, GraphNode, NodeId, NodeOf } from "./graph.js";
import type { NodeNames } from "./node-names.js";
import { windowedSource } from "./node-processors.js";
import type { ErrorHandler } from "./processor-topology.js";

const LEGAL_TOPIC = /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/;
/** A store's and a repartition topic's name stands between the application id and "-repartition" in a name of at most 249. */
const INTERNAL_NAME_MAX = 200;
const LEGAL_INTERNAL = new RegExp(`^[a-zA-Z0-9._-]{1,${INTERNAL_NAME_MAX}}$`);

/** Everything that is wrong with a graph. */
export function validate(graph: Graph, names: NodeNames): readonly TopologyFault[] {
  const faults: TopologyFault[] = [...names.faults];
  const check: Check = {
    graph,
    name: (id) => names.of.get(id) ?? "",
    fault: (node, code, message) => faults.push({ code, node: names.of.get(node.id) ?? "", message }),
  };
  if (!graph.nodes.some((node) => node.kind === "source")) {
    faults.push({
      code: "EMPTY_TOPOLOGY",
      node: "topology",
      message: "it reads no topic: begin with builder.stream()",
    });
  }
  for (const node of graph.nodes) checkNode(check, node);
  checkSources(check);
  checkStores(check);
  return faults;
}

interface Check {
  readonly graph: Graph;
  name(id: NodeId): string;
  fault(node: GraphNode, code: string, message: string): void;
}

function checkNode(check: Check, node: GraphNode): void {
  switch (node.kind) {
    case "source":
      checkSource(check, node);
      break;
    case "sink":
      checkSink(check, node);
      break;
    case "repartition":
      checkRepartition(check, node);
      checkSerdes(check, node, node);
      break;
    case "group":
      // Without an operator below nothing is stored, and no topic is made.
      if (node.rekeyed && check.graph.children(node.id).length > 0) checkSerdes(check, node, node);
      break;
    case "aggregate":
      if (node.key === undefined) missingSerde(check, node, "key");
      checkWindows(check, node);
      break;
    case "suppress":
      checkSuppress(check, node);
      break;
    case "branch":
      if (!LEGAL_INTERNAL.test(node.label)) {
        check.fault(
          node,
          "ILLEGAL_NAME",
          `a branch's name has letters, digits, ".", "_" and "-", not ${JSON.stringify(node.label)}`,
        );
      }
      break;
    default:
      break;
  }
}

function checkTopic(check: Check, node: GraphNode, topic: string): void {
  if (LEGAL_TOPIC.test(topic)) return;
  const rule = 'a topic has 1 to 249 letters, digits, ".", "_" and "-", and is not "." or ".."';
  check.fault(node, "ILLEGAL_TOPIC", `${rule}; ${JSON.stringify(topic)} is none`);
}

function checkHandler(check: Check, node: GraphNode, handler: ErrorHandler | undefined): void {
  if (typeof handler === "object") checkTopic(check, node, handler.deadLetter);
}

function checkSource(check: Check, node: NodeOf<"source">): void {
  if (node.topics.length === 0) check.fault(node, "EMPTY_SOURCE", "it reads no topic: name at least one");
  for (const topic of node.topics) checkTopic(check, node, topic);
  checkHandler(check, node, node.onError);
  if (!(node.maxAheadMs >= 0))
    check.fault(node, "BAD_OPTION", `maxAheadMs is a number of ms >= 0, not ${node.maxAheadMs}`);
  for (const serde of ["key", "value"] as const) if (node[serde] === undefined) missingSerde(check, node, serde);
}

function checkSink(check: Check, node: NodeOf<"sink">): void {
  checkSerdes(check, node, node);
  checkHandler(check, node, node.onError);
  if (typeof node.topic !== "string") return;
  checkTopic(check, node, node.topic);
  const source = unfilteredSource(check.graph, node, node.topic);
  if (source === undefined) return;
  const message = `writes each record of "${check.name(source)}" to the topic it came from, for ever: put a filter between, or write to another topic`;
  check.fault(node, "TOPIC_LOOP", message);
}

/** Kinds that may let fewer records out than come in: behind one of them a loop can end. */
const THINNING: ReadonlySet<GraphNode["kind"]> = new Set([
  "filter",
  "flatMap",
  "flatMapValues",
  "branch",
  "late",
  "table-filter",
  "suppress",
]);

/** The source of `topic` that `node` is reached from without a node that may drop records. */
function unfilteredSource(graph: Graph, node: GraphNode, topic: string): NodeId | undefined {
  for (const id of node.parents) {
    const parent = graph.node(id);
    if (parent.kind === "source" && parent.topics.includes(topic)) return id;
    if (THINNING.has(parent.kind)) continue;
    const source = unfilteredSource(graph, parent, topic);
    if (source !== undefined) return source;
  }
  return undefined;
}

function checkSerdes(check: Check, node: GraphNode, serdes: { readonly key: unknown; readonly value: unknown }): void {
  for (const which of ["key", "value"] as const) if (serdes[which] === undefined) missingSerde(check, node, which);
}

function missingSerde(check: Check, node: GraphNode, which: "key" | "value"): void {
  check.fault(
    node,
    "MISSING_SERDE",
    `the ${which}'s serde is not known here, as an operator above changed its type: give { ${which}: serde }`,
  );
}

function checkRepartition(check: Check, node: NodeOf<"repartition">): void {
  checkInternalName(check, node, node.topic, "a repartition topic's");
  const { partitions } = node;
  if (partitions !== undefined && !(Number.isInteger(partitions) && partitions > 0)) {
    check.fault(node, "BAD_OPTION", `partitions is a whole number > 0, not ${partitions}`);
  }
}

function checkInternalName(check: Check, node: GraphNode, name: string, whose: string): void {
  if (LEGAL_INTERNAL.test(name)) return;
  const rule = `${whose} name has 1 to ${INTERNAL_NAME_MAX} letters, digits, ".", "_" and "-", as it is part of a topic's`;
  check.fault(node, "ILLEGAL_STORE_NAME", `${rule}; ${JSON.stringify(name)} is none`);
}

function checkWindows(check: Check, node: NodeOf<"aggregate">): void {
  if (node.windowed === undefined) return;
  const { windows, retentionMs } = node.windowed;
  const { sizeMs, advanceMs, graceMs } = windows;
  const isTime = (ms: number): boolean => Number.isSafeInteger(ms) && ms > 0;
  if (!isTime(sizeMs)) check.fault(node, "BAD_WINDOW", `sizeMs is a whole number of ms > 0, not ${sizeMs}`);
  if (!isTime(advanceMs) || advanceMs > sizeMs) {
    check.fault(
      node,
      "BAD_WINDOW",
      `advanceMs is a whole number of ms, > 0 and <= sizeMs (${sizeMs}), not ${advanceMs}: no record may fall between windows`,
    );
  }
  if (!(graceMs === 0 || isTime(graceMs))) {
    check.fault(node, "BAD_GRACE", `graceMs is a whole number of ms >= 0, not ${graceMs}`);
  }
  if (!(retentionMs >= sizeMs + graceMs)) {
    check.fault(
      node,
      "RETENTION_TOO_SHORT",
      `retentionMs is at least size + grace, ${sizeMs + graceMs} ms, not ${retentionMs}: open windows would expire`,
    );
  }
}

function checkSuppress(check: Check, node: NodeOf<"suppress">): void {
  const source = windowedSource(check.graph, node.id);
  if (source === undefined) {
    check.fault(
      node,
      "SUPPRESS_WITHOUT_WINDOWS",
      "its table is not windowed, so no window ever closes: put windowedBy() before the aggregate",
    );
  } else if (source.final) {
    check.fault(node, "SUPPRESS_OF_FINAL", "its table has final rows already: leave it out");
  }
}

function checkSources(check: Check): void {
  const readers = new Map<string, NodeOf<"source">>();
  for (const node of check.graph.nodes) {
    if (node.kind !== "source") continue;
    for (const topic of new Set(node.topics)) {
      const reader = readers.get(topic);
      if (reader === undefined) readers.set(topic, node);
      else if (!readsTheSame(reader, node)) {
        check.fault(
          node,
          "TOPIC_READ_TWICE",
          `"${topic}" is read by "${check.name(reader.id)}" already, with other options; keep that stream and use it twice`,
        );
      }
    }
  }
}

/** Two readings that can be one source node. */
export function readsTheSame(a: NodeOf<"source">, b: NodeOf<"source">): boolean {
  return (
    a.topics.length === b.topics.length &&
    a.topics.every((topic, at) => topic === b.topics[at]) &&
    a.key === b.key &&
    a.value === b.value &&
    a.timestamp === b.timestamp &&
    a.maxAheadMs === b.maxAheadMs &&
    a.onError === b.onError &&
    a.startAt === b.startAt &&
    (b.name === undefined || a.name === b.name)
  );
}

function checkStores(check: Check): void {
  const stores = new Map<string, GraphNode>();
  for (const node of check.graph.nodes) {
    if (node.kind !== "aggregate" && node.kind !== "suppress") continue;
    checkInternalName(check, node, node.store, "a store's");
    const first = stores.get(node.store);
    if (first === undefined) stores.set(node.store, node);
    else
      check.fault(
        node,
        "DUPLICATE_STORE",
        `the store "${node.store}" is that of "${check.name(first.id)}" as well: give one of them another name`,
      );
  }
}
