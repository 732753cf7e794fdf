import type { StateFiles } from "../stores/state-files.js";
import type { TaskState } from "../stores/task-state.js";
import { invariant } from "../topology/errors.js";
import type { Clock } from "../topology/processor.js";
import type { ProcessorTopology, SubTopology } from "../topology/processor-topology.js";
import type { TopicPartition } from "../topology/record.js";
import type { ResolvedConfig } from "./config.js";
import { encodeStores } from "./definition-hashes.js";
import { FatalError, FencedError } from "./errors.js";
import { type TopicNames, topicsRead } from "./internal-topics.js";
import { type RestoreJob, restore } from "./restore.js";
import { assertStillCommitted, settleOrphans, stableOffsets } from "./stable-offsets.js";
import { laterClocks, type SourcePosition, type StartPosition, startPosition } from "./start-position.js";
import { formatTaskId, StreamTask, type TaskId } from "./task.js";
import { TaskMetrics } from "./task-metrics.js";
import type { TopicDirectory } from "./topic-directory.js";
import type { CommittedOffset, Transport } from "./transport.js";
import { unfitReason } from "./unfit-state.js";

export interface TaskOpenerOptions {
  readonly topology: ProcessorTopology;
  readonly config: ResolvedConfig;
  readonly transport: Transport;
  readonly directory: TopicDirectory;
  readonly names: TopicNames;
  readonly files: StateFiles;
  readonly onLoaded: () => void;
}

export interface OpenedTask {
  readonly task: StreamTask;
  /** Its first position was chosen now, and must be committed before its first fetch. */
  readonly isNew: boolean;
}

export interface StoreRestoreProgress {
  readonly store: string;
  readonly partition: number;
  /** Changelog offsets still to read. */
  readonly remaining: number;
}

export interface RestoreProgress {
  readonly task: string;
  readonly done: number;
  readonly total: number;
}

/** The other thread has the last commit of its generation behind it; what is left is to close the file. */
const FILE_WAIT_MS = 30_000;
const FILE_POLL_MS = 10;

interface Opening {
  readonly id: TaskId;
  readonly subTopology: SubTopology;
  readonly state: TaskState;
  readonly start: StartPosition;
  readonly sources: readonly SourcePosition[];
  readonly topicIds: Readonly<Record<string, string>>;
  readonly jobs: RestoreJob[];
}

/**
 * Opens tasks in the order that protocol 14 asks for: committed offsets once they are stable, then the local file checked
 * against the topics, then the changelogs up to their ends, then whether the offsets are still committed.
 */
export class TaskOpener {
  readonly #options: TaskOpenerOptions;
  readonly #openings = new Map<string, Opening>();

  constructor(options: TaskOpenerOptions) {
    this.#options = options;
  }

