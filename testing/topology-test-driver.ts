import { StreamsMetrics } from "../metrics/metrics.js";
import type { ChangelogRange } from "../runtime/commit.js";
import { batchOf } from "../runtime/delivery.js";
import { type ErrorHandlers, FAIL } from "../runtime/error-handling.js";
import { TopicNames, topicsRead } from "../runtime/internal-topics.js";
import type { NewRecord } from "../runtime/record-batch.js";
import { recordsOf } from "../runtime/record-cursor.js";
import { StreamTask, type TaskCommit } from "../runtime/task.js";
import { TaskMetrics } from "../runtime/task-metrics.js";
import type { Serde } from "../serdes/serde.js";
import { openTaskState } from "../stores/open-stores.js";
import { StreamsError } from "../topology/errors.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import type { Headers } from "../topology/record.js";
import type { KeyValueStore, Row, WindowStore } from "../topology/state-store.js";

export interface TopologyTestDriverOptions {
  readonly applicationId?: string;
  /** What the mock wall clock says at first; it moves by `advanceWallClockTime` only. Default 0. */
  readonly initialWallClockMs?: number;
  readonly onError?: Partial<ErrorHandlers>;
}

/** A record as a test sees it in an output topic. */
export interface TestRecord<K, V> {
  readonly key: K | null;
  readonly value: V | null;
  readonly timestampMs: number;
  readonly headers: Headers;
}

export interface PipeOptions {
  /** Kafka's own timestamp of the record. Default: the mock wall clock. */
  readonly timestampMs?: number;
  readonly headers?: Headers;
}

/**
 * Runs a topology in a test, without a broker and without waiting: the engine's own tasks and stores (in memory), one
 * partition each. Every piped record is processed and committed through all repartition topics before `pipeInput` returns.
 */
export class TopologyTestDriver {
  readonly #tasks: StreamTask[] = [];
  readonly #names: TopicNames;
  readonly #topics = new Map<string, NewRecord[]>();
  readonly #read = new Map<string, number>();
  readonly #ends = new Map<string, number>();
  readonly #metrics: StreamsMetrics;
  #wallClockMs: number;

  constructor(topology: ProcessorTopology, options: TopologyTestDriverOptions = {}) {
    const applicationId = options.applicationId ?? "test";
    this.#wallClockMs = options.initialWallClockMs ?? 0;
    this.#names = new TopicNames(applicationId);
    this.#metrics = new StreamsMetrics({ applicationId });
    for (const subTopology of topology.subTopologies) {
      const startOffsets = topicsRead(subTopology, this.#names).map((topic) => ({ topic, partition: 0, offset: 0 }));
      this.#tasks.push(
        new StreamTask({
          subTopology,
          partition: 0,
          state: openTaskState({ file: ":memory:", stores: subTopology.stores }),
          handlers: { ...FAIL, ...options.onError },
          metrics: new TaskMetrics(this.#metrics, subTopology),
          topicName: (ref) => this.#names.of(ref),
          partitionCount: () => 1,
          startOffsets,
          commitNumber: 0,
          clocks: {},
          topicIds: {},
        }),
      );
    }
  }

  createInputTopic<K, V>(topic: string, key: Serde<K>, value: Serde<V>): TestInputTopic<K, V> {
    if (!this.#tasks.some((task) => task.queues.some((queue) => queue.topic === topic))) {
      throw new StreamsError(
        "UNKNOWN_INPUT_TOPIC",
        `the topology does not read "${topic}"; it reads ${this.#sourceNames().join(", ")}`,
      );
    }
    return new TestInputTopic(
      (record) => this.#pipe(topic, record),
      key,
      value,
      () => this.#wallClockMs,
    );
  }

  createOutputTopic<K, V>(topic: string, key: Serde<K>, value: Serde<V>): TestOutputTopic<K, V> {
    return new TestOutputTopic(
      () => this.#topics.get(topic)?.slice(this.#read.get(topic) ?? 0) ?? [],
      (count) => this.#read.set(topic, (this.#read.get(topic) ?? 0) + count),
      key,
      value,
      topic,
    );
  }

  /** Every topic that something was written to, internal ones with the application id in front. */
  producedTopicNames(): ReadonlySet<string> {
    return new Set(this.#topics.keys());
  }

  /** Moves the mock wall clock and commits. */
  advanceWallClockTime(byMs: number): void {
    this.#wallClockMs += byMs;
    this.#settle();
  }

  getKeyValueStore<K, V>(name: string): TestKeyValueStore<K, V> {
    return new TestKeyValueStore(this.#store(name, "key-value") as KeyValueStore<K, V>);
  }

  getWindowStore<K, V>(name: string): TestWindowStore<K, V> {
    return new TestWindowStore(this.#store(name, "window") as WindowStore<K, V>);
  }

  /** Records, and refusals of windows, that went no further: the sum over nodes and reasons. */
  async droppedRecords(): Promise<number> {
    const metric = await this.#metrics.registry.getSingleMetric("millrace_records_dropped_total")?.get();
    return (metric?.values ?? []).reduce((sum, { value }) => sum + value, 0);
  }

  close(): void {
    for (const task of this.#tasks) task.close();
  }

  #pipe(topic: string, record: NewRecord): void {
    this.#feed(topic, [record]);
    this.#settle();
  }

  /** Processes and commits until no task has anything left: what goes into a repartition topic comes out in the same step. */
  #settle(): void {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (const task of this.#tasks) {
        while (task.process(1_000, { waitForOthers: false }) > 0) isBusy = true;
        if (this.#commit(task)) isBusy = true;
        this.#expectLoaded(task);
      }
    }
  }

  /** A test does not wait: what a serde needs is loaded before. */
  #expectLoaded({ queues }: StreamTask): void {
    const waiting = queues.find(({ head }) => head === "waiting");
    if (waiting === undefined) return;
    const message = `a record of "${waiting.topic}" waits: ${waiting.failure?.message}; await what it needs before pipeInput`;
    throw new StreamsError("NOT_LOADED", message);
  }

  /** True when something went to a topic that a task reads. */
  #commit(task: StreamTask): boolean {
    const commit = task.take();
    task.apply(commit, this.#changelogRanges(commit), this.#wallClockMs);
    task.write();
    let isRead = false;
    for (const { topic, batch } of commit.outputs.batches) {
      const records = recordsOf(batch);
      this.#topics.set(topic, [...(this.#topics.get(topic) ?? []), ...records]);
      if (this.#feed(topic, records)) isRead = true;
    }
    return isRead;
  }

  /** Changelogs are not kept, as nobody reads them here; their offsets count on, because stores remember where their rows are. */
  #changelogRanges({ changes }: TaskCommit): Map<string, ChangelogRange> {
    const ranges = new Map<string, ChangelogRange>();
    for (const { store, rows } of changes) {
      const topic = this.#names.changelog(store);
      const firstOffset = this.#ends.get(topic) ?? 0;
      const nextOffset = firstOffset + rows.length;
      this.#ends.set(topic, nextOffset);
      if (rows.length > 0) ranges.set(store, { firstOffset, nextOffset });
    }
    return ranges;
  }

  /** Appends to a topic as its readers see it; true when there are any. */
  #feed(topic: string, records: readonly NewRecord[]): boolean {
    const readers = this.#tasks.filter((task) => task.queues.some((queue) => queue.topic === topic));
    const offset = this.#ends.get(topic) ?? 0;
    const end = offset + records.length;
    this.#ends.set(topic, end);
    const set = batchOf(records).seal(undefined, BigInt(offset));
    for (const reader of readers) {
      reader.add({
        topic,
        partition: 0,
        offset,
        records: set,
        aborted: [],
        highWatermark: end,
        lastStableOffset: end,
        logStartOffset: 0,
        fault: undefined,
      });
    }
    return readers.length > 0;
  }

