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
 * one, with a growing pause; whatever else it throws ends the thread, unless `onThreadFailure` has it replaced.
 */
export class StreamThread {
  readonly #options: StreamSessionOptions;
  readonly #seenTopics = new Set<string>();
  readonly #seenSources = new Map<string, string>();
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
    const { logger } = this.#options.config;
    const attempts = new Attempts();
    while (!this.#closing) {
      let backoffMs: number;
      const seen = { seenTopics: this.#seenTopics, seenSources: this.#seenSources };
      const session = new StreamSession({ ...this.#options, ...seen });
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
        const wait = this.#afterFailure(error, session, attempts);
        if (wait === undefined) throw error;
        backoffMs = wait;
      }
      await this.#wakeup.sleep(backoffMs);
      this.#recovering = undefined;
    }
  }

  /** How long to wait before the next session; undefined when there is to be none. */
  #afterFailure(error: unknown, session: StreamSession, attempts: Attempts): number | undefined {
    const { logger, metrics } = this.#options.config;
    metrics.counter("task_failures_total", { phase: session.failedIn(error) }).value++;
    this.#commitsBefore += session.commits;
    const isMended = isRecoverable(error);
    if (!isMended && !this.#isReplaced(error)) return undefined;
    // Brokers that are away are waited for as long as it takes; the state says so meanwhile.
    const isPatient = error instanceof UnavailableError;
    const backoffMs = attempts.afterFailure({ hasCommitted: session.commits > 0, isPatient });
    if (backoffMs === undefined) return undefined;
    if (isPatient) metrics.counter("broker_failures_total", {}).value++;
    this.#recovering = `${messageOf(error)}; trying again in ${backoffMs} ms`;
    if (isMended) logger.warn({ code: error.code, retryInMs: backoffMs }, this.#recovering);
    else {
      metrics.counter("thread_replacements_total", {}).value++;
      logger.error(
        { err: error, retryInMs: backoffMs },
        `stream thread ${this.number} is replaced: ${this.#recovering}`,
      );
    }
    return backoffMs;
  }

  #isReplaced(error: unknown): boolean {
    if (this.#closing) return false;
    const { logger, onThreadFailure } = this.#options.config;
    try {
      return onThreadFailure(error instanceof Error ? error : new Error(String(error))) === "replace-thread";
    } catch (thrown) {
      logger.error({ err: thrown }, "onThreadFailure threw; the instance ends with the error that it was asked about");
      return false;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What a new session can mend: lost groups and transactions, brokers that are away, a state file that is restored from its changelog. */
function isRecoverable(error: unknown): error is StreamsError {
  if (error instanceof FencedError || error instanceof AmbiguousCommitError || error instanceof UnavailableError)
    return true;
  return error instanceof StreamsError && !(error instanceof InvariantError) && error.code === "STATE_CORRUPT";
}
