import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { becomesServing } from "./broker-health.js";
import { type LocalKafkaOptions, SCRAM_MECHANISMS } from "./single-broker.js";

const run = promisify(execFile);

export const HOST = "127.0.0.1";
const START_TIMEOUT_MS = 60_000;
const STOP_PATIENCE_MS = 10_000;

export interface JarBrokerOptions {
  /** Of its data, configuration and log. */
  readonly directory: string;
  readonly port: number;
  readonly classPath: string;
  /** Flags of Java. */
  readonly flags: readonly string[];
}

/** One Java process of Apache Kafka, which can be killed and started again on its data. */
export class JarBroker {
  readonly #options: JarBrokerOptions;
  #process: ChildProcess | undefined;
  #watch: ChildProcess | undefined;

  constructor(options: JarBrokerOptions) {
    this.#options = options;
  }

  /** Writes its configuration, and makes its data directory where there is none yet. */
  async format(
    clusterId: string,
    properties: Readonly<Record<string, string>>,
    scramUsers: NonNullable<LocalKafkaOptions["scramUsers"]> = {},
  ): Promise<void> {
    const { directory, classPath } = this.#options;
    await mkdir(directory, { recursive: true });
    const lines = Object.entries(properties).map(([key, value]) => `${key}=${value}\n`);
    await writeFile(this.#config, lines.join(""));
    if (existsSync(join(directory, "data"))) return;
    const users = Object.entries(scramUsers).flatMap(([name, { password }]) =>
      SCRAM_MECHANISMS.flatMap((mechanism) => ["--add-scram", `${mechanism}=[name=${name},password=${password}]`]),
    );
    const format = ["kafka.tools.StorageTool", "format", "-t", clusterId, "-c", this.#config];
    await run("java", ["-cp", classPath, ...format, ...users]);
  }

  async start(): Promise<void> {
    const { port, classPath, flags } = this.#options;
    const log = await open(this.#log, "a");
    // A group of its own: Ctrl-C goes to the one who started it, who ends it in order.
    const broker = spawn("java", [...flags, "-cp", classPath, "kafka.Kafka", this.#config], {
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    });
    await log.close();
    this.#process = broker;
    let failure: Error | undefined;
    broker.once("error", (error) => {
      failure = error;
    });
    if (broker.pid !== undefined) this.#watch = killWithUs(broker.pid);
    const address = { host: HOST, port };
    if (await becomesServing(address, START_TIMEOUT_MS, () => failure !== undefined || hasEnded(broker))) return;
    const lastLines = (await readFile(this.#log, "utf8")).split("\n").slice(-15).join("\n");
    throw new Error(`Kafka did not start on port ${port}; the end of ${this.#log}:\n${lastLines}`, {
      cause: failure,
    });
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const broker = this.#process;
    this.#process = undefined;
    if (broker?.pid !== undefined && !hasEnded(broker)) {
      const ended = new Promise((resolve) => broker.once("exit", resolve));
      broker.kill(signal);
      const impatience = setTimeout(() => broker.kill("SIGKILL"), STOP_PATIENCE_MS);
      await ended;
      clearTimeout(impatience);
    }
    this.#watch?.kill("SIGKILL");
    this.#watch = undefined;
  }

  get #config(): string {
    return join(this.#options.directory, "server.properties");
  }

  get #log(): string {
    return join(this.#options.directory, "broker.log");
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** A test runner that crashes runs no clean-up: a shell waits for our end of a pipe to close, and kills the broker then. */
function killWithUs(pid: number): ChildProcess {
  const watch = spawn("sh", ["-c", 'read -r _; kill -9 "$0"', String(pid)], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  watch.unref();
  return watch;
}
