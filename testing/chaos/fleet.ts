import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Random } from "../../apps/purchase/random.js";
import type { Namespaces } from "./namespaces.js";

const CLI = fileURLToPath(new URL("../../dist/apps/purchase/cli.js", import.meta.url));
/** SIGTERM promises an end within 10 s; the rest is for a machine that is busy with dying brokers. */
const CLOSE_MAX_MS = 12_000;
const PAGE_BYTES = 4096;

export type InstanceState = "down" | "up" | "frozen" | "cut" | "closing";

export interface FleetOptions {
  readonly instances: number;
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly namespaces: Namespaces | undefined;
  /** Something that no instance may do, whatever was done to it. */
  readonly onFinding: (finding: string) => void;
}

/** The instances of one application: real processes, each with a state directory, and a network namespace if there are any. */
export class Fleet {
  readonly instances: readonly Instance[];

  constructor(options: FleetOptions) {
    this.instances = Array.from({ length: options.instances }, (_, at) => new Instance(at + 1, options));
  }

  /** Those in this state that nothing is being done to. */
  free(state: InstanceState): readonly Instance[] {
    return this.instances.filter((instance) => instance.state === state && !instance.isBusy);
  }

  get slowestCloseMs(): number {
    return Math.max(...this.instances.map((instance) => instance.slowestCloseMs));
  }

  async kill(): Promise<void> {
    await Promise.all(this.instances.map((instance) => instance.kill()));
  }

  async close(): Promise<void> {
    await Promise.all(this.instances.filter(({ state }) => state === "up").map((instance) => instance.close()));
  }
}

export class Instance {
  readonly #options: FleetOptions;
  #child: ChildProcess | undefined;
  #ended: Promise<number | NodeJS.Signals | null> = Promise.resolve(null);
  state: InstanceState = "down";
  /** A fault is at work on it. */
  isBusy = false;
  starts = 0;
  /** The longest time from a SIGTERM to its end. */
  slowestCloseMs = 0;

  constructor(
    readonly number: number,
    options: FleetOptions,
  ) {
    this.#options = options;
    mkdirSync(options.directory, { recursive: true });
  }

  get logFile(): string {
    return join(this.#options.directory, `instance-${this.number}.log`);
  }

  get stateDir(): string {
    return join(this.#options.directory, `state-${this.number}`);
  }

  start(): void {
    const { environment, namespaces } = this.#options;
    const command = [...(namespaces?.command(this.number) ?? []), process.execPath, CLI, "run"];
    const log = openSync(this.logFile, "a");
    writeSync(log, `---- start ${++this.starts} ----\n`);
    const child = spawn(command[0] as string, command.slice(1), {
      env: { ...process.env, ...environment, STATE_DIR: this.stateDir, HTTP_PORT: "0", LOG_FORMAT: "json" },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#child = child;
    this.state = "up";
    this.#ended = new Promise((resolve) => child.once("close", (code, signal) => resolve(code ?? signal)));
    void this.#ended.then((end) => {
      // Whoever ended it has said so before.
      if (this.#child !== child) return;
      this.#child = undefined;
      this.state = "down";
      this.#options.onFinding(
        `instance ${this.number} ended by itself with ${end}: ${this.#lastLine()} (${this.logFile})`,
      );
    });
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    child.kill("SIGKILL");
    await this.#ended;
    await this.#options.namespaces?.mend(this.number);
    this.state = "down";
  }

  /** By SIGTERM; must end with 0, in time. */
  async close(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    this.state = "closing";
    const beganMs = performance.now();
    child.kill("SIGTERM");
    const patience = setTimeout(() => child.kill("SIGKILL"), 3 * CLOSE_MAX_MS);
    const end = await this.#ended;
    clearTimeout(patience);
    this.state = "down";
    const tookMs = performance.now() - beganMs;
    this.slowestCloseMs = Math.max(this.slowestCloseMs, tookMs);
    // A process that Node is still starting has no handlers yet: the signal ends it, and it has begun nothing.
    if (end === "SIGTERM" && this.#lastLine().startsWith("----")) return;
    if (end !== 0 || tookMs > CLOSE_MAX_MS) {
      const how = `${end} after ${(tookMs / 1_000).toFixed(1)} s`;
      this.#options.onFinding(`instance ${this.number}, told to close, ended with ${how}: ${this.#lastLine()}`);
    }
  }

  freeze(): void {
    this.#child?.kill("SIGSTOP");
    this.state = "frozen";
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
    if (this.state === "frozen") this.state = "up";
  }

  async cut(): Promise<void> {
    await this.#options.namespaces?.cut(this.number);
    this.state = "cut";
  }

  async mend(): Promise<void> {
    await this.#options.namespaces?.mend(this.number);
    if (this.state === "cut") this.state = "up";
  }

  wipe(): Promise<void> {
    return rm(this.stateDir, { recursive: true, force: true });
  }

  /** Writes noise over whole pages of its SQLite files, as a failing disk does; SQLite finds those in use. */
  corrupt(random: Random): void {
    for (const file of this.#databases()) {
      const pages = Math.floor(statSync(file).size / PAGE_BYTES);
      if (pages < 2 || random.happens(0.3)) continue;
      const open = openSync(file, "r+");
      const noise = Buffer.alloc(PAGE_BYTES);
      for (let times = random.between(1, 6); times > 0; times--) {
        for (let at = 0; at < noise.length; at++) noise[at] = random.between(0, 256);
        writeSync(open, noise, 0, PAGE_BYTES, random.between(0, pages) * PAGE_BYTES);
      }
      closeSync(open);
    }
  }

  #databases(): string[] {
    try {
      const names = readdirSync(this.stateDir, { recursive: true }) as string[];
      // The lock file holds nothing, and a damaged one is refused on purpose.
      return names.filter((name) => /-\d+\.db$/.test(name)).map((name) => join(this.stateDir, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }

  /** What it has said last, each line cut to what is read. */
  lastLines(count: number): string[] {
    if (!existsSync(this.logFile)) return [];
    const lines = readFileSync(this.logFile, "utf8").trimEnd().split("\n");
    return lines.slice(-count).map((line) => line.slice(0, 500));
  }

  #lastLine(): string {
    return this.lastLines(1)[0] ?? "";
  }
}
