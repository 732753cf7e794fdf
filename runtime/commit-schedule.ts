import type { Committer } from "./commit.js";
import { CommitPace } from "./commit-pace.js";
import type { ResolvedConfig } from "./config.js";
import { FencedError } from "./errors.js";
import type { StreamTask } from "./task.js";
import type { TaskSet } from "./task-set.js";
import type { ThreadClock } from "./thread-clock.js";
import type { GroupMetadata } from "./transport.js";
import type { Wakeup } from "./wakeup.js";

/** Of the transaction's timeout: one that is announced has long begun and ended when that is over. */
const ANNOUNCED_SHARE = 0.25;

/**
 * Of `cacheBytesMax`: what is committed may wait for SQLite in so much memory beside what is not. 32 MiB took 0.65 of the CPU and 0.36 of the memory that one which
 * did not hold took with 5,000,000 purchases of 1,000,000 users, where commits are long and writes few; 8 took 0.73, 64 a tenth more than 32.
 */
const UNWRITTEN_SHARE = 0.5;

/** Says when the tasks commit, and has one commit on its way beside the processing. */
export class CommitSchedule {
  readonly #committer: Committer;
  readonly #tasks: TaskSet;
  readonly #config: ResolvedConfig;
  readonly #wakeup: Wakeup;
  readonly #pace: CommitPace;
  readonly #clock: ThreadClock;
  #inFlight: Promise<void> | undefined;
  #failure: unknown;
  #beganMs: number | undefined;
  #commits = 0;

  constructor(options: {
    readonly committer: Committer;
    readonly tasks: TaskSet;
    readonly config: ResolvedConfig;
    readonly wakeup: Wakeup;
    readonly clock: ThreadClock;
  }) {
    this.#committer = options.committer;
    this.#tasks = options.tasks;
    this.#config = options.config;
    this.#wakeup = options.wakeup;
    this.#pace = new CommitPace(options.config.commitIntervalMs);
    this.#clock = options.clock;
  }

  /** Commits made. */
  get commits(): number {
    return this.#commits;
  }

  /** What a commit threw: nothing may be committed after it. */
  get failure(): unknown {
    return this.#failure;
  }

  /** A full buffer waits for the commit in flight, and nothing is processed meanwhile: that is the bound of the buffer. */
  get isHoldingBack(): boolean {
    return this.#inFlight !== undefined && this.#isFull;
  }

  /** How long there is nothing to commit, at most `maxMs`. */
  idleMs(maxMs: number): number {
    if (this.#inFlight !== undefined || this.#tasks.dirty.length === 0) return maxMs;
    return Math.min(maxMs, this.#pace.leftMs(performance.now()));
  }

  /**
   * Writes what earlier commits left to be written, and begins a commit when it is time or the buffers are full. For a loop to call whenever it comes
   * around. `isDrained`: nothing is left to process, so that it may come before its time.
   */
  tick(group: GroupMetadata | undefined, { isDrained }: { readonly isDrained: boolean }): void {
    if (this.#inFlight !== undefined) return;
    const nowMs = performance.now();
    const unwrittenBytesMax = this.#config.cacheBytesMax * UNWRITTEN_SHARE;
    this.#tasks.writeCommitted(nowMs, { isDrained, unwrittenBytesMax });
    // A task that was just opened may not fetch before its first position is committed: with an interval of a second it stood still for it.
    const isAwaited = isDrained || this.#tasks.hasUnconfirmed;
    const isTime = isAwaited ? this.#pace.mayBeEarly(nowMs) : this.#pace.isDue(nowMs);
    if (isTime || this.#isFull) this.#start(group);
    else if (isDrained) this.#announce(nowMs);
  }

  /** Ends with everything committed that was processed, or with a failure. */
  async commitAll(group: GroupMetadata | undefined): Promise<void> {
    await this.#inFlight;
    if (this.#failure !== undefined) return;
    this.#start(group);
    await this.#inFlight;
  }

  /** Resolves when no commit is on its way. */
  async settled(): Promise<void> {
    await this.#inFlight;
  }

  /** What waits for its time is committed a round trip sooner: of three, one has been made by then. */
  #announce(nowMs: number): void {
    const dueInMs = this.#pace.dueInMs(nowMs);
    if (dueInMs > ANNOUNCED_SHARE * this.#config.transactionTimeoutMs || this.#tasks.dirty.length === 0) return;
    this.#committer.announce();
  }

  get #isFull(): boolean {
    return this.#tasks.cacheBytes >= this.#config.cacheBytesMax;
  }

  #start(group: GroupMetadata | undefined): void {
    const dirty = this.#tasks.dirty;
    if (dirty.length === 0) return;
    this.#pace.began(performance.now());
    this.#tasks.passTurn();
    this.#inFlight = this.#commit(dirty, group);
  }

  async #commit(tasks: readonly StreamTask[], group: GroupMetadata | undefined): Promise<void> {
    const { metrics } = this.#config;
    const beganMs = performance.now();
    if (this.#beganMs !== undefined)
      metrics.histogram("commit_interval_seconds", {}).observe((beganMs - this.#beganMs) / 1000);
    this.#beganMs = beganMs;
    try {
      if (group === undefined) throw new FencedError("there is no generation to commit under");
      await this.#committer.commit(
        this.#clock.during("commit", () => tasks.map((task) => task.take())),
        group,
      );
      this.#commits++;
      this.#tasks.confirmed(tasks);
      metrics.counter("commits_total", { result: "ok" }).value++;
      metrics.histogram("commit_duration_seconds", {}).observe((performance.now() - beganMs) / 1000);
    } catch (error) {
      metrics.counter("commits_total", { result: "failed" }).value++;
      this.#clock.failed("commit");
      this.#failure = error;
    } finally {
      this.#pace.ended(beganMs, performance.now());
      this.#inFlight = undefined;
      this.#wakeup.wake();
    }
  }
}
