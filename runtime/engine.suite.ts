import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";
import { eventually, LogProbe, unique } from "../testing/log-probe.suite.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import type { StreamsConfig } from "./config.js";
import { TopicNames, topicsRead } from "./internal-topics.js";
import { KafkaJsTransport } from "./kafkajs/transport.js";
import { type Logger, silentLogger } from "./logger.js";
import { KafkaStreams, type TaskStatus } from "./streams.js";

export interface Line {
  /** Seconds since the instance was made. */
  readonly seconds: number;
  readonly data: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** One `KafkaStreams` in this process, and what it has logged. */
export class Instance {
  readonly lines: Line[] = [];
  readonly streams: KafkaStreams;

  constructor(topology: ProcessorTopology, config: StreamsConfig) {
    const madeMs = performance.now();
    const note = (data: object, message: string): void => {
      const seconds = (performance.now() - madeMs) / 1_000;
      this.lines.push({ seconds, data: data as Line["data"], message });
    };
    const logger: Logger = { ...silentLogger, info: note, warn: note, error: note };
    this.streams = new KafkaStreams(topology, { ...config, logger });
  }

  /** Waits until it has the state of every task. @throws what ended it instead */
  async running(timeoutMs = 60_000): Promise<this> {
    await eventually(
      () => `RUNNING; it is ${this.#story}`,
      () => {
        if (this.streams.failure !== undefined) throw this.streams.failure;
        return this.streams.state === "RUNNING";
      },
      timeoutMs,
    );
    return this;
  }

  /** Waits until it runs exactly so many tasks, all of them with their state. */
  async runs(tasks: number, timeoutMs = 60_000): Promise<this> {
    await eventually(
      () => `${tasks} tasks; it is ${this.#story}`,
      () => {
        if (this.streams.failure !== undefined) throw this.streams.failure;
        return this.streams.state === "RUNNING" && this.tasks.length === tasks;
      },
      timeoutMs,
    );
    return this;
  }

  /** Waits until it has stopped by itself, and gives the error. */
  async failure(timeoutMs = 60_000): Promise<Error & { readonly code?: string }> {
    await eventually(
      () => `ERROR; it is ${this.#story}`,
      () => this.streams.state === "ERROR",
      timeoutMs,
    );
    return this.streams.failure as Error;
  }

  get tasks(): string[] {
    return this.#idsOf(({ state }) => state !== "standby");
  }

  /** Tasks of others that it keeps a copy of, as far as they have caught up. */
  get caughtUpStandbys(): string[] {
    return this.#idsOf(({ state, lag }) => state === "standby" && (lag ?? 0) <= 1);
  }

  /** Changelog records that it has read back so far. */
  restored(store: string): number {
    return this.streams.metrics.counter("restored_records_total", { store }).value;
  }

  /** The tasks that each generation brought it, beside those it had. */
  get added(): string[][] {
    return this.lines.flatMap(({ data }) => (Array.isArray(data.added) ? [(data.added as string[]).sort()] : []));
  }

  #idsOf(isWanted: (task: TaskStatus) => boolean): string[] {
    return this.streams.status.tasks
      .filter(isWanted)
      .map(({ id }) => id)
      .sort();
  }

  get #story(): string {
    return `${this.streams.state} (${this.streams.status.reason}), and said:\n${this.lines.map(({ seconds, message }) => `${seconds.toFixed(3)} ${message}`).join("\n")}`;
  }
}

/** One application on a real Kafka: topics and state of its own, and any number of instances in this process. */
export class Application {
  readonly id = unique("app");
  readonly probe: LogProbe;
  readonly #instances: Instance[] = [];
  readonly #topics = new Set<string>();

  private constructor(
    readonly brokers: readonly string[],
    readonly directory: string,
  ) {
    this.probe = new LogProbe(this.#transport());
  }

  /** Ended and cleared away when the test is over. */
  static async open(brokers: readonly string[] = inject("kafkaBrokers")): Promise<Application> {
    const application = new Application(brokers, await mkdtemp(join(tmpdir(), "millrace-engine-")));
    onTestFinished(() => application.#end());
    await application.probe.transport.connect();
    return application;
  }

  /** Makes a topic of the test's own. */
  async topic(what: string, partitions: number, configs: Readonly<Record<string, string>> = {}): Promise<string> {
    const topic = `${this.id}-${what}`;
    this.#topics.add(topic);
    return this.probe.createTopic(topic, partitions, configs);
  }

  stateDir(instance = "1"): string {
    return join(this.directory, instance);
  }

  async start(
    topology: ProcessorTopology,
    config: Partial<StreamsConfig> & { readonly instance?: string } = {},
  ): Promise<Instance> {
    const names = new TopicNames(this.id);
    for (const sub of topology.subTopologies) {
      for (const topic of topicsRead(sub, names)) this.#topics.add(topic);
      for (const { name } of sub.stores) this.#topics.add(names.changelog(name));
    }
    const { instance: name, ...rest } = config;
    const instance = new Instance(topology, {
      applicationId: this.id,
      transport: this.#transport(),
      stateDir: this.stateDir(name),
      sessionTimeoutMs: 6_000,
      ...rest,
    });
    this.#instances.push(instance);
    await instance.streams.start();
    return instance;
  }

  #transport(): KafkaJsTransport {
    return new KafkaJsTransport({ client: { brokers: [...this.brokers] }, logger: silentLogger });
  }

  async #end(): Promise<void> {
    for (const { streams } of this.#instances) await streams.close();
    // A broker of the test's own goes with its topics.
    if (this.brokers.join() === inject("kafkaBrokers").join()) {
      await this.probe.transport.topics.delete([...this.#topics]);
    }
    await this.probe.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}
