import { bytesOrText } from "../serdes/serde.js";
import type { Checkpoint, TakenChanges, TaskState } from "../stores/task-state.js";
import { invariant, ProcessingError } from "../topology/errors.js";
import type { Clock } from "../topology/processor.js";
import type { ErrorStage, FailedRecord, SinkNode, SourceNode, SubTopology } from "../topology/processor-topology.js";
import { CurrentRecord, type Headers, type TopicPartition } from "../topology/record.js";
import { type CommitMetadata, encodeCommitMetadata } from "./commit-metadata.js";
import { deadLetterHeaders, decide, type ErrorHandlers, unhandled } from "./error-handling.js";
import { type NodeGraph, wireNodes } from "./node-graph.js";
import { partitionOf } from "./partitioner.js";
import { type ChoosePartition, type CollectedOutputs, type Destination, RecordCollector } from "./record-collector.js";
import { BadTimestampError, RecordQueue } from "./record-queue.js";
import { SinkSamples } from "./sink-samples.js";
import type { TaskMetrics } from "./task-metrics.js";
import type { FetchedPartition } from "./transport.js";

export interface TaskId {
  readonly subTopology: number;
  readonly partition: number;
}

/** `0_3`: sub-topology, partition. */
export function formatTaskId(id: TaskId): string {
  return `${id.subTopology}_${id.partition}`;
}

export function parseTaskId(id: string): TaskId {
  const [subTopology, partition] = id.split("_").map(Number);
  invariant(Number.isSafeInteger(subTopology) && Number.isSafeInteger(partition), `"${id}" must be a task id`);
  return { subTopology: subTopology as number, partition: partition as number };
}

export interface TaskOptions {
  readonly subTopology: SubTopology;
  readonly partition: number;
  readonly state: TaskState;
  readonly handlers: ErrorHandlers;
  readonly metrics: TaskMetrics;
  /** The topic's name on the broker: internal ones have the application id in front. */
  readonly topicName: (ref: { readonly name: string; readonly internal: boolean }) => string;
  readonly partitionCount: (topic: string) => number | undefined;
  /** The next offset to read of each source partition, and where its log ended when the task was opened, where that is known. */
  readonly startOffsets: readonly (TopicPartition & {
    readonly offset: number;
    readonly logEnd?: number | undefined;
  })[];
  readonly commitNumber: number;
  readonly clocks: Readonly<Record<string, Clock>>;
  readonly topicIds: Readonly<Record<string, string>>;
  /** What its commits say about its stores; by default nothing. */
  readonly storesNote?: Buffer;
  /** Called when a record that waited for its serde can be processed. */
  readonly onLoaded?: () => void;
}

const NO_NOTE = Buffer.alloc(0);
const NO_HEADERS: Headers = [];

/** Everything one task has to commit, frozen: outputs, state changes and source positions of the same records. */
export interface TaskCommit {
  readonly task: StreamTask;
  readonly outputs: CollectedOutputs;
  readonly changes: readonly TakenChanges[];
  readonly offsets: readonly (TopicPartition & { readonly offset: number })[];
  readonly commitNumber: number;
  readonly clocks: Readonly<Record<string, Clock>>;
  /** By sink: the times of some of its outputs. */
  readonly samples: readonly (readonly [node: string, timesMs: readonly number[]])[];
}

/**
 * One sub-topology at work on one partition: its queues, processors, stores and outputs. Synchronous: it waits for
 * nothing, and whoever owns it decides when to feed, process and commit it.
 */
export class StreamTask {
  readonly id: string;
  readonly partition: number;
  readonly subTopology: SubTopology;
  readonly state: TaskState;
  readonly queues: readonly RecordQueue[];

  readonly #options: TaskOptions;
  readonly #record = new CurrentRecord();
  readonly #collector: RecordCollector;
  readonly #nodes: NodeGraph;
  readonly #clocks: Record<string, Clock> = {};
  readonly #samples: SinkSamples[] = [];
  /** Clocks as they were before the current record. */
  readonly #clockList: { readonly clock: Clock; streamTimeMs: number; emittedUpToMs: number }[] = [];
  #commitNumber: number;
  #dirty = false;
  #unwrittenSinceMs: number | undefined;

