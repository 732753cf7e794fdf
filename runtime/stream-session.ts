import type { StateFiles } from "../stores/state-files.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { Committer } from "./commit.js";
import { CommitSchedule } from "./commit-schedule.js";
import type { ResolvedConfig } from "./config.js";
import { FencedError, InstanceFencedError, UnavailableError } from "./errors.js";
import { Fetching } from "./fetching.js";
import { sourceTopics, TopicNames } from "./internal-topics.js";
import { isWithin } from "./is-within.js";
import type { Layout } from "./local-state.js";
import { Maintenance } from "./maintenance.js";
import { Membership } from "./membership.js";
import { overtakenTasks } from "./overtaken-tasks.js";
import { prepareSerdes } from "./prepare-serdes.js";
import { prepareTopics } from "./prepare-topics.js";
import { refuseMadeAnew, type SourceChange, SourceWatch } from "./source-watch.js";
import { type StandbyProgress, StandbyTasks } from "./standby-tasks.js";
import type { StreamTask } from "./task.js";
import { type RestoreProgress, type StoreRestoreProgress, TaskOpener } from "./task-opener.js";
import { TaskOpening } from "./task-opening.js";
import { TaskSet } from "./task-set.js";
import { type FailurePhase, ThreadClock } from "./thread-clock.js";
import { TopicDirectory } from "./topic-directory.js";
import type { Producer, TopicDescription, TransactionalProducer } from "./transport.js";
import { Wakeup } from "./wakeup.js";

/** `waiting`: for a source topic that does not exist yet. */
export type SessionPhase = "starting" | "waiting" | "joining" | "restoring" | "running" | "closing" | "closed";

export interface StreamSessionOptions {
  readonly topology: ProcessorTopology;
  readonly config: ResolvedConfig;
  readonly files: StateFiles;
  readonly groupInstanceId: string;
  readonly transactionalId: string;
  /** Its thread's number in the instance, from 1, which is the default: a label of its metrics. */
  readonly thread?: number;
  /** Internal topics that earlier sessions of the thread had; this one adds its own. */
  readonly seenTopics?: Set<string>;
  /** Ids of the source topics that earlier sessions of the thread read; this one adds its own. */
  readonly seenSources?: Map<string, string>;
}

