import { type ChildProcess, spawn } from "node:child_process";
import { type TreeUse, treeUse } from "./process-tree.js";

const SAMPLE_MS = 100;
const OUTPUT_PARTS_MAX = 1_000;

/** A process that is measured from outside. */
export class WatchedProcess {
  /** Resolves with its exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly startedMs = performance.now();
  peakPssBytes = 0;
  readonly #child: ChildProcess;
  readonly #output: string[] = [];
  readonly #listeners = new Set<() => void>();
  #sampler: NodeJS.Timeout | undefined;
  /** Nothing that is measured outlives the one who measures. */
  readonly #killWithUs = (): void => {
    this.#child.kill("SIGKILL");
  };

  constructor(file: string, parameters: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(file, parameters, {
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    process.once("exit", this.#killWithUs);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    }
    this.ended = new Promise((resolve) => {
      this.#child.once("close", (code, signal) => {
        process.off("exit", this.#killWithUs);
        resolve(code ?? signal ?? "unknown");
      });
      this.#child.once("error", (error) => {
        this.#read(`${error.message}\n`);
        resolve(error.message);
      });
    });
  }

  /** Follows `peakPssBytes` from now on, every 100 ms; reads /proc, so on Linux only. */
  watchMemory(): this {
    this.#sampler ??= setInterval(() => {
      this.peakPssBytes = Math.max(this.peakPssBytes, this.use().pssBytes);
    }, SAMPLE_MS);
    return this;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** What it has printed, the last lines of it. */
  get output(): string {
    return this.#output.join("");
  }

  get hasEnded(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  use(): TreeUse {
    return treeUse(this.pid);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Signals it, unless it has ended by itself, and waits for its end. */
  async end(signal: NodeJS.Signals): Promise<number | string> {
    clearInterval(this.#sampler);
    if (!this.hasEnded) this.signal(signal);
    return this.ended;
  }

  /**
   * Milliseconds from its start until it had printed something that matches.
   *
   * @throws with what it has printed, when it ends before that or does not within `timeoutMs`
   */
  async printed(pattern: RegExp, timeoutMs: number): Promise<number> {
    let stop: (() => void) | undefined;
    const seen = new Promise<"seen">((resolve) => {
      const look = (): void => {
        if (pattern.test(this.output)) resolve("seen");
      };
      this.#listeners.add(look);
      const timer = setTimeout(() => resolve("seen"), timeoutMs);
      stop = () => {
        this.#listeners.delete(look);
        clearTimeout(timer);
      };
      look();
    });
    await Promise.race([seen, this.ended]);
    stop?.();
    const afterMs = performance.now() - this.startedMs;
    if (!pattern.test(this.output)) throw new Error(`${pattern} was not printed; it said:\n${this.output}`);
    return afterMs;
  }

  /** For those who look for something in what it prints. */
  protected sees(_text: string): void {
    // Nothing here.
  }

  #read(text: string): void {
    this.sees(text);
    this.#output.push(text);
    if (this.#output.length > OUTPUT_PARTS_MAX) this.#output.shift();
    for (const look of this.#listeners) look();
  }
}

/** Polls until `condition` holds. @throws when it does not within `timeoutMs` */
export async function until(
  condition: () => Promise<boolean>,
  what: string,
  timeoutMs: number,
  everyMs = 100,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`${what}: not within ${timeoutMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
