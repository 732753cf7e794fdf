import type { Serde, Serializer } from "../serdes/serde.js";
import type { ProcessorFactory } from "./processor.js";
import type { Header, RecordContext } from "./record.js";
import type { StoreSpec } from "./state-store.js";

/** The compiled shape of a topology: what the runtime executes and `describe` prints. Data only; nothing here runs. */
export interface ProcessorTopology {
  readonly subTopologies: readonly SubTopology[];
  /** 16 hex digits over names, kinds, topics and stores: equal for equal topologies, whatever process compiled them. */
  readonly hash: string;
}

export interface SubTopology {
  readonly id: number;
  readonly sources: readonly SourceNode[];
  /** In topological order: a node stands after all that forward to it. */
  readonly processors: readonly ProcessorNode[];
  readonly sinks: readonly SinkNode[];
  readonly stores: readonly StoreSpec[];
}

/**
 * A topic's name as the topology knows it. An internal one is `<application id>-<name>` on the broker, which the
 * compiler does not know.
 */
export interface TopicRef {
  readonly name: string;
  readonly internal: boolean;
}

/** What to do with a record that failed. `fail` stops the application with the error; a dead letter keeps the bytes. */
export type ErrorAction = "fail" | "continue" | { readonly deadLetter: string };
export type ErrorStage = "deserialization" | "processing" | "production";

/** The record an error handler decides about: its bytes are a copy and may be kept. */
export interface FailedRecord {
  readonly stage: ErrorStage;
  readonly node: string;
  readonly topic: string;
  readonly partition: number;
  /** Of the input record; -1 where a table's row failed at a commit. */
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly Header[];
}

export type ErrorHandler = ErrorAction | ((error: Error, record: FailedRecord) => ErrorAction);

export interface SourceNode {
  readonly name: string;
  readonly topics: readonly TopicRef[];
  readonly key: Serde<unknown>;
  readonly value: Serde<unknown>;
  /** Gives the event time; without one it is the record's own timestamp. */
  readonly timestamp: ((value: unknown, record: RecordContext) => number) | undefined;
  /** An event time further ahead of the record's timestamp than this goes to the handler. */
  readonly maxAheadMs: number;
  /** Deserialization, timestamp and processing errors of records that came from here. Undefined: the application's default. */
  readonly onError: ErrorHandler | undefined;
  /** Where a partition without a committed offset starts. Undefined: the application's default. */
  readonly startAt: "earliest" | "latest" | undefined;
  /** Names of processors and sinks, in the order in which they were added. */
  readonly children: readonly string[];
}

export interface ProcessorNode {
  readonly name: string;
  readonly create: ProcessorFactory;
  readonly stores: readonly string[];
  readonly children: readonly string[];
  /** The child, by its position, that is given only what `forwardTo` sends it, as the late side of a window; undefined where there is none. */
  readonly sideChild: number | undefined;
  /** True for a node with a clock, whose time is kept with the state. */
  readonly timed: boolean;
}

export interface SinkNode {
  readonly name: string;
  /** A fixed topic, or one chosen for each record. */
  readonly topic: TopicRef | ((value: unknown, record: RecordContext) => string);
  readonly key: Serializer<unknown>;
  readonly value: Serializer<unknown>;
  readonly headers: ((value: unknown, record: RecordContext) => readonly Header[]) | undefined;
  /** Undefined: murmur2 of the key's bytes, and for a null key the task's own partition modulo the count. */
  readonly partitioner: ((key: unknown, value: unknown, partitions: number) => number) | undefined;
  readonly onError: ErrorHandler | undefined;
  /** Set on the sink that fills a repartition topic; undefined partitions = the largest of the inputs upstream. */
  readonly repartition: { readonly partitions: number | undefined } | undefined;
}