  constructor(options: TaskOptions) {
    this.#options = options;
    this.subTopology = options.subTopology;
    this.partition = options.partition;
    this.state = options.state;
    this.id = formatTaskId({ subTopology: options.subTopology.id, partition: options.partition });
    this.#commitNumber = options.commitNumber;
    this.#collector = new RecordCollector(options.partitionCount);
    this.queues = this.#openQueues();
    for (const node of options.subTopology.processors) {
      if (!node.timed) continue;
      const clock = { ...(options.clocks[node.name] ?? { streamTimeMs: -1, emittedUpToMs: -1 }) };
      this.#clocks[node.name] = clock;
      this.#clockList.push({ clock, ...clock });
    }
    this.#nodes = wireNodes(options.subTopology, {
      record: this.#record,
      clocks: this.#clocks,
      store: (name) => this.state.store(name),
      drop: (node, reason) => options.metrics.dropped(node, reason),
      lateness: (node) => options.metrics.lateness(node),
      received: (node) => options.metrics.received(node),
      sink: (node) => this.#sink(node),
      rowDone: () => this.#keep(),
      rowFailed: (node, error) => this.#rowFailed(node, error),
    });
  }

  /** The commit number of the last commit that was taken. */
  get commitNumber(): number {
    return this.#commitNumber;
  }

  get clocks(): Readonly<Record<string, Clock>> {
    return this.#clocks;
  }

  /** True when records were processed or passed over since the last taking. */
  get isDirty(): boolean {
    return this.#dirty || !this.#collector.isEmpty;
  }

  /** What its uncommitted state and outputs hold in memory. */
  get cacheBytes(): number {
    return this.state.bufferedBytes + this.#collector.bufferedBytes;
  }

  /** What waits to be processed. */
  get queuedBytes(): number {
    let bytes = 0;
    for (const queue of this.queues) bytes += queue.bufferedBytes;
    return bytes;
  }

  add(fetched: FetchedPartition): void {
    const queue = this.queues.find((candidate) => candidate.topic === fetched.topic);
    if (queue === undefined) return;
    const before = queue.position;
    queue.add(fetched);
    if (queue.position !== before) this.#dirty = true;
  }

  /**
   * Processes up to `recordsMax` records, the one with the smallest event time first, and returns how many. With
   * `waitForOthers`, a task of several inputs stops while one of them is empty and may still have older records.
   */
  process(recordsMax: number, options: { readonly waitForOthers: boolean }): number {
    let done = 0;
    while (done < recordsMax) {
      const queue = this.#next(options.waitForOthers);
      if (queue === undefined) break;
      if (queue.head === "failed") this.#handleUnreadable(queue);
      else this.#processHead(queue);
      queue.advance();
      queue.consumed.value++;
      done++;
    }
    if (done > 0) this.#dirty = true;
    return done;
  }

  /** Freezes everything since the last taking, after each table's changed rows have gone through the nodes below it. */
  take(): TaskCommit {
    const record = this.#record;
    record.topic = "";
    record.partition = this.partition;
    record.offset = -1;
    record.headers = [];
    for (const flush of this.#nodes.flushes) flush();
    this.#keep();
    this.#dirty = false;
    this.#commitNumber++;
    return {
      task: this,
      outputs: this.#collector.take(),
      changes: this.state.take(),
      offsets: this.queues.map(({ topic, partition, position }) => ({ topic, partition, offset: position })),
      commitNumber: this.#commitNumber,
      clocks: structuredClone(this.#clocks),
      samples: this.#samples.map((sink) => [sink.node, sink.take()]),
    };
  }

  /** The Kafka transaction of `commit` is committed: `write` may write the same to SQLite. */
  apply(
    commit: TaskCommit,
    changelog: ReadonlyMap<string, { readonly firstOffset: number; readonly nextOffset: number }>,
    wallClockMs: number,
  ): void {
    const before = this.state.checkpoint();
    const changelogOffsets: Record<string, number> = { ...before?.changelogOffsets };
    const firstOffsets: Record<string, number> = {};
    for (const [store, { firstOffset, nextOffset }] of changelog) {
      changelogOffsets[store] = nextOffset;
      firstOffsets[store] = firstOffset;
    }
    const checkpoint: Checkpoint = {
      commitNumber: commit.commitNumber,
      sourceOffsets: commit.offsets,
      changelogOffsets,
      clocks: commit.clocks,
      topicIds: this.#options.topicIds,
      wallClockMs,
    };
    this.state.confirm(checkpoint, firstOffsets);
    this.#unwrittenSinceMs ??= performance.now();
    for (const [node, timesMs] of commit.samples) this.#options.metrics.endToEndLatency(node, timesMs, wallClockMs);
  }

  /** Since when something committed is not in SQLite; undefined when all is. By `performance.now()`. */
  get unwrittenSinceMs(): number | undefined {
    return this.#unwrittenSinceMs;
  }

  /** Writes to SQLite what is committed. Not between `take` and `apply`. */
  write(): void {
    this.state.write();
    this.#unwrittenSinceMs = undefined;
  }

  /** What a commit writes beside every source offset of this task. */
  metadata(commit: TaskCommit, owner: string): string {
    const stores = this.#options.storesNote ?? NO_NOTE;
    const metadata: CommitMetadata = { commitNumber: commit.commitNumber, owner, clocks: commit.clocks, stores };
    return encodeCommitMetadata(metadata);
  }

  close(): void {
    this.state.close();
  }

  // ---- records ----

  #next(waitForOthers: boolean): RecordQueue | undefined {
    let next: RecordQueue | undefined;
    for (const queue of this.queues) {
      if (queue.head === "failed") return queue;
      if (queue.head === "waiting") {
        if (waitForOthers) return undefined;
        continue;
      }
      if (queue.head === "none") {
        if (waitForOthers && this.queues.length > 1 && !queue.isCaughtUp) return undefined;
        continue;
      }
      if (next === undefined || queue.timestampMs < next.timestampMs) next = queue;
    }
    return next;
  }

  #processHead(queue: RecordQueue): void {
    const record = this.#record;
    record.key = queue.key;
    record.timestampMs = queue.timestampMs;
    record.recordTimestampMs = queue.recordTimestampMs;
    record.topic = queue.topic;
    record.partition = queue.partition;
    record.offset = queue.offset;
    record.headers = queue.headers;
    this.#markClocks();
    try {
      this.#receiver(queue.source)(queue.key, queue.value, queue.timestampMs);
      this.#keep();
    } catch (error) {
      if (!(error instanceof ProcessingError)) throw error;
      this.#takeBack();
      this.#handle("processing", error.node, error, queue);
    }
  }

  #receiver(source: SourceNode): (key: unknown, value: unknown, timestampMs: number) => void {
    const receive = this.#nodes.sources.get(source.name);
    invariant(receive !== undefined, `source "${source.name}" must be wired`);
    return receive;
  }

  #keep(): void {
    this.state.keep();
    this.#collector.keep();
  }

  #markClocks(): void {
    for (const mark of this.#clockList) {
      mark.streamTimeMs = mark.clock.streamTimeMs;
      mark.emittedUpToMs = mark.clock.emittedUpToMs;
    }
  }

  #takeBack(): void {
    this.state.takeBack();
    this.#collector.takeBack();
    for (const mark of this.#clockList) {
      mark.clock.streamTimeMs = mark.streamTimeMs;
      mark.clock.emittedUpToMs = mark.emittedUpToMs;
    }
  }

  // ---- failures ----

  #handleUnreadable(queue: RecordQueue): void {
    const error = queue.failure;
    invariant(error !== undefined, "a failed head must say why");
    this.#handle("deserialization", queue.source.name, error, queue);
  }

  #handle(stage: ErrorStage, node: string, error: Error, queue: RecordQueue): void {
    const copy = (bytes: Buffer | null): Uint8Array | null => (bytes === null ? null : Uint8Array.from(bytes));
    const failed: FailedRecord = {
      stage,
      node,
      topic: queue.topic,
      partition: queue.partition,
      offset: queue.offset,
      timestampMs: queue.recordTimestampMs,
      key: copy(queue.keyBytes),
      value: copy(queue.valueBytes),
      headers: queue.headers,
    };
    const action = decide(queue.source.onError ?? this.#options.handlers[stage], error, failed);
    this.#options.metrics.handled(stage, typeof action === "string" ? action : "dead-letter");
    if (action === "fail") throw unhandled(error, failed);
    if (action === "continue") {
      this.#options.metrics.dropped(node, error instanceof BadTimestampError ? "bad-timestamp" : "handler");
      return;
    }
    this.#deadLetter(action.deadLetter, error, failed);
    this.#options.metrics.deadLetter(action.deadLetter);
    this.#collector.keep();
  }

  /** To the same partition number as the input's, so that the order of one input partition is kept. */
  #deadLetter(topic: string, error: Error, failed: FailedRecord): void {
    const destination: Destination = { node: "dead-letter", topic, onError: "fail" };
    const choose = (partitions: number): number => failed.partition % partitions;
    this.#collector.send(
      destination,
      choose,
      failed.timestampMs,
      failed.key,
      failed.value,
      deadLetterHeaders(error, failed),
    );
  }

  #rowFailed(node: string, error: ProcessingError): void {
    this.state.takeBack();
    this.#collector.takeBack();
    const failed: FailedRecord = {
      stage: "processing",
      node: error.node,
      topic: node,
      partition: this.partition,
      offset: -1,
      timestampMs: this.#record.timestampMs,
      key: null,
      value: null,
      headers: [],
    };
    // A row comes from many records or none: there are no input bytes that a dead letter could hold.
    if (decide(this.#options.handlers.processing, error, failed) !== "continue") throw unhandled(error, failed);
    this.#options.metrics.handled("processing", "continue");
    this.#options.metrics.dropped(error.node, "handler");
  }

  // ---- outputs ----

  #sink(node: SinkNode): (key: unknown, value: unknown, timestampMs: number) => void {
    const record = this.#record;
    const collector = this.#collector;
    const fixed = typeof node.topic === "function" ? undefined : this.#options.topicName(node.topic);
    const destinations = new Map<string, Destination>();
    const ownPartition = this.partition;
    const writeValue = bytesOrText(node.value.serialize);
    const byKey: ChoosePartition = (partitions, key) =>
      key === null ? ownPartition % partitions : partitionOf(node.key.partitionBytes?.(key) ?? key, partitions);
    const samples = new SinkSamples(node.name);
    this.#samples.push(samples);
    return (key, value, timestampMs) => {
      record.key = key;
      record.timestampMs = timestampMs;
      const topic = fixed ?? this.#chosenTopic(node, value);
      let destination = destinations.get(topic);
      if (destination === undefined) {
        destination = { node: node.name, topic, isRepartition: node.repartition !== undefined, onError: node.onError };
        if (destinations.size < DESTINATIONS_MAX) destinations.set(topic, destination);
      }
      const keyBytes = key === null || key === undefined ? null : node.key.serialize(key);
      const written = value === null || value === undefined ? null : writeValue(value);
      const headers = node.headers === undefined ? NO_HEADERS : node.headers(value, record);
      const { partitioner } = node;
      const choose =
        partitioner === undefined ? byKey : (partitions: number): number => partitioner(key, value, partitions);
      collector.send(destination, choose, timestampMs, keyBytes, written, headers);
      samples.add(record.recordTimestampMs);
    };
  }

  #chosenTopic(node: SinkNode, value: unknown): string {
    invariant(typeof node.topic === "function", "only a topic extractor chooses a topic for each record");
    const topic = node.topic(value, this.#record);
    if (typeof topic !== "string" || !LEGAL_TOPIC.test(topic)) {
      throw new TypeError(`the topic extractor returned ${JSON.stringify(topic)}, which is no legal topic name`);
    }
    return topic;
  }

  #openQueues(): RecordQueue[] {
    const { subTopology, partition, topicName, startOffsets, metrics, onLoaded } = this.#options;
    const queues: RecordQueue[] = [];
    for (const source of subTopology.sources) {
      for (const ref of source.topics) {
        const topic = topicName(ref);
        const start = startOffsets.find((candidate) => candidate.topic === topic && candidate.partition === partition);
        // A topic merged with a wider one has no such partition.
        if (start === undefined) continue;
        const queue = new RecordQueue(topic, partition, source, start.offset, metrics.consumed(topic), onLoaded);
        // Without it a task of several inputs would wait for ever for one that is empty, and so never brings an answer.
        queue.highWatermark = start.logEnd;
        queues.push(queue);
      }
    }
    return queues;
  }
}

const LEGAL_TOPIC = /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/;
/** A topic extractor may name a topic for each record; remembering destinations must not grow with them. */
const DESTINATIONS_MAX = 1_000;
