import type { KafkaStreams } from "millrace";
import { JsonLines, type LineStream } from "./json-lines.js";

/** What `run --json` prints: where it listens, each state it comes to, and at its end what it has done. */
export class RunLines {
  readonly #lines: JsonLines;
  readonly #startedMs = performance.now();
  #streams: KafkaStreams | undefined;

  constructor(stream: LineStream) {
    this.#lines = new JsonLines(stream);
  }

  watch(streams: KafkaStreams, endpoints: { readonly host: string; readonly port: number } | undefined): void {
    this.#streams = streams;
    if (endpoints !== undefined) this.#lines.write("listening", { url: `http://${endpoints.host}:${endpoints.port}/` });
    streams.onStateChange((state) => {
      this.#lines.write("state", { time: new Date().toISOString(), state, reason: streams.status.reason });
    });
  }

  /** Counts are of this run and this instance. */
  finish(exitCode: number): void {
    const streams = this.#streams;
    if (streams === undefined) return;
    const count = (...asked: Parameters<KafkaStreams["metrics"]["series"]>): number =>
      streams.metrics.series(...asked).reduce((sum, [, value]) => sum + value, 0);
    this.#lines.write("summary", {
      exit_code: exitCode,
      error: streams.failure?.message ?? null,
      records_consumed: count("records_consumed_total"),
      records_produced: count("records_produced_total"),
      late: count("records_late_total"),
      dead_letters: count("dead_letter_records_total"),
      commits: count("commits_total"),
      seconds: Math.round(performance.now() - this.#startedMs) / 1_000,
    });
  }
}
