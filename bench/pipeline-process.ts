import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type TreeUse, treeUse } from "./process-tree.js";

const CLI = fileURLToPath(new URL("../dist/apps/purchase/cli.js", import.meta.url));
const SAMPLE_MS = 100;

/** The purchase pipeline as a user runs it: its own process, watched from outside. */
export class PipelineProcess {
  /** Resolves with its exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly #child: ChildProcess;
  #sampler: NodeJS.Timeout | undefined;
  readonly #output: string[] = [];
  #port: number | undefined;
  peakPssBytes = 0;

  constructor(environment: Readonly<Record<string, string>>, command: readonly string[] = [CLI, "run"]) {
    this.#child = spawn(process.execPath, command, {
      env: { ...process.env, HTTP_PORT: "0", LOG_FORMAT: "json", ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    }
    this.ended = new Promise((resolve) =>
      this.#child.once("close", (code, signal) => resolve(code ?? signal ?? "unknown")),
    );
  }

  /** Follows `peakPssBytes` from now on; reads /proc, so on Linux only. */
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
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  use(): TreeUse {
    return treeUse(this.pid);
  }

  /** One metric's values by their labels; empty until the endpoints are there. */
  async metric(name: string): Promise<ReadonlyMap<string, number>> {
    const text = (await this.get("/metrics"))?.text ?? "";
    const lines = text.matchAll(new RegExp(`^${name}(\\{[^}]*\\})? (\\S+)$`, "gm"));
    return new Map([...lines].map(([, labels = "", value]) => [labels, Number(value)]));
  }

  /** One endpoint's answer; undefined until the endpoints are there, and when they are gone. */
  async get(path: string): Promise<{ readonly status: number; readonly text: string } | undefined> {
    if (this.#port === undefined || this.hasEnded) return undefined;
    const answer = await fetch(`http://127.0.0.1:${this.#port}${path}`).catch((error: unknown) => {
      if (this.hasEnded || error instanceof TypeError) return undefined;
      throw error;
    });
    return answer === undefined ? undefined : { status: answer.status, text: await answer.text() };
  }

  /** True once every task has its state. */
  async isReady(): Promise<boolean> {
    return (await this.get("/readyz"))?.status === 200;
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

  #read(text: string): void {
    this.#output.push(text);
    if (this.#output.length > 1_000) this.#output.shift();
    const port = /http:\/\/[^:]+:(\d+)/.exec(text)?.[1];
    if (port !== undefined) this.#port = Number(port);
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
