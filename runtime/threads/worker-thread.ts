import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { MetricsSource, StreamsMetrics } from "../../metrics/metrics.js";
import { releaseFilesOf } from "../../stores/open-files.js";
import { StreamsError } from "../../topology/errors.js";
import { Attempts } from "../attempts.js";
import type { ThreadsConfig } from "../config.js";
import type { Logger } from "../logger.js";
import { Wakeup } from "../wakeup.js";
import { type FromThread, type ThreadSetup, type ToThread, unpacked } from "./messages.js";
import { fromPlainError, toPlainError } from "./plain-error.js";
import type { Thread, ThreadState } from "./thread.js";

export interface WorkerThreadOptions {
  readonly setup: ThreadSetup;
  readonly threads: ThreadsConfig;
  readonly metrics: StreamsMetrics;
  readonly logger: Logger;
  readonly onSourcesFound: () => Promise<void>;
}

/** How a worker ended: as it was told, by an error that it could tell, or without a word (`error` is what Node says). */
type Ending =
  | { readonly how: "closed" }
  | { readonly how: "failed"; readonly error: Error }
  | { readonly how: "died"; readonly error: Error };

// Beside this file, and as it is: compiled, or a source that a loader compiles.
const ENTRY = new URL(`./worker-entry${extname(import.meta.url)}`, import.meta.url);
/**
 * Node's own is 48 MB for each thread. Two threads, 200,000 purchases, two cores busy with other work, two rounds of each:
 * with 48 MB 374 and 347 MB at the peak and 29 and 30 µs of CPU per record, with 24 MB 319 and 343 MB and 26 and 29 µs.
 */
const YOUNG_GENERATION_MB_MAX = 24;
/** A scrape waits this long for a thread that is busy; its counts come with the next one. */
const REPORT_WAIT_MS = 1_000;

/** A stream thread in a worker. One that dies is replaced by a new worker with the same identity, which has its tasks at once. */
export class WorkerThread implements Thread {
  readonly #options: WorkerThreadOptions;
  readonly #wakeup = new Wakeup();
  #worker: RunningWorker | undefined;
  #replacing: string | undefined;
  #closing = false;

  constructor(options: WorkerThreadOptions) {
    this.#options = options;
  }

  get state(): ThreadState {
    if (this.#replacing !== undefined) return { phase: "recovering", reason: this.#replacing, tasks: [] };
    return this.#worker?.state ?? STARTING;
  }

  async start(): Promise<void> {
    this.#worker = new RunningWorker(this.#options);
    const ending = await Promise.race([this.#worker.ready, this.#worker.ended]);
    if (ending !== "ready" && ending.how !== "closed") throw ending.error;
  }

  async run(): Promise<void> {
    const { logger, metrics, setup } = this.#options;
    const attempts = new Attempts();
    for (;;) {
      const worker = this.#worker as RunningWorker;
      const ending = await worker.ended;
      if (ending.how === "failed") throw ending.error;
      if (ending.how === "closed" || this.#closing) return;
      const { message } = ending.error;
      const backoffMs = attempts.afterFailure({ hasCommitted: worker.commits > 0, isPatient: false });
      if (backoffMs === undefined) {
        const told = `stream thread ${setup.number} has died again and again without a commit between, at last of: ${message}`;
        throw new StreamsError("THREAD_DIED", told, { cause: ending.error });
      }
      metrics.counter("thread_replacements_total", {}).value++;
      this.#replacing = `died (${message}); replaced in ${backoffMs} ms`;
      logger.error(
        { err: ending.error, thread: setup.number, retryInMs: backoffMs },
        `stream thread ${setup.number} ${this.#replacing}`,
      );
      await this.#wakeup.sleep(backoffMs);
      if (this.#closing) return;
      this.#replacing = undefined;
      this.#worker = new RunningWorker(this.#options);
    }
  }

  close(): void {
    this.#closing = true;
    this.#worker?.close();
    this.#wakeup.wake();
  }

  async end(): Promise<void> {
    this.#closing = true;
    this.#wakeup.wake();
    await this.#worker?.end();
  }
}

const STARTING: ThreadState = { phase: "starting", reason: "starting", tasks: [] };

/** One worker from its start to its end. */
class RunningWorker {
  state: ThreadState = STARTING;
  commits = 0;
  readonly ready: Promise<"ready">;
  readonly ended: Promise<Ending>;
  readonly #options: WorkerThreadOptions;
  readonly #worker: Worker;
  readonly #metrics: MetricsSource;
  #told: Ending | undefined;
  #isReady: () => void = () => undefined;
  #reported: () => void = () => undefined;

  constructor(options: WorkerThreadOptions) {
    this.#options = options;
    const { setup, threads, metrics } = options;
    const { execArgv, resourceLimits } = threads;
    this.#worker = new Worker(ENTRY, {
      name: `millrace-${setup.number}`,
      workerData: setup,
      ...(execArgv === undefined ? {} : { execArgv: [...execArgv] }),
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB_MAX, ...resourceLimits },
    });
    this.#metrics = metrics.addSource(() => this.#report());
    this.ready = new Promise((resolve) => {
      this.#isReady = () => resolve("ready");
    });
    this.#worker.on("message", (message: FromThread) => this.#hear(message));
    this.ended = this.#end();
  }

  close(): void {
    this.#send({ kind: "close" });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
    await this.ended;
  }

  async #end(): Promise<Ending> {
    const { threadId } = this.#worker;
    let thrown: Error | undefined;
    this.#worker.on("error", (error: unknown) => {
      thrown = error instanceof Error ? error : new Error(String(error));
    });
    const exitCode = await new Promise<number>((resolve) => this.#worker.once("exit", resolve));
    // Node has closed what the thread had open before it says that it is gone.
    releaseFilesOf(threadId);
    this.#reported();
    this.#metrics.end();
    return this.#told ?? { how: "died", error: thrown ?? new Error(`its worker ended with exit code ${exitCode}`) };
  }

  #hear(message: FromThread): void {
    switch (message.kind) {
      case "ready":
        this.#isReady();
        return;
      case "state":
        this.commits = message.commits;
        this.state = this.#named(message.state);
        return;
      case "metrics":
        this.#metrics.add(message.report);
        this.#reported();
        return;
      case "log": {
        const { level, data, message: text } = message;
        this.#options.logger[level]({ ...unpacked(data), thread: this.#options.setup.number }, text);
        return;
      }
      case "sources-found":
        void this.#sourcesFound();
        return;
      case "closed":
        this.#told = { how: "closed" };
        return;
      case "failed":
        this.#told = { how: "failed", error: fromPlainError(message.error) };
        return;
    }
  }

  #named(state: ThreadState): ThreadState {
    const thread = this.#options.setup.number;
    return { ...state, tasks: state.tasks.map((task) => ({ ...task, thread })) };
  }

  async #sourcesFound(): Promise<void> {
    try {
      await this.#options.onSourcesFound();
      this.#send({ kind: "sources-done", error: undefined });
    } catch (error) {
      this.#send({ kind: "sources-done", error: toPlainError(error) });
    }
  }

  /** Resolves with the next report, or when the thread is too busy for one, or gone. */
  async #report(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, REPORT_WAIT_MS);
      this.#reported = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#send({ kind: "report" });
    });
  }

  #send(message: ToThread): void {
    this.#worker.postMessage(message);
  }
}
