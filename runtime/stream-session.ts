import { hostname } from "node:os";
import type { StateFiles } from "../stores/state-files.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { hashOfSubTopology } from "../topology/sub-topologies.js";
import { assignTasks, decodeAssignment, encodeReport, type MemberAssignment } from "./assignment.js";
import { Committer } from "./commit.js";
import { decodeCommitMetadata } from "./commit-metadata.js";
import type { ResolvedConfig } from "./config.js";
import { FatalError, FencedError, InstanceFencedError, UnavailableError } from "./errors.js";
import { Fetching } from "./fetching.js";
import { sourceTopics, TopicNames } from "./internal-topics.js";
import { isWithin } from "./is-within.js";
import { Maintenance } from "./maintenance.js";
import { prepareSerdes } from "./prepare-serdes.js";
import { prepareTopics } from "./prepare-topics.js";
import { stableOffsets } from "./stable-offsets.js";
import { formatTaskId, parseTaskId, type StreamTask } from "./task.js";
import { type RestoreProgress, type StoreRestoreProgress, TaskOpener } from "./task-opener.js";
import { TaskSet } from "./task-set.js";
import { TopicDirectory } from "./topic-directory.js";
import type { GroupMember, GroupMetadata, Producer, TransactionalProducer } from "./transport.js";
import { Wakeup } from "./wakeup.js";

/** `waiting`: for a source topic that does not exist yet. */
export type SessionPhase = "starting" | "waiting" | "joining" | "restoring" | "running" | "closing" | "closed";

export interface StreamSessionOptions {
  readonly topology: ProcessorTopology;
  readonly config: ResolvedConfig;
  readonly files: StateFiles;
  readonly groupInstanceId: string;
  readonly transactionalId: string;
}

/** One synchronous stretch of processing: worth the trip through the event loop, and short enough for heartbeats and sockets. */
const SLICE_MS = 20;
/** A loop with nothing to do looks around at least this often. */
const IDLE_MS = 1_000;
const TOPIC_POLL_MS = 1_000;
/** One old assignment is what a change of the topology brings; more mean that somebody else has this instance id. */
const JOINS_MAX = 3;
/** Of the session timeout, which is never more than the rebalance timeout: settling must not cost the membership (protocol 9). */
const SETTLE_SHARE = 0.5;
/** What is waited for is said again this often. */
const REMINDER_MS = 30_000;

/**
 * One consumer group member with its tasks and clients, from the first join to the end: joins, opens, processes, commits,
 * and settles before it joins again. A plain loop that nobody calls into but to close it.
 *
 * It ends by `close`, or by throwing. Then everything in it is dropped, and a new session goes on from what Kafka says was
 * committed: the one safe path after a fence, a lost connection or an unknown outcome.
 */
export class StreamSession {
  readonly #options: StreamSessionOptions;
  readonly #config: ResolvedConfig;
  readonly #names: TopicNames;
  readonly #directory: TopicDirectory;
  readonly #tasks = new TaskSet();
  readonly #opener: TaskOpener;
  readonly #member: GroupMember;
  readonly #outputs: Producer;
  readonly #transactions: TransactionalProducer;
  readonly #committer: Committer;
  readonly #fetching: Fetching;
  readonly #maintenance: Maintenance;
  readonly #wakeup = new Wakeup();
  #phase: SessionPhase = "starting";
  #reason = "connecting";
  /** The reason once it runs. */
  #running = "running";
  #closing = false;
  #group: GroupMetadata | undefined;
  #taskCounts: readonly number[] = [];
  #commitInFlight: Promise<void> | undefined;
  #opening: Promise<void> | undefined;
  #openingEnd = new AbortController();
  /** What a commit or an opening beside the loop threw; the loop throws it on. */
  #failure: unknown;
  #nextCommitMs = 0;
  #commits = 0;

