import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { becomesServing } from "./broker-health.js";
import { freePort } from "./free-port.js";
import { kafkaClassPath } from "./kafka-jars.js";
import {
  type LocalKafka,
  type LocalKafkaOptions,
  listenerProperties,
  SCRAM_MECHANISMS,
  SINGLE_BROKER_PROPERTIES,
} from "./single-broker.js";

const run = promisify(execFile);

const HOST = "127.0.0.1";
const START_TIMEOUT_MS = 60_000;
const STOP_PATIENCE_MS = 10_000;

/** Runs Apache Kafka from its jars, with Java 17 (up in about 4 s), and resolves when it serves. */
export async function startJarKafka(options: LocalKafkaOptions = {}): Promise<LocalKafka> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "millrace-kafka-")));
  const port = options.port ?? (await freePort());
  const broker = new JarBroker(directory, port, await kafkaClassPath());
  try {
    const properties = {
      ...SINGLE_BROKER_PROPERTIES,
      ...listenerProperties(HOST, { plaintext: port, controller: await freePort() }, options.listeners),
      "log.dirs": join(directory, "data"),
      ...options.properties,
    };
    await broker.format(properties, options.scramUsers);
    await broker.start();
  } catch (error) {
    await broker.end("SIGKILL");
    throw error;
  }
  return {
    brokers: [`${HOST}:${port}`],
    stop: async () => {
      await broker.end(options.directory === undefined ? "SIGKILL" : "SIGTERM");
      if (options.directory === undefined) await rm(directory, { recursive: true, force: true });
    },
    kill: () => broker.end("SIGKILL"),
    restart: async () => {
      await broker.end("SIGTERM");
      await broker.start();
    },
  };
}

class JarBroker {
  readonly #directory: string;
  readonly #port: number;
  readonly #classPath: string;
  #process: ChildProcess | undefined;
  #watch: ChildProcess | undefined;

  constructor(directory: string, port: number, classPath: string) {
    this.#directory = directory;
    this.#port = port;
    this.#classPath = classPath;
  }

  async format(
    properties: Readonly<Record<string, string>>,
    scramUsers: NonNullable<LocalKafkaOptions["scramUsers"]> = {},
  ): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    const lines = Object.entries(properties).map(([key, value]) => `${key}=${value}\n`);
    await writeFile(this.#config, lines.join(""));
    if (existsSync(join(this.#directory, "data"))) return;
    const clusterId = randomBytes(16).toString("base64url");
    const users = Object.entries(scramUsers).flatMap(([name, { password }]) =>
      SCRAM_MECHANISMS.flatMap((mechanism) => ["--add-scram", `${mechanism}=[name=${name},password=${password}]`]),
    );
    await run("java", [
      "-cp",
      this.#classPath,
      "kafka.tools.StorageTool",
      "format",
      "-t",
      clusterId,
      "-c",
      this.#config,
      ...users,
    ]);
  }

  async start(): Promise<void> {
    const log = await open(this.#log, "a");
    // A group of its own: Ctrl-C goes to the one who started it, who ends it in order.
    const broker = spawn("java", ["-Xmx1g", "-XX:+UseG1GC", "-cp", this.#classPath, "kafka.Kafka", this.#config], {
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
    const address = { host: HOST, port: this.#port };
    if (await becomesServing(address, START_TIMEOUT_MS, () => failure !== undefined || hasEnded(broker))) return;
    const lastLines = (await readFile(this.#log, "utf8")).split("\n").slice(-15).join("\n");
    throw new Error(`Kafka did not start on port ${this.#port}; the end of ${this.#log}:\n${lastLines}`, {
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
    return join(this.#directory, "server.properties");
  }

  get #log(): string {
    return join(this.#directory, "broker.log");
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