  #sourceNames(): string[] {
    return this.#tasks.flatMap((task) => task.queues.map(({ topic }) => topic));
  }

  #store(name: string, kind: "key-value" | "window"): KeyValueStore | WindowStore {
    const task = this.#tasks.find(({ subTopology }) =>
      subTopology.stores.some((store) => store.name === name && store.kind === kind),
    );
    if (task === undefined) throw new StreamsError("UNKNOWN_STORE", `the topology has no ${kind} store "${name}"`);
    return task.state.store(name) as KeyValueStore | WindowStore;
  }
}

export class TestInputTopic<K, V> {
  constructor(
    readonly pipe: (record: NewRecord) => void,
    readonly key: Serde<K>,
    readonly value: Serde<V>,
    readonly wallClockMs: () => number,
  ) {}

  pipeInput(key: K | null, value: V | null, options: PipeOptions = {}): void {
    this.pipe({
      timestampMs: options.timestampMs ?? this.wallClockMs(),
      key: key === null ? null : this.key.serialize(key),
      value: value === null ? null : this.value.serialize(value),
      headers: options.headers ?? [],
    });
  }
}

export class TestOutputTopic<K, V> {
  constructor(
    readonly unread: () => readonly NewRecord[],
    readonly markRead: (count: number) => void,
    readonly key: Serde<K>,
    readonly value: Serde<V>,
    readonly topic: string,
  ) {}

  get isEmpty(): boolean {
    return this.unread().length === 0;
  }

  getQueueSize(): number {
    return this.unread().length;
  }

  /** The next record. @throws StreamsError OUTPUT_TOPIC_EMPTY */
  readRecord(): TestRecord<K, V> {
    const [next] = this.unread();
    if (next === undefined) throw new StreamsError("OUTPUT_TOPIC_EMPTY", `nothing more was written to "${this.topic}"`);
    this.markRead(1);
    return this.#decode(next);
  }

  readRecordsToList(): TestRecord<K, V>[] {
    const records = this.unread().map((record) => this.#decode(record));
    this.markRead(records.length);
    return records;
  }

  readKeyValue(): { readonly key: K | null; readonly value: V | null } {
    const { key, value } = this.readRecord();
    return { key, value };
  }

  readKeyValuesToList(): { readonly key: K | null; readonly value: V | null }[] {
    return this.readRecordsToList().map(({ key, value }) => ({ key, value }));
  }

  #decode({ key, value, timestampMs, headers }: NewRecord): TestRecord<K, V> {
    return {
      key: key === null ? null : this.key.deserialize(key),
      value: value === null ? null : this.value.deserialize(value),
      timestampMs,
      headers,
    };
  }
}

/** A key-value store as a test sees it: read only. */
export class TestKeyValueStore<K, V> {
  constructor(readonly store: KeyValueStore<K, V>) {}

  get(key: K): V | undefined {
    return this.store.get(key)?.value;
  }

  all(): { readonly key: K; readonly row: Row<V> }[] {
    return [...this.store.all()].map(([key, row]) => ({ key, row }));
  }
}

/** A window store as a test sees it: read only. */
export class TestWindowStore<K, V> {
  constructor(readonly store: WindowStore<K, V>) {}

  get(key: K, startMs: number): V | undefined {
    return this.store.get(key, startMs)?.value;
  }

  all(): { readonly key: K; readonly startMs: number; readonly row: Row<V> }[] {
    return [...this.store.range(0, Number.MAX_SAFE_INTEGER)].map(([key, startMs, row]) => ({ key, startMs, row }));
  }
}
