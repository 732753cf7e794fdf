import { UnavailableError } from "../errors.js";
import type { Logger } from "../logger.js";
import { CODE, isRetriable, ProtocolError } from "./protocol-errors.js";

const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 1_000;
/** The markers of the transaction before are written within milliseconds; each wait is part of a commit. */
const CONCURRENT_MS_MAX = 20;
/** A leader that moves is found within this; what lasts longer is worth a line in the log. */
const QUIET_MS = 1_000;

/** Waiting times that double, with a fifth of chance in them so that clients do not march in step. */
export class Backoff {
  #nextMs = BACKOFF_MS_MIN;
  #concurrentMs = 1;

  nextMs(error?: unknown): number {
    if (error instanceof ProtocolError && error.errorCode === CODE.CONCURRENT_TRANSACTIONS) {
      const waitMs = this.#concurrentMs;
      this.#concurrentMs = Math.min(CONCURRENT_MS_MAX, waitMs * 2);
      return waitMs;
    }
    const waitMs = this.#nextMs;
    this.#nextMs = Math.min(BACKOFF_MS_MAX, waitMs * 2);
    return waitMs * (0.8 + Math.random() * 0.4);
  }
}

export class Deadline {
  /** By `performance.now()`. */
  readonly endMs: number;

  constructor(readonly budgetMs: number) {
    this.endMs = performance.now() + budgetMs;
  }

  get leftMs(): number {
    return Math.max(0, this.endMs - performance.now());
  }

  get isOver(): boolean {
    return this.leftMs === 0;
  }
}

export interface RetryOptions {
  /** What is being tried, for messages: "fetch offsets of group g". */
  readonly what: string;
  readonly budgetMs: number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Tries until it succeeds, fails for good, or the time is over.
 * @throws UnavailableError when the time is over or `signal` is aborted
 */
export async function retrying<T>(options: RetryOptions, attempt: (deadline: Deadline) => Promise<T>): Promise<T> {
  const deadline = new Deadline(options.budgetMs);
  const backoff = new Backoff();
  let hasWarned = false;
  for (;;) {
    try {
      return await attempt(deadline);
    } catch (error) {
      if (options.signal.aborted) throw new UnavailableError(`${options.what}: closed meanwhile`, { cause: error });
      if (!isRetriable(error)) throw error;
      const waitMs = backoff.nextMs(error);
      if (waitMs >= deadline.leftMs) {
        const why = error instanceof Error ? error.message : String(error);
        throw new UnavailableError(`${options.what}: gave up after ${options.budgetMs} ms: ${why}`, { cause: error });
      }
      if (!hasWarned && options.budgetMs - deadline.leftMs > QUIET_MS) {
        hasWarned = true;
        options.logger.warn({ err: error }, `${options.what}: not yet, trying on`);
      }
      await pause(waitMs, options.signal);
    }
  }
}

/** Waits, or returns early when `signal` is aborted. */
export function pause(waitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, waitMs);
    signal.addEventListener("abort", done);
  });
}
