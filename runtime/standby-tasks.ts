import type { StateFiles } from "../stores/state-files.js";
import type { TaskState } from "../stores/task-state.js";
import { invariant, StreamsError } from "../topology/errors.js";
import type { ProcessorTopology, SubTopology } from "../topology/processor-topology.js";
import { changelogSlices } from "./changelog-slices.js";
import type { ResolvedConfig } from "./config.js";
import { UnavailableError } from "./errors.js";
import type { TopicNames } from "./internal-topics.js";
import { formatTaskId, parseTaskId, type TaskId } from "./task.js";
import type { TopicDirectory } from "./topic-directory.js";
import type { FetchedPartition, Fetcher, Transport } from "./transport.js";
import { unfitReason } from "./unfit-state.js";
import { Wakeup } from "./wakeup.js";

export interface StandbyTasksOptions {
  readonly topology: ProcessorTopology;
  readonly config: ResolvedConfig;
  readonly transport: Transport;
  readonly directory: TopicDirectory;
  readonly names: TopicNames;
  readonly files: StateFiles;
}

export interface StandbyProgress {
  readonly task: string;
  /** By store. */
  readonly stores: readonly { readonly store: string; readonly position: number; readonly lag: number }[];
}

/** One changelog that a standby follows. */
interface Tail {
  readonly store: string;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** The next changelog offset to read. */
  position: number;
  /** The high watermark, as of the last answer. */
  end: number;
}

interface Standby {
  readonly id: TaskId;
  readonly name: string;
  readonly subTopology: SubTopology;
  state: TaskState;
  readonly tails: Tail[];
}

/** Bounds of one round. Written in slices, with the processing of active tasks in between. */
const ROUND_BYTES_MAX = 2 * 1024 * 1024;
const PARTITION_BYTES_MAX = 1024 * 1024;
const WAIT_MS = 500;
/** Between two rounds of standbys that are not far behind: an active task commits ten times a second, and each round costs a request. */
const PAUSE_MS = 100;
/** More than this is a backlog, and read without a pause. */
const BACKLOG_OFFSETS = 10_000;
/** Between tries while brokers, or another thread's hold on a file, let nothing be read. */
const RETRY_MS = 1_000;

/**
 * Copies of the state of tasks that others run, so that taking one over restores only its tail (protocol 24). Each follows
 * the changelogs of its task, read-committed, into a file of its own: so it holds what committed transactions cover, as the
 * file of an active task does, and becomes one by being closed here and opened there. It follows them beside the work, and
 * also while the group rebalances: it owns nothing that another member could take from it.
 */
export class StandbyTasks {
  readonly #options: StandbyTasksOptions;
  readonly #open = new Map<string, Standby>();
  readonly #wakeup = new Wakeup();
  #wanted: readonly string[] = [];
  #running: Promise<void> | undefined;
  #fetcher: Fetcher | undefined;
  #stopped = false;
  #failure: unknown;
  #isAway = false;

  constructor(options: StandbyTasksOptions) {
    this.#options = options;
  }

  /** What ended the following for good. */
  get failure(): unknown {
    return this.#failure;
  }

