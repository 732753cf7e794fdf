import { invariant, ProcessingError, StreamsError } from "../topology/errors.js";
import type { Clock, DropReason, Processor, ProcessorContext } from "../topology/processor.js";
import type { ProcessorNode, SinkNode, SubTopology } from "../topology/processor-topology.js";
import type { CurrentRecord } from "../topology/record.js";
import type { StateStore } from "../topology/state-store.js";

type Receive = (key: unknown, value: unknown, timestampMs: number) => void;

/** What the processors of one task share. */
export interface NodeEnvironment {
  readonly record: CurrentRecord;
  readonly clocks: Readonly<Record<string, Clock>>;
  store(name: string): StateStore;
  drop(node: string, reason: DropReason): void;
  /** Of a node with a clock: how its `late` is counted. */
  lateness(node: string): ProcessorContext["late"];
  /** A cell that counts what a node is given. */
  received(node: string): { value: number };
  sink(node: SinkNode): Receive;
  /** A row that a flush emitted is through: its effects stay. */
  rowDone(): void;
  /** A row that a flush emitted failed below `node`: takes back its effects, or throws when the handler says fail. */
  rowFailed(node: string, error: ProcessingError): void;
}

/** The processors of one task, wired so that a record runs through them as plain calls, depth first. */
export interface NodeGraph {
  /** By source node: the way in. */
  readonly sources: ReadonlyMap<string, Receive>;
  /** Those that hold something back between commits, in topological order. */
  readonly flushes: readonly (() => void)[];
}

export function wireNodes(subTopology: SubTopology, environment: NodeEnvironment): NodeGraph {
  const flushing: Flushing = { active: false, inRow: false };
  const receivers = new Map<string, Receive>();
  const flushes: (() => void)[] = [];
  for (const sink of subTopology.sinks)
    receivers.set(sink.name, named(sink.name, environment.received(sink.name), environment.sink(sink)));
  // From the leaves up: whoever forwards finds its children wired already.
  for (const node of subTopology.processors.toReversed()) {
    const children = childrenOf(node.children, receivers);
    const processor = node.create(contextOf(node, children, environment, flushing));
    receivers.set(
      node.name,
      named(node.name, environment.received(node.name), (key, value, timestampMs) =>
        processor.process(key, value, timestampMs),
      ),
    );
    if (processor.flush !== undefined) flushes.unshift(flushOf(node.name, processor, flushing));
  }
  const sources = new Map(
    subTopology.sources.map((source) => [source.name, toAll(childrenOf(source.children, receivers))]),
  );
  return { sources, flushes };
}

function childrenOf(names: readonly string[], receivers: ReadonlyMap<string, Receive>): Receive[] {
  return names.map((name) => {
    const receiver = receivers.get(name);
    invariant(receiver !== undefined, `node "${name}" must stand after its parents in the compiled topology`);
    return receiver;
  });
}

function toAll(children: readonly Receive[]): Receive {
  const [only] = children;
  if (only !== undefined && children.length === 1) return only;
  return (key, value, timestampMs) => {
    for (const child of children) child(key, value, timestampMs);
  };
}

function contextOf(
  node: ProcessorNode,
  children: readonly Receive[],
  environment: NodeEnvironment,
  flushing: Flushing,
): ProcessorContext {
  const forward = toAll(children.filter((_, at) => at !== node.sideChild));
  return {
    nodeName: node.name,
    record: environment.record,
    clock: environment.clocks[node.name] ?? { streamTimeMs: -1, emittedUpToMs: -1 },
    forward: node.stores.length > 0 ? rowByRow(node.name, forward, environment, flushing) : forward,
    forwardTo: (child, key, value, timestampMs) => children[child]?.(key, value, timestampMs),
    store: (name) => environment.store(name),
    drop: (reason) => environment.drop(node.name, reason),
    late: node.timed ? environment.lateness(node.name) : () => undefined,
  };
}

/** Set while a flush runs; `inRow` below the node that flushes, so that the outermost row is the unit that fails or stays. */
interface Flushing {
  active: boolean;
  inRow: boolean;
}

/** A flush emits many rows, and one that fails must not take the others with it. */
function rowByRow(node: string, forward: Receive, environment: NodeEnvironment, flushing: Flushing): Receive {
  return (key, value, timestampMs) => {
    if (!flushing.active || flushing.inRow) {
      forward(key, value, timestampMs);
      return;
    }
    flushing.inRow = true;
    // What the flush did before this row stays, whatever becomes of the row.
    environment.rowDone();
    try {
      forward(key, value, timestampMs);
      environment.rowDone();
    } catch (error) {
      if (!(error instanceof ProcessingError)) throw error;
      environment.rowFailed(node, error);
    } finally {
      flushing.inRow = false;
    }
  };
}

/** Whatever a user's code throws gets the name of the node that threw it, the innermost one; our own errors have their reaction already. */
function named(node: string, received: { value: number }, receive: Receive): Receive {
  return (key, value, timestampMs) => {
    received.value++;
    try {
      receive(key, value, timestampMs);
    } catch (error) {
      throw error instanceof StreamsError ? error : new ProcessingError(node, error);
    }
  };
}

function flushOf(node: string, processor: Processor, flushing: Flushing): () => void {
  return () => {
    flushing.active = true;
    try {
      processor.flush?.();
    } catch (error) {
      throw error instanceof StreamsError ? error : new ProcessingError(node, error);
    } finally {
      flushing.active = false;
    }
  };
}
