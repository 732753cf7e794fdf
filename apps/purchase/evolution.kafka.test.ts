import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KafkaJsTransport, silentLogger } from "millrace";
import { inject, onTestFinished } from "vitest";
import { evolutionSuite } from "./evolution.suite.js";

// What the commits tell of the stores goes through the broker's own offsets here; the edits are all tried on the embedded log.
evolutionSuite("Kafka", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-evolution-"));
  onTestFinished(() => rm(stateDir, { recursive: true, force: true }));
  const client = { brokers: [...inject("kafkaBrokers")] };
  return { stateDir, transport: () => new KafkaJsTransport({ client, logger: silentLogger }) };
}, ["a field added", "the window changed"]);
