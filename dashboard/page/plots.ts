import type uPlotType from "uplot";
import { type History, type HistoryPoint, SERIES, type SeriesName } from "../messages.js";
import { byId, element, setText } from "./document.js";
import { compact, count, duration, NOTHING, time } from "./format.js";

// Loaded by index.html before this file: uPlot as its package ships it.
declare const uPlot: typeof uPlotType;

interface PlotDescription {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  readonly series: readonly { readonly of: SeriesName; readonly label: string; readonly color: string }[];
  readonly format: (value: number) => string;
}

const perSecond = (value: number): string => `${compact(value)}/s`;

const PLOTS: readonly PlotDescription[] = [
  {
    name: "throughput",
    title: "Throughput",
    note: "records per second",
    series: [
      { of: "consumedPerSecond", label: "read", color: "--blue" },
      { of: "producedPerSecond", label: "written, changelogs included", color: "--green" },
    ],
    format: perSecond,
  },
  {
    name: "lag",
    title: "Lag",
    note: "records behind the ends of the topics",
    series: [{ of: "lag", label: "all partitions", color: "--violet" }],
    format: count,
  },
  {
    name: "latency",
    title: "Latency",
    note: "from a record's timestamp to its result in Kafka",
    series: [
      { of: "latencyP50Ms", label: "median", color: "--blue" },
      { of: "latencyP99Ms", label: "99th percentile", color: "--amber" },
    ],
    format: duration,
  },
  {
    name: "commits",
    title: "Commits",
    note: "until changes are in Kafka and in the store",
    series: [
      { of: "commitP50Ms", label: "median", color: "--blue" },
      { of: "commitP99Ms", label: "99th percentile", color: "--amber" },
    ],
    format: duration,
  },
  {
    name: "lateness",
    title: "Lateness",
    note: "how far records are behind stream time",
    series: [
      { of: "latenessP90Ms", label: "90th percentile", color: "--blue" },
      { of: "latenessP99Ms", label: "99th percentile", color: "--amber" },
    ],
    format: duration,
  },
  {
    name: "late",
    title: "Late records",
    note: "per second",
    series: [
      { of: "latePerSecond", label: "late", color: "--amber" },
      { of: "droppedLatePerSecond", label: "refused by every window", color: "--red" },
    ],
    format: perSecond,
  },
];

const HEIGHT = 150;
const DARK = window.matchMedia("(prefers-color-scheme: dark)");

/** All plots over one time axis. Points come one by one; a missed stretch comes with the next history. */
export class Plots {
  readonly #max: number;
  readonly #atSeconds: number[];
  readonly #values: (number | null)[][];
  readonly #views: readonly PlotView[];

