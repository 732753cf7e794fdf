import { formatDuration } from "./text.js";

/** The brokers do not answer, and what is shown is of the time before. */
export interface Outage {
  readonly brokers: string;
  /** What the last try said; undefined while it has not ended. */
  readonly why: string | undefined;
  /** By the wall clock; undefined where there has never been an answer. */
  readonly lastAnswerMs: number | undefined;
}

/** Over a frame of numbers, whose age stands first: it is what a narrow terminal must not cut off. */
export function outageText(outage: Outage, nowMs: number): string {
  const { lastAnswerMs } = outage;
  if (lastAnswerMs === undefined) return silence(outage, " yet");
  return `what stands here is ${formatDuration(nowMs - lastAnswerMs)} old: ${silence(outage, "")}`;
}

function outageLine(outage: Outage, nowMs: number): string {
  const { lastAnswerMs } = outage;
  return silence(outage, lastAnswerMs === undefined ? " yet" : ` for ${formatDuration(nowMs - lastAnswerMs)}`);
}

function silence({ brokers, why }: Outage, since: string): string {
  return `no answer from ${brokers}${since}, trying on${why === undefined ? "" : ` (${why})`}`;
}

/** Silence that is longer than this is worth saying: a reader hears from a broker four times a second. */
const SILENCE_MS = 3_000;
const LOOK_MS = 500;

/** Tells a display when the brokers have fallen silent, and when they answer again. */
export class BrokerWatch {
  readonly #brokers: string;
  readonly #show: (outage: Outage | undefined) => void;
  readonly #startedMs = Date.now();
  readonly #timer: NodeJS.Timeout;
  #lastAnswerMs: number | undefined;
  #why: string | undefined;
  #isOut = false;

  constructor(brokers: string, show: (outage: Outage | undefined) => void) {
    this.#brokers = brokers;
    this.#show = show;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  heard(): void {
    this.#lastAnswerMs = Date.now();
    this.#why = undefined;
    if (!this.#isOut) return;
    this.#isOut = false;
    this.#show(undefined);
  }

  /** @param message of an error; its innermost cause, the last part, is what fits on a line */
  trouble(message: string): void {
    this.#why = message.split(": ").at(-1);
    this.#tell();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    if (Date.now() - (this.#lastAnswerMs ?? this.#startedMs) > SILENCE_MS) this.#tell();
  }

  #tell(): void {
    this.#isOut = true;
    this.#show({ brokers: this.#brokers, why: this.#why, lastAnswerMs: this.#lastAnswerMs });
  }
}

/** For displays that write lines: one when it begins, one when its reason is known, one when it is over. */
export class OutageLines {
  readonly #print: (line: string) => void;
  #said: Outage | undefined;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  show(outage: Outage | undefined): void {
    const before = this.#said;
    this.#said = outage;
    if (outage === undefined) {
      if (before !== undefined) this.#print(`${before.brokers} answers again`);
    } else if (before === undefined || (before.why === undefined && outage.why !== undefined)) {
      this.#print(outageLine(outage, Date.now()));
    }
  }
}
