import type { Cell, StreamsMetrics } from "../metrics/metrics.js";
import type { DropReason } from "../topology/processor.js";
import type { ErrorStage, SubTopology } from "../topology/processor-topology.js";

/** The counters of one task, looked up once: the hot path only adds to cells. */
export class TaskMetrics {
  readonly #dropped = new Map<string, Cell>();
  readonly #metrics: StreamsMetrics;

  constructor(metrics: StreamsMetrics, subTopology: SubTopology) {
    this.#metrics = metrics;
    // A counter that first appears at 1 looks like no increase at all to an alert.
    for (const node of subTopology.processors) {
      if (node.timed) metrics.startAtZero("records_dropped_total", { node: node.name });
    }
  }

  /** A cell of the hot path: one is added for each record. */
  consumed(topic: string): Cell {
    return this.#metrics.counter("records_consumed_total", { topic });
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

  handled(stage: ErrorStage, action: "continue" | "dead-letter" | "fail"): void {
    this.#metrics.counter("errors_handled_total", { stage, action }).value++;
  }

  deadLetter(topic: string): void {
    this.#metrics.counter("dead_letter_records_total", { topic }).value++;
  }
}
