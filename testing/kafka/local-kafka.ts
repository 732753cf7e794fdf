import { hasDockerEngine, startDockerKafka } from "./docker-kafka.js";
import { startJarKafka } from "./jar-kafka.js";
import { missingForJars } from "./kafka-jars.js";
import type { LocalKafka, LocalKafkaOptions } from "./single-broker.js";

export type { LocalKafka, LocalKafkaOptions } from "./single-broker.js";

/**
 * What a Kafka for tests can be run from here: its jars where there is a Java, else Docker.
 *
 * @throws Error that says what to install
 */
export async function findLocalKafka(): Promise<"jars" | "docker"> {
  const missing = await missingForJars();
  if (missing === undefined) return "jars";
  if (await hasDockerEngine()) return "docker";
  throw new Error(
    `these tests need a real Apache Kafka, and there is none: install ${missing}, or start a Docker engine, or set ` +
      "KAFKA_BROKERS=host:port to a running broker. `npm test` runs the tests that need no broker.",
  );
}

/** Starts a real Apache Kafka for tests: from its jars where there is a Java, else in Docker. */
export async function startLocalKafka(options: LocalKafkaOptions = {}): Promise<LocalKafka> {
  return (await findLocalKafka()) === "jars" ? startJarKafka(options) : startDockerKafka(options);
}
