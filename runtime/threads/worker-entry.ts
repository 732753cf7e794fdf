import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { StreamsMetrics } from "../../metrics/metrics.js";
import { StateFiles } from "../../stores/state-files.js";
import { invariant } from "../../topology/errors.js";
import { resolveConfig } from "../config.js";
import { ConfigError } from "../errors.js";
import type { Logger } from "../logger.js";
import type { Transport } from "../transport.js";
import type { BuildApplication, BuiltApplication } from "./application.js";
import { LocalThread } from "./local-thread.js";
import { type FromThread, sendingLogger, type ThreadSetup, type ToThread } from "./messages.js";
import { fromPlainError, toPlainError } from "./plain-error.js";

// What a worker runs: one stream thread, from the module of the application that it belongs to. The main thread hears
// of it by messages, and asks for little: to close, to report, and that the sources' owner has been told.

/** How soon a change shows in the main thread. */
const STATE_MS = 100;
/** Of those counts that no scrape has asked for: what may be lost when a thread dies. */
const REPORT_MS = 1_000;

async function build({ module, data }: ThreadSetup, logger: Logger): Promise<BuiltApplication> {
  const loaded = (await import(module)) as { readonly default?: BuildApplication<unknown> };
  if (typeof loaded.default !== "function") {
    throw new ConfigError([
      `threads.module: ${module} has no default export that builds an application: export default defineApplication(import.meta.url, …)`,
    ]);
  }
  return loaded.default(data, { logger });
}

class Worker {
  readonly #port: MessagePort;
  readonly #setup: ThreadSetup;
  readonly #metrics: StreamsMetrics;
  #thread: LocalThread | undefined;
  #transport: Transport | undefined;
  #closing = false;
  #sourcesDone: ((message: Extract<ToThread, { kind: "sources-done" }>) => void) | undefined;
  #toldState = "";

  constructor(port: MessagePort, setup: ThreadSetup) {
    this.#port = port;
    this.#setup = setup;
    this.#metrics = new StreamsMetrics({ applicationId: setup.config.applicationId });
    port.on("message", (message: ToThread) => this.#hear(message));
  }

  async run(): Promise<void> {
    const timers: NodeJS.Timeout[] = [];
    try {
      const thread = await this.#open();
      this.#thread = thread;
      this.#send({ kind: "ready" });
      timers.push(setInterval(() => this.#tellState(thread), STATE_MS));
      timers.push(setInterval(() => this.#report(), REPORT_MS));
      if (this.#closing) thread.close();
      await thread.run();
      this.#report();
      this.#send({ kind: "closed" });
    } catch (error) {
      this.#report();
      this.#send({ kind: "failed", error: toPlainError(error) });
    } finally {
      for (const timer of timers) clearInterval(timer);
      await this.#transport?.close();
      // Whatever the application's module keeps open must not keep the thread.
      process.exit();
    }
  }

  async #open(): Promise<LocalThread> {
    const { config: shared, directory, groupInstanceId, transactionalId, topologyHash, module } = this.#setup;
    const logger = sendingLogger((message) => this.#send(message));
    const { topology, config } = await build(this.#setup, logger);
    if (topology.hash !== topologyHash) {
      throw new ConfigError([
        `threads.module: ${module} builds another topology than the main thread has: it must depend on its data only`,
      ]);
    }
    const { transport } = config;
    this.#transport = transport;
    await transport.connect();
    return new LocalThread({
      topology,
      config: {
        ...resolveConfig(config),
        ...shared,
        logger,
        metrics: this.#metrics,
        onSourcesFound: () => this.#sourcesFound(),
      },
      files: StateFiles.ofThisProcess(directory, { topology: topology.hash }),
      groupInstanceId,
      transactionalId,
      thread: this.#setup.number,
    });
  }

  #hear(message: ToThread): void {
    switch (message.kind) {
      case "close":
        this.#closing = true;
        this.#thread?.close();
        return;
      case "report":
        this.#report();
        return;
      case "sources-done":
        this.#sourcesDone?.(message);
        return;
    }
  }

  async #sourcesFound(): Promise<void> {
    const { error } = await new Promise<Extract<ToThread, { kind: "sources-done" }>>((resolve) => {
      this.#sourcesDone = resolve;
      this.#send({ kind: "sources-found" });
    });
    if (error !== undefined) throw fromPlainError(error);
  }

  #tellState(thread: LocalThread): void {
    const { state } = thread;
    const told = JSON.stringify(state);
    if (told === this.#toldState) return;
    this.#toldState = told;
    this.#send({ kind: "state", state, commits: thread.commits });
  }

  #report(): void {
    this.#send({ kind: "metrics", report: this.#metrics.takeReport() });
  }

  #send(message: FromThread): void {
    this.#port.postMessage(message);
  }
}

invariant(parentPort !== null, "this module is the entry of a worker thread");
await new Worker(parentPort, workerData as ThreadSetup).run();