  /** How far the tasks being opened are. */
  get progress(): readonly RestoreProgress[] {
    return [...this.#openings].map(([task, { jobs }]) => ({
      task,
      done: jobs.reduce((sum, job) => sum + Math.min(job.position, job.target), 0),
      total: jobs.reduce((sum, job) => sum + job.target, 0),
    }));
  }

  get storeProgress(): readonly StoreRestoreProgress[] {
    return [...this.#openings.values()].flatMap(({ jobs }) =>
      jobs.map(({ store, partition, position, target }) => ({
        store,
        partition,
        remaining: Math.max(0, target - position),
      })),
    );
  }

  /**
   * Yields each task when it has all its state. When `signal` aborts, what is not open yet is closed again; its file keeps
   * what was restored. `liveOwners` are the transactional ids of this generation's members.
   */
  async *open(
    ids: readonly TaskId[],
    signal: AbortSignal,
    liveOwners: ReadonlySet<string>,
  ): AsyncGenerator<OpenedTask> {
    const fetcher = this.#options.transport.openFetcher({ name: "restore", readCommitted: true });
    // A fetch under way returns when its fetcher closes: a broker that has died must not hold up whoever closes this.
    const close = (): void => void fetcher.close();
    signal.addEventListener("abort", close, { once: true });
    try {
      const committed = await this.#committedOffsets(ids, signal, liveOwners);
      if (signal.aborted) return;
      await this.#prepare(ids, committed, signal);
      if (signal.aborted) return;
      yield* this.#ready(committed, signal);
      const jobs = [...this.#openings.values()].flatMap((opening) => opening.jobs);
      const { metrics, logger } = this.#options.config;
      const beganMs = performance.now();
      for await (const job of restore(jobs, fetcher, { metrics, logger, signal })) {
        logger.info(
          { task: job.task, store: job.store, records: job.restored },
          `restored store "${job.store}" of task ${job.task}: ${job.restored} records`,
        );
        metrics
          .histogram("restore_duration_seconds", { store: job.store })
          .observe((performance.now() - beganMs) / 1000);
        yield* this.#ready(committed, signal);
      }
    } finally {
      for (const { state } of this.#openings.values()) state.close();
      this.#openings.clear();
      signal.removeEventListener("abort", close);
      await fetcher.close();
    }
  }

  async *#ready(committed: readonly CommittedOffset[], signal: AbortSignal): AsyncGenerator<OpenedTask> {
    const ready = [...this.#openings].filter(([, { jobs }]) => jobs.every((job) => job.position >= job.target));
    const restored = ready.filter(([, { jobs }]) => jobs.some((job) => job.restored > 0));
    await this.#assertStillCommitted(
      restored.map(([, { id }]) => id),
      committed,
      { signal },
    );
    if (signal.aborted) return;
    for (const [name, opening] of ready) {
      // From here on the task owns its file.
      this.#openings.delete(name);
      yield { task: this.#task(opening), isNew: opening.start.isNew };
    }
  }

  #task({ id, subTopology, state, start, sources, topicIds }: Opening): StreamTask {
    const startOffsets = start.offsets.map((one) => {
      const source = sources.find(({ topic, partition }) => topic === one.topic && partition === one.partition);
      return { ...one, logEnd: source?.logEnd };
    });
    const { config, names, directory, onLoaded } = this.#options;
    return new StreamTask({
      subTopology,
      partition: id.partition,
      state,
      handlers: config.onError,
      metrics: new TaskMetrics(config.metrics, subTopology),
      topicName: (ref) => names.of(ref),
      partitionCount: (topic) => directory.partitionCount(topic),
      startOffsets,
      commitNumber: start.commitNumber,
      clocks: laterClocks(start.clocks, restoredClocks(subTopology, state)),
      topicIds,
      storesNote: this.#storesNote(subTopology),
      onLoaded,
    });
  }

  // ---- before restoring ----

  async #committedOffsets(
    ids: readonly TaskId[],
    signal: AbortSignal,
    liveOwners: ReadonlySet<string>,
  ): Promise<readonly CommittedOffset[]> {
    const { transport, config } = this.#options;
    const partitions = ids.flatMap((id) => this.#sourcePartitions(id));
    return stableOffsets(transport.topics, config.applicationId, partitions, {
      signal,
      settleOrphans: async () => {
        const owners = await settleOrphans(transport, config.applicationId, partitions, liveOwners);
        if (owners.length > 0) config.logger.info({ owners }, "ended what an instance that is gone had left open");
      },
    });
  }

  /** The changelogs were asked after the offsets: what is restored is newer than those, if an owner came in between. */
  async #assertStillCommitted(
    ids: readonly TaskId[],
    committed: readonly CommittedOffset[],
    options: { readonly signal: AbortSignal; readonly cause?: unknown },
  ): Promise<void> {
    if (ids.length === 0) return;
    const { transport, config } = this.#options;
    const sources = new Set(ids.flatMap((id) => this.#sourcePartitions(id)).map(partitionName));
    const theirs = committed.filter((one) => sources.has(partitionName(one)));
    await assertStillCommitted(transport.topics, config.applicationId, theirs, options);
  }

  async #prepare(ids: readonly TaskId[], committed: readonly CommittedOffset[], signal: AbortSignal): Promise<void> {
    const { directory } = this.#options;
    const sources = ids.flatMap((id) => this.#sourcePartitions(id));
    const changelogs = ids.flatMap((id) => this.#changelogPartitions(id));
    const all = [...sources, ...changelogs];
    await directory.lookUp(
      all.map(({ topic }) => topic),
      { again: true, purpose: "Read" },
    );
    const [low, high] = await Promise.all([
      directory.admin.offsets(all, "earliest"),
      directory.admin.offsets(all, "latest"),
    ]);
    await this.#filesAreFree(ids, signal);
    if (signal.aborted) return;
    const ends: Ends = {
      low: offsetsByPartition(low),
      high: offsetsByPartition(high),
      committed: new Map(committed.map((one) => [partitionName(one), one])),
    };
    try {
      for (const id of ids) this.#prepareOne(id, ends);
    } catch (error) {
      // An owner that came in between may have gone on, and cut the log behind itself.
      if (error instanceof FatalError) await this.#assertStillCommitted(ids, committed, { signal, cause: error });
      if (!signal.aborted) throw error;
    }
  }

  /** A task may come from another thread of this process, which closes its file when it has joined as well (protocol 18). */
  async #filesAreFree(ids: readonly TaskId[], signal: AbortSignal): Promise<void> {
    const deadlineMs = performance.now() + FILE_WAIT_MS;
    for (const id of ids) {
      while (!signal.aborted && this.#options.files.isOpen(this.#subTopology(id).stores, id.partition)) {
        if (performance.now() > deadlineMs) {
          throw new FencedError(
            `the state of task ${formatTaskId(id)} is still open in another thread of this process after ${FILE_WAIT_MS} ms`,
          );
        }
        await new Promise((resolve) => setTimeout(resolve, FILE_POLL_MS));
      }
    }
  }

  /** Synchronous, so that an error of one task leaves none of the files half open: `open` closes what stands in the table. */
  #prepareOne(id: TaskId, ends: Ends): void {
    const subTopology = this.#subTopology(id);
    const { config, names, files, directory } = this.#options;
    const name = formatTaskId(id);
    const { state, wipedBecause } = files.open(subTopology.stores, id.partition);
    const opening: Opening = { id, subTopology, state, start: NO_START, sources: [], topicIds: {}, jobs: [] };
    this.#openings.set(name, opening);
    const changelogs = this.#changelogPartitions(id).map(({ store, topic, partition }) => {
      const at = partitionName({ topic, partition });
      return { store, topic, partition, low: ends.low.get(at) ?? 0, high: ends.high.get(at) ?? 0 };
    });
    const topics = [...topicsRead(subTopology, names), ...changelogs.map(({ topic }) => topic)];
    const topicIds = Object.fromEntries(topics.map((topic) => [topic, directory.get(topic)?.topicId ?? ""]));
    const known = state.checkpoint()?.topicIds ?? {};
    const isAnew = (topic: string): boolean => known[topic] !== undefined && known[topic] !== topicIds[topic];
    const unfit = unfitReason(state, changelogs, isAnew, Date.now());
    const usable = unfit === undefined ? state : files.reopenEmpty(state, subTopology.stores, id.partition);
    if (wipedBecause !== undefined) config.logger.warn({ task: name }, `task ${name}: ${wipedBecause}`);
    if (unfit !== undefined)
      config.logger.warn(
        { task: name, reason: unfit },
        `task ${name}: the local state is wiped and restored: ${unfit}`,
      );
    const checkpoint = usable.checkpoint();
    const sources = this.#sourcePositions(id, subTopology, ends, isAnew);
    const start = startPosition({
      task: name,
      sources,
      changelogs,
      checkpoint,
      timedNodes: subTopology.processors.filter(({ timed }) => timed).map((node) => node.name),
      onOffsetOutOfRange: config.onOffsetOutOfRange,
      storesNote: this.#storesNote(subTopology),
    });
    const jobs = changelogs.map(({ store, topic, partition, low, high }): RestoreJob => {
      const position = Math.max(checkpoint?.changelogOffsets[store] ?? low, low);
      const topicId = topicIds[topic] ?? "";
      return { task: name, store, state: usable, topic, topicId, partition, position, target: high, restored: 0 };
    });
    this.#openings.set(name, { ...opening, state: usable, start, sources, topicIds, jobs });
  }

  #sourcePositions(
    id: TaskId,
    subTopology: SubTopology,
    ends: Ends,
    isAnew: (topic: string) => boolean,
  ): SourcePosition[] {
    const { names, config } = this.#options;
    return subTopology.sources.flatMap((source) =>
      source.topics.flatMap((ref) => {
        const topic = names.of(ref);
        const at = partitionName({ topic, partition: id.partition });
        const logStart = ends.low.get(at);
        const logEnd = ends.high.get(at);
        if (logStart === undefined || logEnd === undefined) return [];
        const committed = ends.committed.get(at);
        // A repartition topic is read from its start whatever the reset policy: what is in it was processed once already.
        const reset = ref.internal ? "earliest" : (source.startAt ?? config.autoOffsetReset);
        return [
          {
            topic,
            partition: id.partition,
            committed: committed?.offset,
            metadata: committed?.metadata ?? "",
            logStart,
            logEnd,
            isAnew: isAnew(topic),
            reset,
          },
        ];
      }),
    );
  }

  #sourcePartitions(id: TaskId): TopicPartition[] {
    const { names, directory } = this.#options;
    return topicsRead(this.#subTopology(id), names)
      .filter((topic) => id.partition < (directory.partitionCount(topic) ?? 0))
      .map((topic) => ({ topic, partition: id.partition }));
  }

  #changelogPartitions(id: TaskId): (TopicPartition & { readonly store: string })[] {
    return this.#subTopology(id)
      .stores.filter(({ changelog }) => changelog)
      .map(({ name }) => ({ store: name, topic: this.#options.names.changelog(name), partition: id.partition }));
  }

  #storesNote(subTopology: SubTopology): Buffer {
    const { names, directory } = this.#options;
    const counts = topicsRead(subTopology, names).map((topic) => directory.partitionCount(topic) ?? 0);
    return encodeStores(subTopology, Math.max(...counts));
  }

  #subTopology(id: TaskId): SubTopology {
    const subTopology = this.#options.topology.subTopologies[id.subTopology];
    invariant(subTopology !== undefined, `task ${formatTaskId(id)} must belong to this topology`);
    return subTopology;
  }
}

interface Ends {
  readonly low: ReadonlyMap<string, number>;
  readonly high: ReadonlyMap<string, number>;
  readonly committed: ReadonlyMap<string, CommittedOffset>;
}

const NO_START: StartPosition = { offsets: [], commitNumber: 0, clocks: {}, isNew: false };

function partitionName({ topic, partition }: TopicPartition): string {
  return `${partition} ${topic}`;
}

function offsetsByPartition(offsets: readonly (TopicPartition & { readonly offset: number })[]): Map<string, number> {
  return new Map(offsets.map((one) => [partitionName(one), one.offset]));
}

/** What the restored windows say about time: at least the start of the newest one was seen (protocol 19). */
function restoredClocks(subTopology: SubTopology, state: TaskState): Record<string, Clock> {
  const clocks: Record<string, Clock> = {};
  for (const node of subTopology.processors) {
    if (!node.timed) continue;
    const newest = node.stores.map((store) => state.newestWindowStartMs(store) ?? -1);
    clocks[node.name] = { streamTimeMs: Math.max(-1, ...newest), emittedUpToMs: -1 };
  }
  return clocks;
}
