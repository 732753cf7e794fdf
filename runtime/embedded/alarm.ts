const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/**
 * One timer for many deadlines. It never keeps the process alive, and it is armed anew only for an earlier deadline:
 * a transaction every few milliseconds must not cost a timer each.
 */
export class Alarm {
  #timer: NodeJS.Timeout | undefined;
  #atMs = Number.POSITIVE_INFINITY;

  /**
   * @param nowMs the wall clock
   * @param ring does what is due, and returns the next deadline; undefined when there is none
   */
  constructor(
    readonly nowMs: () => number,
    readonly ring: () => number | undefined,
  ) {}

  /** Rings at `deadlineMs` of the wall clock at the latest. */
  by(deadlineMs: number): void {
    if (deadlineMs >= this.#atMs) return;
    clearTimeout(this.#timer);
    this.#atMs = deadlineMs;
    const delayMs = Math.min(Math.max(deadlineMs - this.nowMs(), 1), TIMEOUT_MS_MAX);
    this.#timer = setTimeout(() => this.now(), delayMs).unref();
  }

  /** Rings when its time has come but its timer has not: the clock may be a test's, or the process was held up. */
  ifDue(): void {
    if (this.nowMs() >= this.#atMs) this.now();
  }

  /** Rings at once. */
  now(): void {
    this.stop();
    const nextMs = this.ring();
    if (nextMs !== undefined) this.by(nextMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#atMs = Number.POSITIVE_INFINITY;
  }
}
