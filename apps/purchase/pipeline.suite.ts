import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KafkaJsTransport, silentLogger } from "millrace";
import { inject, onTestFinished } from "vitest";
import { check } from "../../bench/check.js";
import type { Expected } from "../../bench/load.js";
import { PipelineProcess } from "../../bench/pipeline-process.js";
import { eventually, LogProbe, unique } from "../../testing/log-probe.suite.js";

export { buildIfStale } from "../../bench/build-if-stale.js";

const CLI = fileURLToPath(new URL("../../dist/apps/purchase/cli.js", import.meta.url));
const READY_TIMEOUT_MS = 60_000;

/** One application on the tests' Kafka: topics and state of its own, and any number of instances as processes. */
export class Pipeline {
  readonly applicationId = unique("purchases");
  readonly input = `${this.applicationId}-in`;
  readonly output = `${this.applicationId}-out`;
  readonly late = `${this.applicationId}-late`;
  readonly expired = `${this.applicationId}-expired`;
  readonly deadLetter = `${this.applicationId}-dead`;
  readonly changelog = `${this.applicationId}-purchases-per-user-changelog`;
  readonly probe: LogProbe;
  readonly #processes: PipelineProcess[] = [];

  private constructor(
    readonly brokers: readonly string[],
    readonly directory: string,
  ) {
    this.probe = new LogProbe(new KafkaJsTransport({ client: { brokers: [...this.brokers] }, logger: silentLogger }));
  }

  /** Ended and cleared away when the test is over. */
  static async open(brokers: readonly string[] = inject("kafkaBrokers")): Promise<Pipeline> {
    const pipeline = new Pipeline(brokers, await mkdtemp(join(tmpdir(), "millrace-pipeline-")));
    onTestFinished(() => pipeline.#close());
    await pipeline.probe.transport.connect();
    return pipeline;
  }

  stateDir(instance = "1"): string {
    return join(this.directory, instance);
  }

  start(instance = "1", environment: Readonly<Record<string, string>> = {}): PipelineProcess {
    return this.command(["run"], { STATE_DIR: this.stateDir(instance), ...environment });
  }

  /** A command of the app on this application's topics. */
  command(parameters: readonly string[], environment: Readonly<Record<string, string>> = {}): PipelineProcess {
    const settings = {
      KAFKA_BROKERS: this.brokers.join(","),
      APPLICATION_ID: this.applicationId,
      INPUT_TOPIC: this.input,
      OUTPUT_TOPIC: this.output,
      LATE_TOPIC: this.late,
      EXPIRED_TOPIC: this.expired,
      DEAD_LETTER_TOPIC: this.deadLetter,
      ...environment,
    };
    const process = new PipelineProcess(settings, [CLI, ...parameters]);
    this.#processes.push(process);
    return process;
  }

  /** Waits until the instance has every task's state. @throws with what it has printed when it ends instead */
  async ready(process: PipelineProcess): Promise<void> {
    await eventually(
      () => `the instance is ready; it said:\n${process.output}`,
      () => {
        if (process.hasEnded) throw new Error(`the instance ended:\n${process.output}`);
        return process.isReady();
      },
      READY_TIMEOUT_MS,
    );
  }

  /** Waits until everything in the input is processed and committed. */
  async caughtUp(timeoutMs = 60_000): Promise<void> {
    try {
      await this.probe.caughtUp(this.applicationId, this.input, timeoutMs);
    } catch (error) {
      const outputs = this.#processes.map(({ pid, output }) => `--- ${pid}\n${output}`);
      throw new Error(`${String(error)}\n${outputs.join("\n")}`, { cause: error });
    }
  }

  /** How the last aggregate of each user and window differs from what must be there: nothing does, if all is well. */
  async differences(expected: Expected) {
    const { missing, different, unexpected } = await check(this.probe.transport, this.output, expected);
    return { missing, different, unexpected };
  }

  /** Transaction ids in the late topic, as often as they are there. */
  async lateIds(): Promise<string[]> {
    const records = await this.probe.read(this.late);
    return records.map(
      ({ value }) => (JSON.parse(String(value)) as { readonly transaction_id: string }).transaction_id,
    );
  }

  async #close(): Promise<void> {
    for (const process of this.#processes) await process.end("SIGKILL");
    // A broker of the test's own goes with its topics, if it is not gone already.
    if (this.brokers.join() === inject("kafkaBrokers").join()) await this.#deleteTopics();
    await this.probe.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #deleteTopics(): Promise<void> {
    await this.probe.transport.topics.delete([
      this.input,
      this.output,
      this.late,
      this.expired,
      this.deadLetter,
      this.changelog,
    ]);
  }
}

export const NO_DIFFERENCES = { missing: 0, different: 0, unexpected: 0 };

/** Lines of its JSON log, oldest first. */
export function logLines(
  process: PipelineProcess,
): { readonly level: number; readonly msg?: string; readonly [field: string]: unknown }[] {
  const lines = process.output.split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line) as { readonly level: number });
}
