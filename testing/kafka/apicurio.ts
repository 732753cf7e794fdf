import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "./free-port.js";
import { mavenFile } from "./maven.js";

const run = promisify(execFile);

const START_TIMEOUT_MS = 60_000;
const POLL_MS = 100;

export interface LocalRegistry {
  /** Of its Confluent API. */
  readonly url: string;
  stop(): Promise<void>;
}

/** A real schema registry in memory: Apicurio from Maven Central (142 MB, cached), with Java 17. Up in about 4 s. */
export async function startApicurio(): Promise<LocalRegistry> {
  const archive = await mavenFile({
    group: "io.apicurio",
    artifact: "apicurio-registry-app",
    version: "2.6.13.Final",
    type: "tar.gz",
    classifier: "all",
  });
  const directory = await mkdtemp(join(tmpdir(), "millrace-registry-"));
  await run("tar", ["xzf", archive, "-C", directory]);
  const port = await freePort();
  const log = await open(join(directory, "registry.log"), "a");
  const settings = ["-Xmx384m", "-Dquarkus.http.host=127.0.0.1", `-Dquarkus.http.port=${port}`];
  const classPath = ["apicurio-registry-app-2.6.13.Final-runner.jar", "lib/*"].join(":");
  const registry = spawn("java", [...settings, "-cp", classPath, "io.quarkus.runner.GeneratedMain"], {
    cwd: directory,
    stdio: ["ignore", log.fd, log.fd],
  });
  await log.close();
  const stop = async (): Promise<void> => {
    await end(registry);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await ready(`http://127.0.0.1:${port}/health/ready`, registry);
  } catch (error) {
    const lines = (await readFile(join(directory, "registry.log"), "utf8")).split("\n").slice(-15).join("\n");
    await stop();
    throw new Error(`the schema registry did not start; the end of its log:\n${lines}`, { cause: error });
  }
  return { url: `http://127.0.0.1:${port}/apis/ccompat/v7`, stop };
}

async function ready(url: string, registry: ChildProcess): Promise<void> {
  const endMs = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < endMs && registry.exitCode === null) {
    const isReady = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(registry.exitCode === null ? "it does not answer" : `it ended with ${registry.exitCode}`);
}

async function end(registry: ChildProcess): Promise<void> {
  if (registry.exitCode !== null || registry.pid === undefined) return;
  const ended = new Promise((resolve) => registry.once("exit", resolve));
  registry.kill("SIGKILL");
  await ended;
}
