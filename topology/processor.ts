import type { CurrentRecord } from "./record.js";
import type { StateStore } from "./state-store.js";

/** The clock of one stateful operator. It survives restarts, so lateness is the same with and without a crash. */
export interface Clock {
  /** The largest event time this operator was given; -1 at first. */
  streamTimeMs: number;
  /** Windows that end at or before this time have been emitted as final; -1 at first. */
  emittedUpToMs: number;
}

/** A table's update. `oldValue` is known where the table has a store, else undefined. */
export interface Change<V = unknown> {
  readonly newValue: V | null;
  readonly oldValue: V | null | undefined;
}

export type DropReason = "null-key" | "null-value" | "late" | "bad-timestamp" | "handler";

export interface ProcessorContext {
  /** The name of this node, for errors and metrics. */
  readonly nodeName: string;
  /** The record being processed. A processor sets `key` and `timestampMs` before it calls a user's function. */
  readonly record: CurrentRecord;
  /** To all children but a late side, in the order in which they were added. */
  forward(key: unknown, value: unknown, timestampMs: number): void;
  /** To one child, by its position: what `split` uses, and a window for its late side. */
  forwardTo(child: number, key: unknown, value: unknown, timestampMs: number): void;
  /** The store of that name; the compiler has checked that the node is connected to it. */
  store(name: string): StateStore;
  /** This node's clock. */
  readonly clock: Clock;
  /** Counts a record, or for windows a window's refusal, that goes no further. */
  drop(reason: DropReason): void;
  /** Counts how far a record of a windowed operator was behind the stream time, and what became of one whose windows had all ended. */
  late(byMs: number, outcome: "in-time" | "accepted" | "dropped"): void;
}

/**
 * One operator at work in one task. Made anew whenever the task is opened. It keeps nothing of its own between records:
 * what lasts is in its stores and its clock, which are taken back when a record fails and rewound when a commit does.
 */
export interface Processor {
  process(key: unknown, value: unknown, timestampMs: number): void;
  /**
   * Once per commit, in topological order, before anything is taken: emits what is held back (cached updates, final
   * results) and says to its store what may expire.
   */
  flush?(): void;
}

export type ProcessorFactory = (context: ProcessorContext) => Processor;
