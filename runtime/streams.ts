import type { StreamsMetrics } from "../metrics/metrics.js";
import type { SqlResult } from "../stores/sql-query.js";
import { StateFiles } from "../stores/state-files.js";
import type { Due } from "../topology/dsl-options.js";
import type { KTable } from "../topology/dsl-types.js";
import { StreamsError, TopologyError } from "../topology/errors.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import type { ReadOnlyStore, StoreOf } from "../topology/read-only-store.js";
import { METADATA_BYTES_MAX, metadataBytesMax } from "./commit-metadata.js";
import { type ResolvedConfig, resolveConfig, type StreamsConfig } from "./config.js";
import { connectPatiently } from "./connect.js";
import { isWithin } from "./is-within.js";
import { type Layout, LocalState, type Owner } from "./local-state.js";
import { type SqlOptions, SqlQueries } from "./sql-queries.js";
import { type StoreInfo, storeInfo } from "./store-info.js";
import { openReadOnlyStore } from "./store-queries.js";
import { removeDroppedMembers } from "./threads/dropped-members.js";
import { refuseInStreamThread } from "./threads/messages.js";
import { openThreads, threadIdentities } from "./threads/open-threads.js";
import type { TaskStatus, Thread, ThreadState } from "./threads/thread.js";
import { VERSION } from "./version.js";

export type { Owner } from "./local-state.js";
export type { StoreInfo } from "./store-info.js";
export type { TaskStatus } from "./threads/thread.js";

/**
 * CREATED -> REBALANCING <-> RUNNING -> PENDING_SHUTDOWN -> NOT_RUNNING, and ERROR from any of them. Kafka Streams' names.
 * RUNNING means that every task of this instance has its state.
 */
export type State = "CREATED" | "REBALANCING" | "RUNNING" | "PENDING_SHUTDOWN" | "NOT_RUNNING" | "ERROR";

export type StateListener = (state: State, before: State) => void;

export interface StreamsStatus {
  readonly state: State;
  /** Why it is in this state, for people. */
  readonly reason: string;
  readonly tasks: readonly TaskStatus[];
}

/** A topology at work: one group member with its tasks, from `start` to `close`. */
export class KafkaStreams {
  readonly metrics: StreamsMetrics;
  readonly #topology: ProcessorTopology;
  #config: ResolvedConfig;
  readonly #listeners = new Set<StateListener>();
  readonly #local: LocalState;
  readonly #sql: SqlQueries;
  #state: State = "CREATED";
  #threads: readonly Thread[] = [];
  #files: StateFiles | undefined;
  #watch: NodeJS.Timeout | undefined;
  #patience: NodeJS.Timeout | undefined;
  #finished: Promise<void> | undefined;
  #failure: Error | undefined;

