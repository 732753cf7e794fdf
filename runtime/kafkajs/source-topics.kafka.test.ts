import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { int64, string } from "../../serdes/index.js";
import { eventually, LogProbe, unique } from "../../testing/log-probe.suite.js";
import { StreamsBuilder } from "../../topology/dsl.js";
import { silentLogger } from "../logger.js";
import { KafkaStreams } from "../streams.js";
import { KafkaJsTransport } from "./transport.js";

const brokers = [...inject("kafkaBrokers")];
const transport = (): KafkaJsTransport => new KafkaJsTransport({ client: { brokers }, logger: silentLogger });

let probe: LogProbe;
let stateDir: string;
let input: string;
let output: string;
let streams: KafkaStreams | undefined;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "millrace-sources-"));
  probe = new LogProbe(transport());
  await probe.transport.connect();
  [input, output] = [unique("in"), unique("out")];
  await probe.createTopic(input, 2);
  await probe.createTopic(output, 2);
});

afterEach(async () => {
  await streams?.close();
  await probe.transport.topics.delete([input, output]);
  await probe.close();
  await rm(stateDir, { recursive: true, force: true });
});

async function widen(topic: string, count: number): Promise<void> {
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.createPartitions({ topicPartitions: [{ topic, count }] });
  await admin.disconnect();
}

async function start(builder: StreamsBuilder): Promise<KafkaStreams> {
  streams = new KafkaStreams(builder.build(), { applicationId: unique("app"), transport: transport(), stateDir });
  await streams.start();
  await eventually("it runs", () => streams?.state === "RUNNING");
  return streams;
}

test("partitions added to the input of a store while it runs: it stops within a minute, and names both counts", async () => {
  const builder = new StreamsBuilder();
  builder
    .stream(input, { key: string, value: string })
    .groupByKey()
    .count("counts")
    .toStream()
    .to(output, { value: int64 });
  const running = await start(builder);
  await probe.write(input, [{ key: "ann", value: "x" }]);
  await eventually("the count is there", async () => (await probe.read(output)).length === 1);
  await widen(input, 3);
  await eventually("it stops", () => running.state === "ERROR");
  expect(running.failure?.message).toContain("had 2 partitions and has 3");
});

test("partitions added to an input that no state depends on are read as well", async () => {
  const builder = new StreamsBuilder();
  builder.stream(input, { key: string, value: string }).to(output);
  await start(builder);
  await widen(input, 3);
  await probe.write(input, [{ key: "ann", value: "new", partition: 2 }]);
  await eventually(
    "what stands in the new partition is passed on",
    async () => (await probe.read(output)).length === 1,
  );
});
