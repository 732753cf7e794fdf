import { InvariantError, StreamsError } from "../topology/errors.js";
import { Attempts } from "./attempts.js";
import { AmbiguousCommitError, FencedError, UnavailableError } from "./errors.js";
import type { Layout } from "./local-state.js";
import type { StandbyProgress } from "./standby-tasks.js";
import { type SessionPhase, StreamSession, type StreamSessionOptions } from "./stream-session.js";
import type { StreamTask } from "./task.js";
import type { RestoreProgress, StoreRestoreProgress } from "./task-opener.js";
import { Wakeup } from "./wakeup.js";

export interface ThreadStatus {
  readonly phase: SessionPhase | "recovering";
  readonly reason: string;
  readonly tasks: readonly StreamTask[];
  readonly restoring: readonly RestoreProgress[];
  readonly standbys: readonly StandbyProgress[];
  readonly restoringStores: readonly StoreRestoreProgress[];
  readonly layout?: Layout | undefined;
}

const NOTHING = { tasks: [], standbys: [], restoring: [], restoringStores: [] } as const;

/**
 * Runs one session after the other. A session that loses its group, its transaction or its brokers is replaced by a new
 * one, with a growing pause; whatever else it throws ends the thread.
 */
export class StreamThread {
  readonly #options: StreamSessionOptions;
  readonly #seenTopics = new Set<string>();
  readonly #wakeup = new Wakeup();
  #session: StreamSession | undefined;
  #recovering: string | undefined;
  #commitsBefore = 0;
  #closing = false;

  constructor(options: StreamSessionOptions) {
    this.#options = options;
  }

  /** In its instance, from 1. */
  get number(): number {
    return this.#options.thread ?? 1;
  }

  get status(): ThreadStatus {
    if (this.#recovering !== undefined) return { phase: "recovering", reason: this.#recovering, ...NOTHING };
    const session = this.#session;
    if (session === undefined) return { phase: "starting", reason: "starting", ...NOTHING };
    return {
      phase: session.phase,
      reason: session.reason,
      tasks: session.tasks,
      restoring: session.restoring,
      standbys: session.standbys,
      restoringStores: session.restoringStores,
      layout: session.layout,
    };
  }

  /** Commits made, of all sessions. */
  get commits(): number {
    return this.#commitsBefore + (this.#recovering === undefined ? (this.#session?.commits ?? 0) : 0);
  }

  close(): void {
    this.#closing = true;
    this.#session?.close();
    this.#wakeup.wake();
  }

  /** Returns when it was closed. Throws what no new session can mend. */
  async run(): Promise<void> {
    const { logger, metrics } = this.#options.config;
    const attempts = new Attempts();
    while (!this.#closing) {
      let backoffMs: number;
      const session = new StreamSession({ ...this.#options, seenTopics: this.#seenTopics });
      this.#session = session;
      try {
        await session.run();
        return;
      } catch (error) {
        if (this.#closing && isRecoverable(error)) {
          logger.warn(
            { err: error },
            "closed while work was in flight; what was not committed is processed again at the next start",
          );
          return;
        }
        metrics.counter("task_failures_total", { phase: session.failedIn(error) }).value++;
        this.#commitsBefore += session.commits;
        if (!isRecoverable(error)) throw error;
        // Brokers that are away are waited for as long as it takes; the state says so meanwhile.
        const isPatient = error instanceof UnavailableError;
        const wait = attempts.afterFailure({ hasCommitted: session.commits > 0, isPatient });
        if (wait === undefined) throw error;
        backoffMs = wait;
        if (error instanceof UnavailableError) metrics.counter("broker_failures_total", {}).value++;
        this.#recovering = `${error.message}; trying again in ${backoffMs} ms`;
        logger.warn({ code: error.code, retryInMs: backoffMs }, this.#recovering);
      }
      await this.#wakeup.sleep(backoffMs);
      this.#recovering = undefined;
    }
  }
}

/** What a new session can mend: lost groups and transactions, brokers that are away, a state file that is restored from its changelog. */
function isRecoverable(error: unknown): error is StreamsError {
  if (error instanceof FencedError || error instanceof AmbiguousCommitError || error instanceof UnavailableError)
    return true;
  return error instanceof StreamsError && !(error instanceof InvariantError) && error.code === "STATE_CORRUPT";
}