  constructor(options: StreamSessionOptions) {
    const { config, topology, files } = options;
    const { transport, logger, metrics } = config;
    this.#options = options;
    this.#config = config;
    this.#names = new TopicNames(config.applicationId);
    this.#directory = new TopicDirectory(transport.topics);
    this.#opener = new TaskOpener({
      topology,
      config,
      transport,
      directory: this.#directory,
      names: this.#names,
      files,
      onLoaded: () => this.#wakeup.wake(),
    });
    this.#outputs = transport.openProducer({
      compression: config.compression,
      // Only under at_least_once are outputs outside of the transaction, where nothing else fences an instance that was frozen.
      mayWrite: () => ["stable", "rebalancing"].includes(this.#member.status),
    });
    this.#transactions = transport.openTransactionalProducer({
      transactionalId: options.transactionalId,
      transactionTimeoutMs: config.transactionTimeoutMs,
      compression: config.compression,
    });
    this.#member = transport.openGroupMember({
      groupId: config.applicationId,
      groupInstanceId: options.groupInstanceId,
      sessionTimeoutMs: config.sessionTimeoutMs,
      rebalanceTimeoutMs: Math.max(config.sessionTimeoutMs, 60_000),
      heartbeatIntervalMs: Math.min(3_000, Math.floor(config.sessionTimeoutMs / 3)),
    });
    this.#committer = new Committer({
      guarantee: config.guarantee,
      outputs: this.#outputs,
      transactions: this.#transactions,
      directory: this.#directory,
      names: this.#names,
      handlers: config.onError,
      metrics,
      logger,
      now: Date.now,
    });
    this.#fetching = new Fetching(
      transport.openFetcher({ name: "sources", readCommitted: true }),
      this.#wakeup,
      metrics,
    );
    this.#maintenance = new Maintenance(transport.topics, this.#names, logger, config.changelogDeleteDelayMs);
  }

  get phase(): SessionPhase {
    return this.#phase;
  }

  /** Why it is not running, for people. */
  get reason(): string {
    return this.#reason;
  }

  get tasks(): readonly StreamTask[] {
    return this.#tasks.all;
  }

  get restoring(): readonly RestoreProgress[] {
    return this.#opener.progress;
  }

  get restoringStores(): readonly StoreRestoreProgress[] {
    return this.#opener.storeProgress;
  }

  /** Commits made; a session that made none before it failed has not got anywhere. */
  get commits(): number {
    return this.#commits;
  }

  /** Asks it to end: stop fetching, commit what is processed, leave the group. `run` then returns. */
  close(): void {
    this.#closing = true;
    this.#wakeup.wake();
  }

  async run(): Promise<void> {
    try {
      if (!(await this.#sourcesExist())) return;
      await this.#config.onSourcesFound();
      const { topology, files } = this.#options;
      await prepareSerdes(topology);
      this.#taskCounts = await prepareTopics(topology, this.#names, this.#directory, this.#config, files);
      await this.#transactions.initialize();
      while (!this.#closing) {
        await this.#join();
        await this.#work();
        await this.#settle();
      }
      this.#say("closing", "leaving the group");
      this.#tasks.closeAll();
      if (this.#config.onClose === "leave") await this.#member.leave();
    } finally {
      await this.#dispose();
    }
  }

  /** Source topics are not ours to make. Waits for them, and says so; false when it is closed meanwhile. */
  async #sourcesExist(): Promise<boolean> {
    const wanted = sourceTopics(this.#options.topology);
    let saidMs = Number.NEGATIVE_INFINITY;
    while (!this.#closing) {
      await this.#directory.lookUp(wanted, { again: true, purpose: "Read" });
      const missing = wanted.filter((topic) => this.#directory.partitionCount(topic) === undefined);
      if (missing.length === 0) return true;
      this.#say("waiting", `waiting for topic ${missing.join(", ")} to be created`);
      if (performance.now() - saidMs >= REMINDER_MS) {
        saidMs = performance.now();
        this.#config.logger.warn({ topics: missing }, this.#reason);
      }
      await this.#wakeup.sleep(TOPIC_POLL_MS);
    }
    return false;
  }

  // ---- joining ----

  async #join(): Promise<void> {
    this.#say("joining", "joining the group");
    const beganMs = performance.now();
    const { generationId, assignment } = await this.#joinWithOwnTopology();
    const { metrics, logger } = this.#config;
    metrics.counter("rebalances_total", {}).value++;
    metrics.histogram("rebalance_duration_seconds", {}).observe((performance.now() - beganMs) / 1000);
    const active = new Set(assignment.active);
    for (const task of this.#tasks.all) if (!active.has(task.id)) this.#tasks.close(task);
    await this.#closeOvertaken();
    const added = assignment.active.filter((id) => this.#tasks.get(id) === undefined);
    logger.info(
      { generation: generationId, active: assignment.active, added },
      `generation ${generationId}: ${active.size} tasks, ${added.length} of them to open`,
    );
    this.#running = active.size === 0 ? "running without tasks: others have them all" : "running";
    if (assignment.waiting > 0) {
      this.#running = `the group has members of two topologies: ${assignment.waiting} tasks wait until all of them run the same one`;
      logger.warn({ tasks: assignment.waiting }, this.#running);
    }
    this.#openingEnd = new AbortController();
    if (added.length > 0) this.#opening = this.#open(added, new Set(assignment.owners));
  }

  /** A static member that comes back with another topology gets its old assignment, until it really leaves (protocol 12). */
  async #joinWithOwnTopology(): Promise<{ readonly generationId: number; readonly assignment: MemberAssignment }> {
    const { topology, groupInstanceId } = this.#options;
    const subTopologies = topology.subTopologies.map(hashOfSubTopology);
    const work = { topologyHash: topology.hash, subTopologies, taskCounts: this.#taskCounts };
    for (let joins = 0; joins < JOINS_MAX; joins++) {
      const metadata = encodeReport({
        topologyHash: topology.hash,
        subTopologies,
        transactionalId: this.#transactions.transactionalId,
        open: this.#tasks.all.map(({ id }) => id),
        onDisk: this.#onDisk(),
      });
      const request = { topics: sourceTopics(topology), metadata, assign: assignTasks(work) };
      const { generationId, memberId, assignment } = await this.#member.join(request).catch(async (error: unknown) => {
        throw this.#member.status === "fenced" ? await this.#instanceFenced(error) : error;
      });
      this.#group = { groupId: this.#config.applicationId, generationId, memberId, groupInstanceId };
      const decoded = decodeAssignment(assignment);
      if (decoded.topologyHash === topology.hash) return { generationId, assignment: decoded };
      this.#tasks.closeAll();
      await this.#member.leave();
      this.#config.logger.info({ memberId }, "the assignment is for another topology of this instance; joining anew");
    }
    throw new FencedError(`${JOINS_MAX} assignments in a row were for another topology than this instance's`);
  }

  #onDisk(): string[] {
    const { topology, files } = this.#options;
    return topology.subTopologies.flatMap(({ id, stores }) =>
      Array.from({ length: this.#taskCounts[id] ?? 0 }, (_, partition) => partition)
        .filter((partition) => files.has(stores, partition))
        .map((partition) => formatTaskId({ subTopology: id, partition })),
    );
  }

  /** A kept task stays open only if Kafka still says of it what its own last commit said (protocol 10). */
  async #closeOvertaken(): Promise<void> {
    const kept = this.#tasks.all;
    if (kept.length === 0) return;
    const partitions = kept.flatMap(({ queues }) => queues.map(({ topic, partition }) => ({ topic, partition })));
    const { applicationId, transport } = this.#config;
    const committed = await stableOffsets(transport.topics, applicationId, partitions);
    for (const task of kept) {
      const isOwn = task.queues.every((queue) => {
        const found = committed.find(({ topic, partition }) => topic === queue.topic && partition === queue.partition);
        const commitNumber = decodeCommitMetadata(found?.metadata ?? "", [])?.commitNumber;
        return found?.offset === queue.position && commitNumber === task.commitNumber;
      });
      if (isOwn) continue;
      this.#config.logger.warn(
        { task: task.id },
        `task ${task.id} was worked on by somebody else meanwhile; it is opened again`,
      );
      this.#tasks.close(task);
    }
  }

  async #open(ids: readonly string[], liveOwners: ReadonlySet<string>): Promise<void> {
    try {
      const opened = this.#opener.open(ids.map(parseTaskId), this.#openingEnd.signal, liveOwners);
      for await (const { task, isNew } of opened) {
        this.#tasks.add(task, { isNew });
        this.#wakeup.wake();
      }
    } catch (error) {
      this.#failure = error;
    } finally {
      this.#opening = undefined;
      this.#wakeup.wake();
    }
  }

  // ---- working ----

  async #work(): Promise<void> {
    let isChanged = false;
    void this.#member.changed().then(() => {
      isChanged = true;
      this.#wakeup.wake();
    });
    while (!this.#closing && !isChanged) {
      this.#throwFailure();
      this.#sayProgress();
      for (const fetched of this.#fetching.take()) {
        if (fetched.fault !== undefined) {
          throw new UnavailableError(
            `${fetched.topic}-${fetched.partition} cannot be read at offset ${fetched.offset}: ${fetched.fault}`,
          );
        }
        this.#tasks.deliver(fetched);
      }
      this.#fetching.pump(this.#tasks.fetchPositions(this.#config.bufferedBytesMax));
      this.#commitIfDue();
      this.#maintenance.tick(this.#tasks.all);
      if (this.#processSlice() > 0) await new Promise((resolve) => setImmediate(resolve));
      else await this.#wakeup.sleep(this.#idleMs());
    }
  }

  /** Nothing is processed while a full buffer waits for the commit in flight: that is the bound of the buffer. */
  #processSlice(): number {
    if (this.#commitInFlight !== undefined && this.#tasks.cacheBytes >= this.#config.cacheBytesMax) return 0;
    return this.#tasks.process(SLICE_MS);
  }

  #idleMs(): number {
    if (this.#commitInFlight !== undefined || this.#tasks.dirty.length === 0) return IDLE_MS;
    return Math.max(0, Math.min(IDLE_MS, this.#nextCommitMs - performance.now()));
  }

  #commitIfDue(): void {
    if (this.#commitInFlight !== undefined) return;
    const isDue = performance.now() >= this.#nextCommitMs || this.#tasks.cacheBytes >= this.#config.cacheBytesMax;
    if (isDue) this.#startCommit();
  }

  #startCommit(): void {
    this.#nextCommitMs = performance.now() + this.#config.commitIntervalMs;
    const dirty = this.#tasks.dirty;
    if (dirty.length === 0) return;
    this.#commitInFlight = this.#commit(dirty);
  }

  async #commit(tasks: readonly StreamTask[]): Promise<void> {
    const { metrics } = this.#config;
    const beganMs = performance.now();
    try {
      if (this.#group === undefined) throw new FencedError("there is no generation to commit under");
      await this.#committer.commit(
        tasks.map((task) => task.take()),
        this.#group,
      );
      this.#commits++;
      this.#tasks.confirmed(tasks);
      metrics.counter("commits_total", { result: "ok" }).value++;
      metrics.histogram("commit_duration_seconds", {}).observe((performance.now() - beganMs) / 1000);
    } catch (error) {
      metrics.counter("commits_total", { result: "failed" }).value++;
      this.#failure = error instanceof InstanceFencedError ? await this.#instanceFenced(error) : error;
    } finally {
      this.#commitInFlight = undefined;
      this.#wakeup.wake();
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #sayProgress(): void {
    if (this.#opening === undefined) {
      if (this.#phase !== "running") this.#say("running", this.#running);
      return;
    }
    const progress = this.#opener.progress;
    const done = progress.reduce((sum, task) => sum + task.done, 0);
    const total = progress.reduce((sum, task) => sum + task.total, 0);
    this.#say("restoring", `restoring ${progress.length} tasks, ${done} of ${total} changelog offsets`);
  }

  // ---- settling: nothing of this generation is left when the next one begins (protocol 9) ----

  async #settle(): Promise<void> {
    this.#openingEnd.abort();
    await this.#opening;
    if (this.#member.status === "fenced") throw await this.#instanceFenced();
    if (this.#member.status === "lost" || this.#member.status === "unavailable") {
      throw new FencedError(
        `the session in group "${this.#config.applicationId}" is over (${this.#member.status}): its partitions may belong to others already`,
      );
    }
    if (!(await isWithin(this.#commitAll(), SETTLE_SHARE * this.#config.sessionTimeoutMs))) {
      throw new FencedError(
        "the last commit of this generation takes too long; it is left to Kafka to tell how it ended",
      );
    }
    this.#throwFailure();
  }

  async #commitAll(): Promise<void> {
    await this.#commitInFlight;
    if (this.#failure !== undefined) return;
    this.#startCommit();
    await this.#commitInFlight;
  }

  /** Names both: whoever reads it has to find the other one. */
  async #instanceFenced(cause?: unknown): Promise<FatalError> {
    const own = this.#group?.memberId ?? "not in it yet";
    const rival = (await this.#member.rival()) ?? "one that has left it already";
    return new FatalError(
      "INSTANCE_FENCED",
      `two processes have the group instance id "${this.#options.groupInstanceId}" in group "${this.#config.applicationId}": ` +
        `this one, member ${own} on ${hostname()} (process ${process.pid}), was replaced by member ${rival}; ` +
        "stop one of the two, or give each its own state directory or GROUP_INSTANCE_ID",
      { cause },
    );
  }

  async #dispose(): Promise<void> {
    this.#phase = "closed";
    this.#openingEnd.abort();
    // First: what a commit in flight still tries on brokers that are away ends with its clients, not after their patience.
    const closing = [this.#member.close(), this.#fetching.close(), this.#outputs.close(), this.#transactions.close()];
    for (const result of await Promise.allSettled([...closing, this.#maintenance.settled()])) {
      if (result.status === "rejected")
        this.#config.logger.debug({ error: result.reason }, "a client did not close cleanly");
    }
    await this.#opening;
    await this.#commitInFlight;
    this.#tasks.closeAll();
  }

  #say(phase: SessionPhase, reason: string): void {
    this.#phase = phase;
    this.#reason = reason;
  }
}
