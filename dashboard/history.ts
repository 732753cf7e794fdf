import { type History, type HistoryPoint, SERIES } from "./messages.js";

/** The last points of every series, for pages that open later. Bounded; the oldest goes first. */
export class PointHistory {
  readonly #max: number;
  readonly #points: HistoryPoint[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  add(point: HistoryPoint): void {
    this.#points.push(point);
    if (this.#points.length > this.#max) this.#points.shift();
  }

  columns(): History {
    return {
      atMs: this.#points.map(({ atMs }) => atMs),
      values: SERIES.map((_, index) => this.#points.map(({ values }) => values[index] ?? null)),
    };
  }
}
