import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { becomesServing } from "./broker-health.js";
import { freePort } from "./free-port.js";
import { KAFKA_VERSION } from "./kafka-jars.js";
import {
  type LocalKafka,
  type LocalKafkaOptions,
  listenerProperties,
  SCRAM_MECHANISMS,
  SINGLE_BROKER_PROPERTIES,
} from "./single-broker.js";

const run = promisify(execFile);
const START_TIMEOUT_MS = 120_000;

export function hasDockerEngine(): Promise<boolean> {
  return run("docker", ["info"], { timeout: 20_000 }).then(
    () => true,
    () => false,
  );
}

/** Runs the same single broker in a container; its data goes with it. */
export async function startDockerKafka(options: LocalKafkaOptions = {}): Promise<LocalKafka> {
  const port = options.port ?? (await freePort());
  const properties = {
    ...SINGLE_BROKER_PROPERTIES,
    ...listenerProperties("", { plaintext: port, controller: await freePort() }, options.listeners),
    ...options.properties,
  };
  const environment = Object.entries(properties).flatMap(([key, value]) => ["-e", `${variableOf(key)}=${value}`]);
  const { stdout } = await run("docker", [
    ...["run", "-d", "-e", "KAFKA_HEAP_OPTS=-Xmx1g"],
    ...[port, ...Object.values(options.listeners ?? {})].flatMap((one) => ["-p", `127.0.0.1:${one}:${one}`]),
    ...environment,
    `apache/kafka:${KAFKA_VERSION}`,
  ]);
  const container = stdout.trim();
  const remove = async (): Promise<void> => {
    await run("docker", ["rm", "-f", container]);
  };
  const serves = async (): Promise<void> => {
    if (await becomesServing({ host: "127.0.0.1", port }, START_TIMEOUT_MS, () => false)) return;
    const { stdout: log } = await run("docker", ["logs", "--tail", "15", container]);
    await remove();
    throw new Error(`Kafka did not start in Docker:\n${log}`);
  };
  await serves();
  for (const [name, { password }] of Object.entries(options.scramUsers ?? {})) {
    const configs = SCRAM_MECHANISMS.map((mechanism) => `${mechanism}=[password=${password}]`);
    await run("docker", [
      ...["exec", container, "/opt/kafka/bin/kafka-configs.sh", "--bootstrap-server", `127.0.0.1:${port}`],
      ...["--alter", "--entity-type", "users", "--entity-name", name, "--add-config", configs.join(",")],
    ]);
  }
  return {
    brokers: [`127.0.0.1:${port}`],
    stop: remove,
    kill: async () => {
      await run("docker", ["kill", container]);
    },
    restart: async () => {
      await run("docker", ["restart", container]);
      await serves();
    },
  };
}

/** The image's form of a server property: log.dirs is KAFKA_LOG_DIRS. */
function variableOf(property: string): string {
  return `KAFKA_${property.toUpperCase().replaceAll("_", "___").replaceAll("-", "__").replaceAll(".", "_")}`;
}