  /** @throws ConfigError with one line for each setting that is wrong */
  constructor(topology: ProcessorTopology, config: StreamsConfig) {
    refuseInStreamThread();
    this.#topology = topology;
    this.#config = resolveConfig(config);
    refuseTooManyClocks(topology);
    this.#local = new LocalState({
      topology,
      status: () => this.status,
      layout: () => this.#layout,
      taskFile: (stores, partition) => this.#files?.taskFile(stores, partition),
    });
    this.#sql = new SqlQueries(this.#local);
    this.metrics = this.#config.metrics;
    this.metrics.setState("created");
    describeInstance(this.metrics, topology, this.#config);
  }

  get state(): State {
    return this.#state;
  }

  /** What went wrong, once the state is ERROR. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Calls `listener` at each change from now on. Returns what ends it. */
  onStateChange(listener: StateListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get status(): StreamsStatus {
    const tasks = this.#threads.flatMap(({ state }): readonly TaskStatus[] => state.tasks);
    return { state: this.#state, reason: this.#failure?.message ?? this.#reason, tasks };
  }

  /**
   * A store for queries: the committed rows of the tasks that this instance runs. By its table, whose types and operators
   * it has, or by its name.
   *
   * @throws StreamsError UNKNOWN_STORE
   */
  store<K, V, N extends string, D extends Due>(table: KTable<K, V, N, D>): StoreOf<K, V>;
  store(name: string): ReadOnlyStore;
  store(of: string | KTable<unknown, unknown>): unknown {
    const name = typeof of === "string" ? of : of.storeName;
    const read = typeof of === "string" ? undefined : of.view.read;
    return openReadOnlyStore(this.#local, this.#local.find(name), read);
  }

  /** The stores of the topology, and which of their partitions are here. */
  stores(): StoreInfo[] {
    return this.#local.stores.map((store) => storeInfo(store, this.#local));
  }

  /** Which instance has the row of a key. @throws StreamsError UNKNOWN_STORE */
  ownerOf(store: string, key: unknown): Owner {
    return this.#local.ownerOf(this.#local.find(store), key);
  }

  /** Where other instances ask this one. */
  get applicationServer(): string | undefined {
    return this.#config.applicationServer;
  }

  /**
   * One SELECT over the committed state of the tasks that this instance runs: a table for each store, with its key, its
   * windows and a column for each field of an aggregate. It runs in a process of its own that cannot write.
   *
   * @throws QueryError
   * @throws StoreUnavailableError when the application does not run
   */
  sql(query: string, options?: SqlOptions): Promise<SqlResult> {
    return this.#sql.run(query, options);
  }

  /**
   * Takes the state directory, connects and begins to join the group. Resolves when the work has begun, not when it is
   * RUNNING: `onStateChange` and `status` tell. A second start is an error.
   *
   * `applicationServer`: where other instances can ask this one, where the configuration does not say.
   *
   * @throws StreamsError STATE_DIRECTORY_LOCKED when another process has the directory
   * @throws UnavailableError when no broker can be reached within 5 minutes
   */
  async start({ applicationServer }: { readonly applicationServer?: string | undefined } = {}): Promise<void> {
    if (this.#state !== "CREATED")
      throw new StreamsError("ALREADY_STARTED", `start() works once; this instance is ${this.#state}, make a new one`);
    this.#config = { ...this.#config, applicationServer: this.#config.applicationServer ?? applicationServer };
    const { applicationId, stateDir, transport, logger } = this.#config;
    this.#moveTo("REBALANCING");
    try {
      this.#files = StateFiles.lock({ stateDir, applicationId, topology: this.#topology.hash });
      if (!(await connectPatiently(transport, { logger, isClosing: () => this.#state === "PENDING_SHUTDOWN" }))) {
        this.#files.unlock();
        await this.#closeTransport();
        return this.#moveTo("NOT_RUNNING");
      }
      const identities = threadIdentities(this.#config, this.#files.identity);
      await removeDroppedMembers(this.#config, this.#files, identities);
      this.#threads = openThreads(this.#topology, this.#config, this.#files, identities);
      await Promise.all(this.#threads.map((thread) => thread.start()));
    } catch (error) {
      this.#fail(error);
      await this.#endThreads();
      this.#files?.unlock();
      throw error;
    }
    this.#finished = this.#run(this.#files);
  }

  /**
   * Stops fetching, commits what is processed, leaves the group and closes the stores. Resolves when all that is done, or
   * after `timeoutMs`: then the rest is processed again at the next start. Safe to call twice.
   */
  async close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    if (this.#state === "CREATED") this.#moveTo("NOT_RUNNING");
    if (this.#state === "REBALANCING" || this.#state === "RUNNING") this.#moveTo("PENDING_SHUTDOWN");
    this.#closeThreads();
    const timeoutMs = options.timeoutMs ?? CLOSE_TIMEOUT_MS;
    if (!(await isWithin(this.finished, timeoutMs))) await this.#endThreads();
  }

  /** Resolves when it has ended, by `close` or by an error: then the state is NOT_RUNNING or ERROR. */
  get finished(): Promise<void> {
    return this.#finished ?? Promise.resolve();
  }

  async #run(files: StateFiles): Promise<void> {
    this.#watch = setInterval(() => this.#follow(), WATCH_MS);
    await Promise.all(this.#threads.map((thread) => this.#runOne(thread)));
    clearInterval(this.#watch);
    this.#local.close();
    clearTimeout(this.#patience);
    this.#sql.close();
    files.unlock();
    await this.#closeTransport();
    if (this.#state !== "ERROR") this.#moveTo("NOT_RUNNING");
  }

  /** What ends one thread for good ends the others too: each would come to the same. */
  async #runOne(thread: Thread): Promise<void> {
    try {
      await thread.run();
    } catch (error) {
      if (this.#state === "ERROR") return;
      this.#fail(error);
      this.#closeThreads();
      this.#patience = setTimeout(() => void this.#endThreads(), CLOSE_TIMEOUT_MS);
    }
  }

  #closeThreads(): void {
    for (const thread of this.#threads) thread.close();
  }

  async #endThreads(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }

  async #closeTransport(): Promise<void> {
    try {
      await this.#config.transport.close();
    } catch (error) {
      this.#config.logger.debug({ err: error }, "the connections did not close cleanly");
    }
  }

  /** RUNNING means that every thread runs, with the state of all its tasks. */
  #follow(): void {
    const isWorking = ({ state }: Thread): boolean => ["running", "closing", "closed"].includes(state.phase);
    const isRunning = this.#threads.every(({ state }) => state.phase === "running");
    if (this.#state === "REBALANCING" && isRunning) this.#moveTo("RUNNING");
    else if (this.#state === "RUNNING" && !this.#threads.every(isWorking)) this.#moveTo("REBALANCING");
  }

  /** Of the thread that is furthest from running. */
  get #reason(): string {
    const states = this.#threads.map(({ state }, at) => ({ ...state, name: `thread ${at + 1}` }));
    const told = states.find(({ phase }) => phase !== "running") ?? states.find(isRemarkable) ?? states[0];
    if (told === undefined) return "not started";
    return states.length > 1 && isRemarkable(told) ? `${told.name}: ${told.reason}` : told.reason;
  }

  /** Every thread was told the same by the group's leader; one that has not joined yet knows nothing. */
  get #layout(): Layout {
    return this.#threads.find(({ state }) => state.layout !== undefined)?.state.layout ?? NO_LAYOUT;
  }

  #fail(error: unknown): void {
    this.#failure = error instanceof Error ? error : new Error(String(error));
    this.#moveTo("ERROR");
  }

  #moveTo(state: State): void {
    const before = this.#state;
    this.#state = state;
    this.metrics.setState(state.toLowerCase() as Lowercase<State>);
    this.#config.logger.info({ state, before }, `state ${before} -> ${state}`);
    for (const listener of this.#listeners) {
      try {
        listener(state, before);
      } catch (error) {
        this.#config.logger.error({ err: error }, "a state listener threw");
      }
    }
  }
}

const NO_LAYOUT: Layout = { taskCounts: [], hosts: [] };

function describeInstance(metrics: StreamsMetrics, { hash }: ProcessorTopology, config: ResolvedConfig): void {
  const labels = { version: VERSION, node_version: process.version, guarantee: config.guarantee, topology_hash: hash };
  metrics.gauge("info", labels).value = 1;
  metrics.gauge("start_timestamp_seconds", {}).value = Date.now() / 1000;
  metrics.gauge("buffered_limit_bytes", {}).value = config.bufferedBytesMax;
  metrics.gauge("store_buffered_limit_bytes", {}).value = config.cacheBytesMax;
}

function isRemarkable({ reason }: ThreadState): boolean {
  return reason !== "running";
}

/** A broker takes 4,096 bytes of metadata with an offset, and the clocks of a task's operators stand in it (protocol 17). */
function refuseTooManyClocks(topology: ProcessorTopology): void {
  const faults = topology.subTopologies.flatMap(({ id, processors }) => {
    const timed = processors.filter((node) => node.timed);
    if (metadataBytesMax(timed.length) <= METADATA_BYTES_MAX) return [];
    const message = `sub-topology ${id} has ${timed.length} operators with a clock, more than fit beside an offset; put a repartition() between some of them`;
    return [{ code: "TOO_MANY_CLOCKS", node: timed[0]?.name ?? "", message }];
  });
  if (faults.length > 0) throw new TopologyError(faults);
}

/** How soon a change of the thread shows in the state: people and probes look every second or so. */
const WATCH_MS = 20;
/** What is in flight may take this long to come to its end. */
const CLOSE_TIMEOUT_MS = 10_000;