  get progress(): readonly StandbyProgress[] {
    return [...this.#open.values()].map(({ name, tails }) => ({
      task: name,
      stores: tails.map(({ store, position, end }) => ({ store, position, lag: Math.max(0, end - position) })),
    }));
  }

  /** Follows these from now on. The files of all others are closed when it returns, so that they can be opened as active. */
  assign(tasks: readonly string[]): void {
    this.#wanted = tasks;
    for (const standby of [...this.#open.values()]) if (!tasks.includes(standby.name)) this.#close(standby);
    if (tasks.length > 0) this.#running ??= this.#run();
    this.#wakeup.wake();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wakeup.wake();
    await this.#fetcher?.close();
    await this.#running;
    for (const standby of [...this.#open.values()]) this.#close(standby);
  }

  async #run(): Promise<void> {
    this.#fetcher = this.#options.transport.openFetcher({ name: "standby", readCommitted: true });
    while (!this.#stopped) {
      try {
        const pauseMs = await this.#round(this.#fetcher);
        this.#isAway = false;
        if (pauseMs > 0) await this.#wakeup.sleep(pauseMs);
      } catch (error) {
        if (this.#stopped) return;
        if (!(error instanceof UnavailableError)) {
          this.#failure = error;
          return;
        }
        // The active tasks tell it loudly, and decide what becomes of the session.
        if (!this.#isAway) this.#options.config.logger.warn({ code: error.code }, `standbys wait: ${error.message}`);
        this.#isAway = true;
        await this.#wakeup.sleep(RETRY_MS);
      }
    }
  }

  /** Returns how long to wait before the next one. */
  async #round(fetcher: Fetcher): Promise<number> {
    const missing = this.#wanted.filter((name) => !this.#open.has(name));
    if (missing.length > 0) await this.#openAll(missing);
    const standbys = [...this.#open.values()];
    if (standbys.length === 0) return RETRY_MS;
    // Furthest behind first: an answer may have no room for the last.
    const tails = standbys
      .flatMap((standby) => standby.tails)
      .sort((a, b) => b.end - b.position - (a.end - a.position));
    const fetched = await fetcher.fetch({
      positions: tails.map(({ topic, partition, position }) => ({ topic, partition, offset: position })),
      maxWaitMs: WAIT_MS,
      bytesMax: ROUND_BYTES_MAX,
      partitionBytesMax: PARTITION_BYTES_MAX,
    });
    for (const answer of fetched) await this.#apply(answer);
    return tails.some(({ position, end }) => end - position > BACKLOG_OFFSETS) ? 0 : PAUSE_MS;
  }

  async #apply(answer: FetchedPartition): Promise<void> {
    const found = this.#find(answer);
    if (found === undefined) return;
    const { standby, tail } = found;
    if (answer.fault === "unavailable") {
      throw new UnavailableError(`changelog ${tail.topic}-${tail.partition} cannot be read at ${tail.position}`);
    }
    if (answer.fault === "out-of-range") {
      // It was cut past what was read: what the cut took may be missed here, so it begins again at the low watermark.
      this.#wipe(standby, `changelog ${tail.topic} does not hold offset ${tail.position} any more`);
      return;
    }
    tail.end = answer.highWatermark;
    if (answer.offset !== tail.position || answer.records.length === 0) return;
    const counter = this.#options.config.metrics.counter("standby_records_total", { store: tail.store });
    for (const { records, nextOffset } of changelogSlices(answer)) {
      // Its task may have come here, or gone elsewhere, while other work had its turn.
      if (this.#stopped || this.#open.get(standby.name) !== standby) return;
      try {
        standby.state.restore(tail.store, records, nextOffset, { [tail.topic]: tail.topicId });
      } catch (error) {
        if (!(error instanceof StreamsError) || error.code !== "STATE_CORRUPT") throw error;
        this.#wipe(standby, error.message);
        return;
      }
      tail.position = nextOffset;
      counter.value += records.length;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #find({ topic, partition }: FetchedPartition): { readonly standby: Standby; readonly tail: Tail } | undefined {
    for (const standby of this.#open.values()) {
      const tail = standby.tails.find((one) => one.topic === topic && one.partition === partition);
      if (tail !== undefined) return { standby, tail };
    }
    return undefined;
  }

  // ---- files ----

  async #openAll(names: readonly string[]): Promise<void> {
    const { directory, files, config } = this.#options;
    const changelogs = names.flatMap((name) => this.#changelogs(parseTaskId(name)));
    await directory.lookUp(
      changelogs.map(({ topic }) => topic),
      { again: true, purpose: "Read" },
    );
    const [low, high] = await Promise.all([
      directory.admin.offsets(changelogs, "earliest"),
      directory.admin.offsets(changelogs, "latest"),
    ]);
    const at = (offsets: typeof low, topic: string, partition: number): number =>
      offsets.find((one) => one.topic === topic && one.partition === partition)?.offset ?? 0;
    for (const name of names) {
      const id = parseTaskId(name);
      const subTopology = this.#subTopology(id);
      // An active task of another thread closes it when it has joined as well (protocol 18): the next round asks again.
      if (this.#stopped || !this.#wanted.includes(name) || files.isOpen(subTopology.stores, id.partition)) continue;
      const spans = this.#changelogs(id).map(({ store, topic, partition }) => ({
        ...{ store, topic, partition, topicId: directory.get(topic)?.topicId ?? "" },
        ...{ low: at(low, topic, partition), high: at(high, topic, partition) },
      }));
      const { state, wipedBecause } = files.open(subTopology.stores, id.partition);
      const known = state.checkpoint()?.topicIds ?? {};
      const isAnew = (topic: string): boolean =>
        known[topic] !== undefined && known[topic] !== directory.get(topic)?.topicId;
      const unfit = unfitReason(state, spans, isAnew, Date.now());
      const usable = unfit === undefined ? state : files.reopenEmpty(state, subTopology.stores, id.partition);
      const offsets = usable.checkpoint()?.changelogOffsets ?? {};
      const tails = spans.map(({ store, topic, topicId, partition, low: from, high: end }): Tail => {
        return { store, topic, topicId, partition, position: Math.max(offsets[store] ?? from, from), end };
      });
      this.#open.set(name, { id, name, subTopology, state: usable, tails });
      const behind = tails.reduce((sum, { position, end }) => sum + Math.max(0, end - position), 0);
      const reason = wipedBecause ?? unfit;
      if (reason !== undefined) this.#sayAnew(name, reason);
      config.logger.info({ task: name, behind }, `standby ${name}: ${behind} changelog offsets to read`);
    }
  }

  /** Begins again with nothing, at the low watermark, in the next round. */
  #wipe(standby: Standby, reason: string): void {
    this.#sayAnew(standby.name, reason);
    this.#open.delete(standby.name);
    standby.state.wipe();
  }

  #sayAnew(task: string, reason: string): void {
    this.#options.config.logger.warn({ task, reason }, `standby ${task} begins again: ${reason}`);
  }

  #close(standby: Standby): void {
    this.#open.delete(standby.name);
    standby.state.close();
  }

  #changelogs(id: TaskId): { readonly store: string; readonly topic: string; readonly partition: number }[] {
    return this.#subTopology(id)
      .stores.filter(({ changelog }) => changelog)
      .map(({ name }) => ({ store: name, topic: this.#options.names.changelog(name), partition: id.partition }));
  }

  #subTopology(id: TaskId): SubTopology {
    const subTopology = this.#options.topology.subTopologies[id.subTopology];
    invariant(subTopology !== undefined, `standby ${formatTaskId(id)} must belong to this topology`);
    return subTopology;
  }
}
