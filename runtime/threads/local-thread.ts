import { sampleGauges } from "../sampled-gauges.js";
import type { StreamSessionOptions } from "../stream-session.js";
import { StreamThread } from "../stream-thread.js";
import type { TaskStatus, Thread, ThreadState } from "./thread.js";

/** A stream thread on the thread that makes it: an instance's only one in the main thread, or each of several in its worker. */
export class LocalThread implements Thread {
  readonly #options: StreamSessionOptions;
  readonly #thread: StreamThread;

  constructor(options: StreamSessionOptions) {
    this.#options = options;
    this.#thread = new StreamThread(options);
  }

  get state(): ThreadState {
    const { phase, reason, tasks, restoring, standbys, layout } = this.#thread.status;
    return {
      phase,
      reason,
      layout,
      tasks: [
        ...tasks.map(({ id }): TaskStatus => ({ id, state: "running" })),
        ...restoring.map(({ task, done, total }): TaskStatus => ({ id: task, state: "restoring", done, total })),
        ...standbys.map(({ task, stores }): TaskStatus => {
          return { id: task, state: "standby", lag: stores.reduce((sum, { lag }) => sum + lag, 0) };
        }),
      ],
    };
  }

  /** Commits made since it began. */
  get commits(): number {
    return this.#thread.commits;
  }

  async start(): Promise<void> {
    // Everything it needs is here.
  }

  async run(): Promise<void> {
    const stopSampling = sampleGauges(this.#options.config.metrics, this.#thread);
    try {
      await this.#thread.run();
    } finally {
      stopSampling();
    }
  }

  close(): void {
    this.#thread.close();
  }

  async end(): Promise<void> {
    // It shares the main thread, which cannot end a part of itself.
  }
}
