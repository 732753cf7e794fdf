import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { kafkaClassPath } from "./kafka-jars.js";

const run = promisify(execFile);

/** Runs one Java source file of `testing/java` on a class path, by default that of Apache Kafka; returns what it printed. */
export async function runJava(source: string, args: readonly string[], classPath?: string): Promise<string> {
  const file = fileURLToPath(new URL(`../java/${source}`, import.meta.url));
  const jars = classPath ?? (await kafkaClassPath());
  const { stdout } = await run("java", ["-Xmx256m", "-cp", jars, file, ...args], {
    timeout: 100_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}