  constructor(history: History, max: number) {
    this.#max = max;
    this.#atSeconds = history.atMs.map((ms) => ms / 1_000);
    this.#values = SERIES.map((_, at) => [...(history.values[at] ?? [])]);
    this.#views = PLOTS.map((description) => new PlotView(description));
    byId("plots").replaceChildren(...this.#views.map(({ card }) => card));
    this.#draw();
    DARK.onchange = () => {
      for (const view of this.#views) view.restart();
      this.#draw();
    };
  }

  add(point: HistoryPoint): void {
    this.#atSeconds.push(point.atMs / 1_000);
    for (const [at, values] of this.#values.entries()) values.push(point.values[at] ?? null);
    if (this.#atSeconds.length > this.#max) for (const column of [this.#atSeconds, ...this.#values]) column.shift();
    this.#draw();
  }

  last(series: SeriesName): number | null {
    return this.#values[SERIES.indexOf(series)]?.at(-1) ?? null;
  }

  #draw(): void {
    for (const view of this.#views) {
      const columns = view.series.map((name) => this.#values[SERIES.indexOf(name)] ?? []);
      view.show([this.#atSeconds, ...columns]);
    }
  }
}

class PlotView {
  readonly card: HTMLElement;
  readonly #description: PlotDescription;
  readonly #place = element("div", { class: "plot", role: "img" });
  readonly #values: readonly HTMLElement[];
  #plot: uPlotType | undefined;

  constructor(description: PlotDescription) {
    const { name, title, note, series } = description;
    this.#description = description;
    this.#values = series.map(() => element("b"));
    const entries = series.map(({ label, color }, at) => {
      const swatch = element("i", { class: `swatch ${color.slice(2)}`, "aria-hidden": "true" });
      return element("li", {}, swatch, `${label} `, this.#values[at] as HTMLElement);
    });
    const head = element("div", { class: "head" }, element("h3", { id: `plot-${name}` }, title));
    head.append(element("span", { class: "stamp" }), element("p", { class: "note" }, note));
    this.card = element("section", { class: "card", "aria-labelledby": `plot-${name}` }, head);
    this.card.append(element("ul", { class: "legend" }, ...entries), this.#place);
    this.card.dataset.plot = name;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(this.#place);
  }

  get series(): readonly SeriesName[] {
    return this.#description.series.map(({ of }) => of);
  }

  show(columns: readonly (readonly (number | null)[])[]): void {
    const { title, format, series } = this.#description;
    const data = columns as unknown as uPlotType.AlignedData;
    if (this.#plot === undefined) this.#plot = new uPlot(this.#options(), data, this.#place);
    else this.#plot.setData(data);
    // What nothing has counted yet is no plot: latency, for records whose timestamps lie ahead of the clock.
    this.card.hidden = columns.slice(1).every((column) => column.every((value) => value === null));
    const words = series.map(({ label }, at) => {
      const value = columns[at + 1]?.at(-1) ?? null;
      const text = value === null ? NOTHING : format(value);
      setText(this.#values[at] as HTMLElement, text);
      return `${label} ${value === null ? "nothing" : text}`;
    });
    this.#place.setAttribute("aria-label", `${title}, now: ${words.join(", ")}`);
  }

  /** Colours are taken when a plot is made. */
  restart(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(120, Math.floor(this.#place.clientWidth)), height: HEIGHT };
  }

  #options(): uPlotType.Options {
    const { format, series } = this.#description;
    const style = getComputedStyle(document.documentElement);
    const color = (name: string): string => style.getPropertyValue(name).trim();
    const axis = {
      stroke: color("--muted"),
      font: "11px system-ui, sans-serif",
      grid: { stroke: color("--line"), width: 1 },
    };
    return {
      ...this.#size(),
      legend: { show: false },
      cursor: { points: { size: 6 }, drag: { x: false, y: false }, sync: { key: "plots" } },
      padding: [8, 8, 0, 0],
      // From zero, and never a hair's breadth of noise blown up to the whole height.
      scales: { y: { range: (_plot, low, high) => rangeOf(low, high) } },
      axes: [
        { ...axis, size: 26, space: 70, ticks: { show: false }, values: (_plot, splits) => splits.map(clock) },
        {
          ...axis,
          size: 58,
          space: 34,
          ticks: { show: false },
          // Two ticks that would read the same are one.
          values: (_plot, splits) => {
            const texts = splits.map((value) => (value === null ? "" : format(value)));
            return texts.map((text, at) => (text === texts[at - 1] ? "" : text));
          },
        },
      ],
      series: [
        {},
        ...series.map(({ color: name, label }) => ({
          label,
          stroke: color(name),
          width: 1.6,
          spanGaps: false,
          points: { show: false },
          ...(series.length === 1 ? { fill: `color-mix(in srgb, ${color(name)} 14%, transparent)` } : {}),
        })),
      ],
    };
  }
}

function rangeOf(low: number | null, high: number | null): [number, number] {
  const bottom = Math.min(0, low ?? 0);
  const top = Math.max(0, high ?? 0) || 1;
  const span = top - bottom;
  return [bottom < 0 ? bottom - span * 0.08 : 0, top + span * 0.12];
}

function clock(seconds: number): string {
  return time(seconds * 1_000, seconds * 1_000);
}
