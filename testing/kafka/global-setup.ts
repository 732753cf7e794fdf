import type { TestProject } from "vitest/node";
import { startLocalKafka } from "./local-kafka.js";

declare module "vitest" {
  interface ProvidedContext {
    kafkaBrokers: readonly string[];
  }
}

/** One real Kafka for all tests of a run: the one that `KAFKA_BROKERS` names, else one of our own. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env.KAFKA_BROKERS;
  if (given !== undefined && given !== "") {
    const brokers = given.split(",").map((broker) => broker.trim());
    project.provide("kafkaBrokers", brokers);
    return undefined;
  }
  const kafka = await startLocalKafka();
  project.provide("kafkaBrokers", kafka.brokers);
  return () => kafka.stop();
}
