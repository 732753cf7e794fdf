import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Transport } from "../runtime/transport.js";
import { BARE_LOOP, PEER_CLASSES, PEER_JARS } from "./built.js";
import { PipelineProcess } from "./pipeline-process.js";
import { makeTopic } from "./purchase-load.js";
import { WatchedProcess } from "./watched-process.js";

export type Guarantee = "exactly_once" | "at_least_once";

/** Kafka Streams' own default under exactly-once, and what the issue compares under at-least-once. */
export const COMMIT_INTERVAL_MS: Readonly<Record<Guarantee, number>> = { exactly_once: 100, at_least_once: 1_000 };

export interface JobOptions {
  readonly guarantee: Guarantee;
  readonly input: string;
  readonly partitions: number;
  readonly threads: number;
  /** More settings, in the contender's own words. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** One application's topics and state, made new and cleared away. */
export class Job {
  readonly output: string;
  readonly late: string;
  readonly expired: string;
  readonly deadLetter: string;

  private constructor(
    readonly applicationId: string,
    readonly brokers: string,
    readonly stateDir: string,
    readonly options: JobOptions,
  ) {
    this.output = `${applicationId}-out`;
    this.late = `${applicationId}-late`;
    this.expired = `${applicationId}-expired`;
    this.deadLetter = `${applicationId}-dead`;
  }

  static async open(
    { transport, brokers }: { readonly transport: Transport; readonly brokers: readonly string[] },
    contender: Contender,
    options: JobOptions,
  ): Promise<Job> {
    const stateDir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
    const job = new Job(`bench-${contender.name}-${Date.now()}`, brokers.join(","), stateDir, options);
    for (const topic of [...job.#outputs, ...contender.changelogs(job)]) {
      // Its own changelogs, in the bare loop's case; the others make theirs.
      if (topic.endsWith("-changelog") && contender !== bareLoop) continue;
      await makeTopic(transport, topic, options.partitions);
    }
    return job;
  }

  async close(transport: Transport, contender: Contender): Promise<void> {
    await transport.topics.delete([...this.#outputs, ...contender.changelogs(this)]);
    await this.forgetState();
  }

  async forgetState(): Promise<void> {
    await rm(this.stateDir, { recursive: true, force: true });
  }

  get #outputs(): readonly string[] {
    return [this.output, this.late, this.expired, this.deadLetter];
  }
}

/** Something that does the purchase job as a process of its own. */
export interface Contender {
  readonly name: "millrace" | "kafka-streams" | "bare-loop";
  readonly label: string;
  start(job: Job): WatchedProcess;
  /** What it prints when every task has its state. */
  readonly running: RegExp;
  changelogs(job: Job): readonly string[];
}

export const millrace: Contender = {
  name: "millrace",
  label: "Millrace",
  running: /-> RUNNING/,
  changelogs: ({ applicationId }) => [`${applicationId}-purchases-per-user-changelog`],
  start: ({ options, ...job }) =>
    new PipelineProcess({
      KAFKA_BROKERS: job.brokers,
      APPLICATION_ID: job.applicationId,
      INPUT_TOPIC: options.input,
      OUTPUT_TOPIC: job.output,
      LATE_TOPIC: job.late,
      EXPIRED_TOPIC: job.expired,
      DEAD_LETTER_TOPIC: job.deadLetter,
      STATE_DIR: job.stateDir,
      PROCESSING_GUARANTEE: options.guarantee,
      COMMIT_INTERVAL_MS: String(COMMIT_INTERVAL_MS[options.guarantee]),
      THREADS: String(options.threads),
      ...options.settings,
    }),
};

export const kafkaStreams: Contender = {
  name: "kafka-streams",
  label: "Kafka Streams",
  running: /STATE RUNNING/,
  changelogs: ({ applicationId }) => [`${applicationId}-purchases-per-user-changelog`],
  start: ({ options, ...job }) => {
    const settings = {
      "bootstrap.servers": job.brokers,
      "application.id": job.applicationId,
      "processing.guarantee": options.guarantee === "exactly_once" ? "exactly_once_v2" : "at_least_once",
      "commit.interval.ms": String(COMMIT_INTERVAL_MS[options.guarantee]),
      "num.stream.threads": String(options.threads),
      "state.dir": job.stateDir,
      "auto.offset.reset": "earliest",
      // Changelog records carry the event time: with its default, a broker would empty the changelog of old events.
      "windowstore.changelog.additional.retention.ms": String(10 * 365 * 86_400_000),
      ...options.settings,
    };
    return new WatchedProcess("java", [
      ...["-Xms512m", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"],
      ...["-cp", `${PEER_CLASSES}:${join(PEER_JARS, "*")}`, "millrace.bench.Peer"],
      ...[options.input, job.output, job.late],
      ...Object.entries(settings).map(([key, value]) => `${key}=${value}`),
    ]);
  },
};

export const bareLoop: Contender = {
  name: "bare-loop",
  label: "bare loop",
  running: /RUNNING/,
  changelogs: ({ applicationId }) => [`${applicationId}-changelog`],
  start: ({ options, ...job }) =>
    new WatchedProcess(process.execPath, [
      BARE_LOOP,
      ...[job.brokers, job.applicationId, options.input, job.output, job.late],
      ...[job.stateDir, String(options.partitions)],
    ]),
};
