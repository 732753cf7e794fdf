import { createLogUpdate } from "log-update";
import pc from "picocolors";
import type { ChaosEvent, ChaosRun } from "./chaos-run.js";

const LOOK_MS = 250;
const BAR_WIDTH = 30;
const EVENTS_SHOWN = 6;

const COLOURS = { up: pc.green, down: pc.red, frozen: pc.blue, cut: pc.yellow, closing: pc.magenta } as const;

/** On a terminal a board that is drawn again and again; in a pipe a line for each event. */
export class Board {
  readonly #stream: NodeJS.WriteStream;
  readonly #durationMs: number;
  readonly #beganMs = performance.now();
  readonly #events: string[] = [];
  readonly #draw: ReturnType<typeof createLogUpdate> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(stream: NodeJS.WriteStream, durationMs: number) {
    this.#stream = stream;
    this.#durationMs = durationMs;
    this.#draw = stream.isTTY ? createLogUpdate(stream) : undefined;
  }

  watch(run: ChaosRun): void {
    if (this.#draw === undefined) return;
    this.#timer = setInterval(() => this.#draw?.(this.#text(run)), LOOK_MS);
  }

  event(event: ChaosEvent): void {
    const text =
      event.kind === "difference" ? `DIFFERENCE ${event.text}` : `${event.kind} ${event.number}: ${event.text}`;
    const line = `${clock(performance.now() - this.#beganMs)}  ${text}`;
    if (this.#draw === undefined) this.#stream.write(`${line}\n`);
    else this.#events.push(line);
  }

  /** The board stays as it was last. */
  stop(): void {
    clearInterval(this.#timer);
    this.#draw?.done();
  }

  #text(run: ChaosRun): string {
    const { faults, differences, written, broker, instances } = run.status;
    const elapsedMs = performance.now() - this.#beganMs;
    const share = Math.min(1, elapsedMs / this.#durationMs);
    const bar = "█".repeat(Math.round(share * BAR_WIDTH)).padEnd(BAR_WIDTH, "░");
    const processes = instances.map(({ number, state }) => COLOURS[state](`${number} ${state}`)).join("  ");
    const width = this.#stream.columns ?? 80;
    return [
      `${bar} ${clock(elapsedMs)} of ${clock(this.#durationMs)}   faults ${faults}   ${differences === 0 ? pc.green("differences 0") : pc.red(`differences ${differences}`)}`,
      `broker ${broker ? pc.green("up") : pc.red("down")}   instances ${processes}   ${written.toLocaleString("en-US")} records`,
      ...this.#events.slice(-EVENTS_SHOWN).map((line) => pc.dim(line.slice(0, width - 1))),
    ].join("\n");
  }
}

function clock(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  return `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}`;
}
