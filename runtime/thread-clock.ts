import type { Cell, StreamsMetrics } from "../metrics/metrics.js";
import { type FAILURE_PHASES, THREAD_ACTIVITIES } from "../metrics/table.js";
import { UnavailableError } from "./errors.js";

export type Activity = (typeof THREAD_ACTIVITIES)[number];
export type FailurePhase = (typeof FAILURE_PHASES)[number];

/** Says what a stream thread does now, and adds up how long it did each: the activities together are all of its time. */
export class ThreadClock {
  readonly #seconds: Readonly<Record<Activity, Cell>>;
  #activity: Activity = "rebalance";
  #sinceMs = performance.now();
  #failedIn: FailurePhase | undefined;

  constructor(metrics: StreamsMetrics, thread: number) {
    const cells = THREAD_ACTIVITIES.map((activity) => [
      activity,
      metrics.counter("thread_activity_seconds_total", { thread: String(thread), activity }),
    ]);
    this.#seconds = Object.fromEntries(cells) as Record<Activity, Cell>;
  }

  enter(activity: Activity): void {
    const nowMs = performance.now();
    this.#seconds[this.#activity].value += (nowMs - this.#sinceMs) / 1000;
    this.#activity = activity;
    this.#sinceMs = nowMs;
  }

  /** Synchronous work that happens while the thread's loop waits for something else. */
  during<T>(activity: Activity, work: () => T): T {
    const before = this.#activity;
    this.enter(activity);
    try {
      return work();
    } finally {
      this.enter(before);
    }
  }

  /** What goes on beside the loop has failed; the first that says so is the cause. */
  failed(phase: FailurePhase): void {
    this.#failedIn ??= phase;
  }

  /** Where a session ended that threw `error`. */
  phaseOf(error: unknown): FailurePhase {
    if (this.#failedIn !== undefined) return this.#failedIn;
    if (this.#activity === "rebalance") return "rebalance";
    return error instanceof UnavailableError ? "fetch" : "process";
  }
}
