import { MultiBar, type SingleBar } from "cli-progress";

/** What is going on: a bar on a terminal, a plain line for each step in a pipe. */
export class Progress {
  readonly #stream = process.stderr;
  readonly #isTerminal = process.stderr.isTTY === true && process.env.TERM !== "dumb";
  #bars: MultiBar | undefined;
  #bar: SingleBar | undefined;
  #startedMs = 0;
  #step = "";

  /** @param total of what `at` will count; undefined where nobody knows how long it takes */
  begin(step: string, total?: number): void {
    this.#step = step;
    this.#startedMs = performance.now();
    if (!this.#isTerminal) return;
    this.#bars = new MultiBar({
      format:
        total === undefined ? "{step}  {duration_formatted}" : "{step}  {bar} {percentage}%  {duration_formatted}",
      hideCursor: true,
      stream: this.#stream,
      clearOnComplete: true,
    });
    this.#bar = this.#bars.create(total ?? 1, 0, { step });
  }

  at(done: number): void {
    this.#bar?.update(done, { step: this.#step });
  }

  /** Ends the step with what came out of it. */
  end(result: string): void {
    this.stop();
    const seconds = ((performance.now() - this.#startedMs) / 1_000).toFixed(1);
    this.#stream.write(`${this.#step}: ${result} (${seconds} s)\n`);
  }

  stop(): void {
    this.#bars?.stop();
    this.#bars = undefined;
    this.#bar = undefined;
  }
}