/** One synchronous stretch of processing: worth the trip through the event loop, and short enough for heartbeats and sockets. */
const SLICE_MS = 20;
/** A loop with nothing to do looks around at least this often. */
const IDLE_MS = 1_000;
const TOPIC_POLL_MS = 1_000;
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
  readonly #opening: TaskOpening;
  readonly #standbys: StandbyTasks;
  readonly #membership: Membership;
  readonly #outputs: Producer;
  readonly #transactions: TransactionalProducer;
  readonly #commits: CommitSchedule;
  readonly #fetching: Fetching;
  readonly #maintenance: Maintenance;
  readonly #sources: SourceWatch;
  readonly #wakeup = new Wakeup();
  readonly #clock: ThreadClock;
  #phase: SessionPhase = "starting";
  #reason = "connecting";
  /** The reason once it runs. */
  #running = "running";
  #closing = false;
  #taskCounts: readonly number[] = [];

  constructor(options: StreamSessionOptions) {
    const { config, topology, files } = options;
    const { transport, logger, metrics } = config;
    this.#options = options;
    this.#config = config;
    this.#clock = new ThreadClock(metrics, options.thread ?? 1);
    this.#names = new TopicNames(config.applicationId);
    this.#directory = new TopicDirectory(transport.topics);
    const access = { topology, config, transport, directory: this.#directory, names: this.#names, files };
    this.#opener = new TaskOpener({ ...access, onLoaded: () => this.#wakeup.wake() });
    this.#standbys = new StandbyTasks(access);
    this.#opening = new TaskOpening(this.#opener, this.#tasks, this.#wakeup);
    this.#outputs = transport.openProducer({
      compression: config.compression,
      // Only under at_least_once are outputs outside of the transaction, where nothing else fences an instance that was frozen.
      mayWrite: () => ["stable", "rebalancing"].includes(this.#membership.status),
    });
    this.#transactions = transport.openTransactionalProducer({
      transactionalId: options.transactionalId,
      transactionTimeoutMs: config.transactionTimeoutMs,
      compression: config.compression,
    });
    this.#membership = new Membership(options);
    const committer = new Committer({
      guarantee: config.guarantee,
      outputs: this.#outputs,
      transactions: this.#transactions,
      directory: this.#directory,
      names: this.#names,
      handlers: config.onError,
      metrics,
      logger,
      clock: this.#clock,
      now: Date.now,
    });
    this.#commits = new CommitSchedule({
      committer,
      tasks: this.#tasks,
      config,
      wakeup: this.#wakeup,
      clock: this.#clock,
    });
    this.#fetching = new Fetching(
      transport.openFetcher({ name: "sources", readCommitted: true }),
      this.#wakeup,
      metrics,
    );
    this.#sources = new SourceWatch(transport.topics, logger);
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

  get layout(): Layout | undefined {
    return this.#membership.layout;
  }

  get restoring(): readonly RestoreProgress[] {
    return this.#opener.progress;
  }

  get restoringStores(): readonly StoreRestoreProgress[] {
    return this.#opener.storeProgress;
  }

  get standbys(): readonly StandbyProgress[] {
    return this.#standbys.progress;
  }

  /** Commits made; a session that made none before it failed has not got anywhere. */
  get commits(): number {
    return this.#commits.commits;
  }

  /** What it was at when it threw `error`. */
  failedIn(error: unknown): FailurePhase {
    if (this.#opening.failure !== undefined && this.#opening.failure === error) return "restore";
    return this.#clock.phaseOf(error);
  }

  /** Asks it to end: stop fetching, commit what is processed, leave the group. `run` then returns. */
  close(): void {
    this.#closing = true;
    this.#wakeup.wake();
  }

  async run(): Promise<void> {
    try {
      if (!(await this.#sourcesExist())) return;
      refuseMadeAnew(this.#sourceTopics, this.#options.seenSources ?? new Map(), this.#config);
      await this.#config.onSourcesFound();
      const { topology, files, seenTopics = new Set() } = this.#options;
      await prepareSerdes(topology);
      this.#taskCounts = await prepareTopics(topology, this.#names, this.#directory, this.#config, files, seenTopics);
      this.#sources.begin(this.#sourceTopics);
      await this.#transactions.initialize();
      while (!this.#closing) {
        await this.#join();
        await this.#work();
        await this.#settle();
      }
      this.#say("closing", "leaving the group");
      this.#tasks.closeAll();
      if (this.#config.onClose === "leave") await this.#membership.leave();
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

  /** As they were when this session found them. */
  get #sourceTopics(): readonly TopicDescription[] {
    return sourceTopics(this.#options.topology).flatMap((topic) => this.#directory.get(topic) ?? []);
  }

  /** A static member that only came back would be given its old tasks, without anybody asking how many there are now. */
  async #leaveForNewTasks({ error, isMadeAnew }: SourceChange): Promise<FencedError> {
    if (!isMadeAnew) await this.#settle();
    this.#tasks.closeAll();
    await this.#membership.leave();
    return error;
  }

  // ---- joining ----

  async #join(): Promise<void> {
    this.#say("joining", "joining the group");
    this.#clock.enter("rebalance");
    const beganMs = performance.now();
    const { generationId, assignment } = await this.#membership.join(this.#tasks, this.#taskCounts);
    const { metrics, logger } = this.#config;
    metrics.counter("rebalances_total", {}).value++;
    metrics.histogram("rebalance_duration_seconds", {}).observe((performance.now() - beganMs) / 1000);
    const active = new Set(assignment.active);
    for (const task of this.#tasks.all) if (!active.has(task.id)) this.#tasks.close(task);
    await this.#closeOvertaken();
    const added = assignment.active.filter((id) => this.#tasks.get(id) === undefined);
    logger.info(
      { generation: generationId, active: assignment.active, added, standby: assignment.standby },
      `generation ${generationId}: ${active.size} tasks, ${added.length} of them to open`,
    );
    this.#running = active.size === 0 ? "running without tasks: others have them all" : "running";
    if (assignment.waiting > 0) {
      this.#running = `the group has members of two topologies: ${assignment.waiting} tasks wait until all of them run the same one`;
      logger.warn({ tasks: assignment.waiting }, this.#running);
    }
    // Before the opening: what was a standby here may be one of the tasks to open.
    this.#standbys.assign(assignment.standby);
    this.#opening.start(added, new Set(assignment.owners));
  }

  /** A kept task stays open only if Kafka still says of it what its own last commit said (protocol 10). */
  async #closeOvertaken(): Promise<void> {
    const { applicationId, transport, logger } = this.#config;
    for (const task of await overtakenTasks(this.#tasks.all, transport.topics, applicationId)) {
      logger.warn({ task: task.id }, `task ${task.id} was worked on by somebody else meanwhile; it is opened again`);
      this.#tasks.close(task);
    }
  }

  // ---- working ----

  async #work(): Promise<void> {
    let isChanged = false;
    void this.#membership.changed().then(() => {
      isChanged = true;
      this.#wakeup.wake();
    });
    this.#clock.enter("process");
    while (!this.#closing && !isChanged) {
      await this.#throwFailure();
      this.#sayProgress();
      for (const fetched of this.#fetching.take()) {
        if (fetched.fault !== undefined) {
          throw new UnavailableError(
            `${fetched.topic}-${fetched.partition} cannot be read at offset ${fetched.offset}: ${fetched.fault}`,
          );
        }
        this.#tasks.deliver(fetched);
      }
      const positions = this.#tasks.fetchPositions(this.#config.bufferedBytesMax);
      this.#fetching.pump(positions, { isPartial: positions.length < this.#tasks.partitionCount });
      this.#maintenance.tick(this.#tasks.all);
      const change = this.#sources.tick();
      if (change !== undefined) throw await this.#leaveForNewTasks(change);
      const processed = this.#commits.isHoldingBack ? 0 : this.#tasks.process(SLICE_MS);
      this.#commits.tick(this.#membership.group, { isDrained: processed === 0 && this.#tasks.isCaughtUp });
      if (processed > 0) await new Promise((resolve) => setImmediate(resolve));
      else await this.#rest();
    }
  }

  async #rest(): Promise<void> {
    this.#clock.enter(this.#commits.isHoldingBack ? "blocked" : "idle");
    await this.#wakeup.sleep(this.#commits.idleMs(IDLE_MS));
    this.#clock.enter("process");
  }

  /** What a commit or an opening beside the loop threw; the loop throws it on. */
  get #failure(): unknown {
    return this.#commits.failure ?? this.#opening.failure ?? this.#standbys.failure;
  }

  async #throwFailure(): Promise<void> {
    const failure = this.#failure;
    if (failure instanceof InstanceFencedError) throw await this.#membership.instanceFenced(failure);
    if (failure !== undefined) throw failure;
  }

  #sayProgress(): void {
    if (this.#opening.isDone) {
      if (this.#phase !== "running") this.#say("running", this.#running);
      return;
    }
    const progress = this.#opener.progress;
    // Not asked yet where they stand, or all of them open by now.
    if (progress.length === 0) {
      if (this.#phase !== "restoring") this.#say("restoring", "asking where the tasks to open stand");
      return;
    }
    const done = progress.reduce((sum, task) => sum + task.done, 0);
    const total = progress.reduce((sum, task) => sum + task.total, 0);
    this.#say("restoring", `restoring ${progress.length} tasks, ${done} of ${total} changelog offsets`);
  }

  // ---- settling: nothing of this generation is left when the next one begins (protocol 9) ----

  async #settle(): Promise<void> {
    this.#clock.enter("rebalance");
    // First: an opening on a network that is cut stops when its requests have timed out, and until then what is in the sockets may go out.
    await this.#membership.assertMember();
    await this.#opening.stop();
    await this.#membership.assertMember();
    await this.#throwFailure();
    const committing = this.#commits.commitAll(this.#membership.group);
    if (!(await isWithin(committing, SETTLE_SHARE * this.#config.sessionTimeoutMs))) {
      throw new FencedError(
        "the last commit of this generation takes too long; it is left to Kafka to tell how it ended",
      );
    }
    await this.#throwFailure();
  }

  async #dispose(): Promise<void> {
    this.#phase = "closed";
    const stopping = Promise.all([this.#opening.stop(), this.#standbys.stop()]);
    // First: what a commit in flight still tries on brokers that are away ends with its clients, not after their patience.
    const closing = [
      ...[this.#membership.close(), this.#fetching.close()],
      ...[this.#outputs.close(), this.#transactions.close()],
    ];
    for (const result of await Promise.allSettled([...closing, this.#maintenance.settled()])) {
      if (result.status === "rejected")
        this.#config.logger.debug({ error: result.reason }, "a client did not close cleanly");
    }
    await stopping;
    await this.#commits.settled();
    this.#tasks.closeAll();
  }

  #say(phase: SessionPhase, reason: string): void {
    this.#phase = phase;
    this.#reason = reason;
  }
}
