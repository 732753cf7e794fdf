import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.js";
import { HOST, JarBroker } from "./jar-broker.js";
import { kafkaClassPath } from "./kafka-jars.js";
import {
  type LocalKafka,
  type LocalKafkaOptions,
  listenerProperties,
  SINGLE_BROKER_PROPERTIES,
} from "./single-broker.js";

const FLAGS = ["-Xmx1g", "-XX:+UseG1GC"];

/** Runs Apache Kafka from its jars, with Java 17 (up in about 4 s), and resolves when it serves. */
export async function startJarKafka(options: LocalKafkaOptions = {}): Promise<LocalKafka> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "millrace-kafka-")));
  const port = options.port ?? (await freePort());
  const broker = new JarBroker({ directory, port, classPath: await kafkaClassPath(), flags: FLAGS });
  try {
    const properties = {
      ...SINGLE_BROKER_PROPERTIES,
      ...listenerProperties(HOST, { plaintext: port, controller: await freePort() }, options.listeners),
      "log.dirs": join(directory, "data"),
      ...options.properties,
    };
    await broker.format(clusterId(), properties, options.scramUsers);
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

export function clusterId(): string {
  // One that begins with a dash is a flag to Kafka's tools: one start in 64 would fail.
  return randomBytes(16).toString("base64url").replace(/^-/, "_");
}
