import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { string } from "../serdes/index.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { KafkaStreams } from "./streams.js";

let stateDir: string;
let log: EmbeddedLog;
let client: EmbeddedTransport;
let probe: LogProbe;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "millrace-inputs-"));
  log = new EmbeddedLog({ file: ":memory:" });
  client = new EmbeddedTransport({ log });
  await client.connect();
  probe = new LogProbe(client);
  for (const topic of ["one", "two", "out"]) await probe.createTopic(topic, 1);
});

afterEach(async () => {
  await client.close();
  log.close();
  await rm(stateDir, { recursive: true, force: true });
});

async function merged(work: () => Promise<void>, outputs: number): Promise<string[]> {
  const builder = new StreamsBuilder();
  builder.stream(["one", "two"], { key: string, value: string }).to("out");
  const transport = new EmbeddedTransport({ log });
  const streams = new KafkaStreams(builder.build(), { applicationId: "app", transport, stateDir, commitIntervalMs: 5 });
  await streams.start();
  await work();
  const values = async (): Promise<string[]> => (await probe.read("out")).map(({ value }) => String(value));
  await eventually(`${outputs} outputs`, async () => (await values()).length >= outputs, 10_000);
  await streams.close();
  return values();
}

const at = (value: string, timestampMs: number) => ({ key: "k", value, timestampMs });

test("an input that is empty holds nobody up", async () => {
  expect(await merged(() => probe.write("one", [at("a", 1), at("b", 2)]), 2)).toEqual(["a", "b"]);
});

test("what lies in several inputs is processed in the order of event time", async () => {
  await probe.write("one", [at("a", 10), at("c", 30), at("e", 50)]);
  await probe.write("two", [at("b", 20), at("d", 40)]);
  expect(await merged(async () => undefined, 5)).toEqual(["a", "b", "c", "d", "e"]);
});

test("an input that ran dry holds nobody up either", async () => {
  await probe.write("two", [at("first", 1)]);
  const values = await merged(async () => {
    await eventually("the first output", async () => (await probe.read("out")).length === 1, 10_000);
    await probe.write("one", [at("second", 2)]);
  }, 2);
  expect(values).toEqual(["first", "second"]);
});
