import type { Cell, StreamsMetrics } from "../metrics/metrics.js";
import type { DropReason, ProcessorContext } from "../topology/processor.js";
import type { ErrorHandler, ErrorStage, SubTopology } from "../topology/processor-topology.js";

/** The counters of one task, looked up once: the hot path only adds to cells. */
export class TaskMetrics {
  readonly #dropped = new Map<string, Cell>();
  readonly #metrics: StreamsMetrics;

  constructor(metrics: StreamsMetrics, subTopology: SubTopology) {
    this.#metrics = metrics;
    // A counter that first appears at 1 looks like no increase at all to an alert.
    const { sources, processors, sinks } = subTopology;
    for (const { name } of [...sources, ...processors, ...sinks]) {
      metrics.counter("records_dropped_total", { node: name, reason: "handler" });
    }
    for (const { name } of sources) metrics.counter("records_dropped_total", { node: name, reason: "bad-timestamp" });
    for (const { name, stores, timed } of processors) {
      if (stores.length === 0) continue;
      for (const reason of ["null-key", "null-value"] as const)
        metrics.counter("records_dropped_total", { node: name, reason });
      if (!timed) continue;
      metrics.counter("records_dropped_total", { node: name, reason: "late" });
      metrics.startAtZero("records_late_total", { node: name });
    }
    for (const topic of [...sources, ...sinks].flatMap(({ onError }) => deadLetterTopic(onError))) {
      metrics.counter("dead_letter_records_total", { topic });
    }
  }

  /** A cell of the hot path: one is added for each record. */
  consumed(topic: string): Cell {
    return this.#metrics.counter("records_consumed_total", { topic });
  }

  /** A cell of the hot path: one is added for each record that the node is given. */
  received(node: string): Cell {
    return this.#metrics.counter("node_records_total", { node });
  }

  dropped(node: string, reason: DropReason): void {
    const id = `${reason} ${node}`;
    let cell = this.#dropped.get(id);
    if (cell === undefined) {
      cell = this.#metrics.counter("records_dropped_total", { node, reason });
      this.#dropped.set(id, cell);
    }
    cell.value++;
  }

  /** How a windowed operator counts lateness: once for each record, in plain numbers. */
  lateness(node: string): ProcessorContext["late"] {
    const lateness = this.#metrics.histogram("record_lateness_seconds", { node });
    const accepted = this.#metrics.counter("records_late_total", { node, outcome: "accepted" });
    const dropped = this.#metrics.counter("records_late_total", { node, outcome: "dropped" });
    return (byMs, outcome) => {
      lateness.observe(byMs / 1000);
      if (outcome === "accepted") accepted.value++;
      else if (outcome === "dropped") dropped.value++;
    };
  }

  /** From the times that its records came with to `committedMs`. */
  endToEndLatency(node: string, recordTimesMs: readonly number[], committedMs: number): void {
    const latency = this.#metrics.histogram("end_to_end_latency_seconds", { node });
    for (const timeMs of recordTimesMs) latency.observe(Math.max(0, committedMs - timeMs) / 1000);
  }

  handled(stage: ErrorStage, action: "continue" | "dead-letter" | "fail"): void {
    this.#metrics.counter("errors_handled_total", { stage, action }).value++;
  }

  deadLetter(topic: string): void {
    this.#metrics.counter("dead_letter_records_total", { topic }).value++;
  }
}

/** The topic of a handler that is no function: known before anything fails. */
function deadLetterTopic(handler: ErrorHandler | undefined): string[] {
  return typeof handler === "object" ? [handler.deadLetter] : [];
}
