import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, cpus, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { KAFKA_VERSION } from "../testing/kafka/kafka-jars.js";
import { treeUse } from "./process-tree.js";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../", import.meta.url));
const TICKS_PER_SECOND = 100;
/** A run is noisy when others used more than this share of its time, and more than a second. */
const NOISY_SHARE = 0.06;
const NOISY_SECONDS = 1;
const CALIBRATION_STEPS = 2_000_000;

/** The CPU time of the whole machine, time stolen by its host included. */
function busySeconds(): number {
  const [, ...fields] = readFileSync("/proc/stat", "utf8").split("\n", 1)[0]!.split(/\s+/).map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, steal = 0] = fields;
  return (user + nice + system + irq + softIrq + steal) / TICKS_PER_SECOND;
}

export interface Noise {
  /** CPU seconds that neither what is measured, nor the broker, nor the harness used. */
  readonly otherCpuSeconds: number;
  readonly isNoisy: boolean;
}

/** Watches who else uses the CPU while something is measured. A broker that the harness did not start counts as others. */
export class NoiseMeter {
  readonly #busy = busySeconds();
  readonly #ours = treeUse(process.pid).cpuSeconds;
  readonly #startedMs = performance.now();

  read(): Noise {
    const ours = treeUse(process.pid).cpuSeconds - this.#ours;
    const otherCpuSeconds = Math.max(0, busySeconds() - this.#busy - ours);
    const seconds = (performance.now() - this.#startedMs) / 1_000;
    return { otherCpuSeconds, isNoisy: otherCpuSeconds > Math.max(NOISY_SECONDS, NOISY_SHARE * seconds) };
  }
}

/** Milliseconds for a fixed piece of work, the least of three: shows when a virtual machine itself was slower. */
export function calibrationMs(): number {
  let least = Number.POSITIVE_INFINITY;
  for (let time = 0; time < 3; time++) {
    const startedMs = performance.now();
    let hash = 1;
    for (let step = 0; step < CALIBRATION_STEPS; step++) hash = Math.imul(hash ^ step, 0x01000193);
    if (hash !== 0) least = Math.min(least, performance.now() - startedMs);
  }
  return Math.round(least * 100) / 100;
}

/** What a figure depends on, besides the code. */
export interface Environment {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly system: string;
  readonly versions: Readonly<Record<string, string>>;
  /** The commit, with `+` behind it when files were changed since. */
  readonly commit: string;
}

export async function environment(): Promise<Environment> {
  const packages = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")) as { dependencies: Record<string, string> };
  const { kafkajs = "", "better-sqlite3": sqlite = "" } = packages.dependencies;
  const [cpu] = cpus();
  const java = await said("java", ["-version"]);
  return {
    cpu: cpu?.model.trim() || "unknown",
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    system: `Linux ${release().split("-")[0]}, ${arch()}`,
    versions: {
      "Node.js": process.versions.node,
      kafkajs,
      "better-sqlite3": sqlite,
      "Kafka Streams": KAFKA_VERSION,
      "Apache Kafka": KAFKA_VERSION,
      Java: /version "([^"]+)"/.exec(java)?.[1] ?? "unknown",
    },
    commit: await commit(),
  };
}

async function commit(): Promise<string> {
  const name = (await said("git", ["-C", ROOT, "rev-parse", "--short", "HEAD"])).trim();
  // Not the page: a part that was measured before has written it, and what is measured is the same.
  const measured = [".", ":(exclude)docs/benchmarks.md"];
  const changes = await said("git", ["-C", ROOT, "status", "--porcelain", "--untracked-files=no", "--", ...measured]);
  return name === "" ? "unknown" : `${name}${changes.trim() === "" ? "" : "+"}`;
}

/** What a command prints; nothing where there is no such command. */
async function said(file: string, parameters: readonly string[]): Promise<string> {
  try {
    const { stdout, stderr } = await run(file, parameters);
    return stdout + stderr;
  } catch {
    return "";
  }
}
