import { MultiBar, type SingleBar } from "cli-progress";
import type { StreamsStatus } from "millrace";

const LOOK_MS = 200;

/**
 * A bar while state is restored, on a terminal. Log lines go through `print`, so that they do not tear the bar.
 *
 * In a pipe there is none: the log says what is restored.
 */
export class RestoreBar {
  readonly #stream: NodeJS.WriteStream;
  readonly #isTerminal: boolean;
  #bars: MultiBar | undefined;
  #bar: SingleBar | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(stream: NodeJS.WriteStream, { isTerminal }: { readonly isTerminal: boolean }) {
    this.#stream = stream;
    this.#isTerminal = isTerminal;
  }

  /** Looks at the status again and again until `stop`. */
  watch(status: () => StreamsStatus): void {
    if (!this.#isTerminal) return;
    this.#timer = setInterval(() => this.#show(status()), LOOK_MS);
    this.#timer.unref();
  }

  print(line: string): void {
    if (this.#bars === undefined) this.#stream.write(`${line}\n`);
    else {
      this.#bars.log(`${line}\n`);
      // Lines wait in the bars for their next drawing, and are lost with them.
      this.#bars.update();
    }
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#bars?.stop();
    this.#bars = undefined;
    this.#bar = undefined;
  }

  #show({ tasks }: StreamsStatus): void {
    const restoring = tasks.filter(({ state }) => state === "restoring");
    const sum = (values: readonly (number | undefined)[]): number =>
      values.reduce<number>((total, value) => total + (value ?? 0), 0);
    const total = sum(restoring.map((task) => task.total));
    const done = sum(restoring.map((task) => task.done));
    if (total === 0) {
      this.#finish();
      return;
    }
    this.#bars ??= new MultiBar({
      format: "restoring {bar} {percentage}%  {value} of {total} changelog records, {tasks} tasks",
      hideCursor: true,
      stream: this.#stream,
      clearOnComplete: true,
    });
    this.#bar ??= this.#bars.create(total, 0, { tasks: restoring.length });
    this.#bar.setTotal(total);
    this.#bar.update(done, { tasks: restoring.length });
  }

  #finish(): void {
    this.#bars?.stop();
    this.#bars = undefined;
    this.#bar = undefined;
  }
}
