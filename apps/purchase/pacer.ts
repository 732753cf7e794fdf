export interface PacerOptions {
  /** Purchases per second of the wall clock; 0 = as many as are taken. */
  readonly rate: number;
  /** Simulated milliseconds per millisecond of the wall clock. */
  readonly timeScale: number;
  readonly startWallClockMs: number;
}

/** What was missed for longer than this is not made up for: after a pause there is no flood. */
const CATCH_UP_MAX_MS = 1_000;

/**
 * Says which purchases are due, and at which simulated time each is ingested: their own due time, not that of the call,
 * so that a late timer bends neither rate nor time.
 */
export class Pacer {
  readonly #options: PacerOptions;
  /** When the purchase before the next one was due. */
  #lastDueMs: number;

  constructor(options: PacerOptions) {
    this.#options = options;
    this.#lastDueMs = options.startWallClockMs;
  }

  /** Ingestion times of what is due now, at most `max`, in order. */
  due(wallClockMs: number, max: number): readonly number[] {
    const { rate } = this.#options;
    if (rate === 0) return new Array<number>(max).fill(this.#simulated(wallClockMs));
    const intervalMs = 1_000 / rate;
    // Below one per second, a timer that comes late is no pause.
    this.#lastDueMs = Math.max(this.#lastDueMs, wallClockMs - Math.max(CATCH_UP_MAX_MS, 2 * intervalMs));
    const times: number[] = [];
    while (times.length < max && this.#lastDueMs + intervalMs <= wallClockMs) {
      this.#lastDueMs += intervalMs;
      times.push(this.#simulated(this.#lastDueMs));
    }
    return times;
  }

  /** How long nothing is due; 0 when something is. */
  idleMs(wallClockMs: number): number {
    const { rate } = this.#options;
    return rate === 0 ? 0 : Math.max(0, this.#lastDueMs + 1_000 / rate - wallClockMs);
  }

  #simulated(wallClockMs: number): number {
    const { startWallClockMs, timeScale } = this.#options;
    return Math.floor(startWallClockMs + (wallClockMs - startWallClockMs) * timeScale);
  }
}
