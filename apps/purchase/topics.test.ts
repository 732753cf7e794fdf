import { EmbeddedTransport } from "millrace";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ensureInputTopic, ensureOutputTopics } from "./topics.js";

const names = {
  inputTopic: "in",
  outputTopic: "out",
  lateTopic: "late",
  expiredTopic: "expired",
  deadLetterTopic: "dead",
};
const OUTPUTS = ["out", "late", "expired", "dead"];

let transport: EmbeddedTransport;
beforeEach(async () => {
  transport = new EmbeddedTransport({ file: ":memory:" });
  await transport.connect();
});
afterEach(() => transport.close());

const make = (topic: string, configs: Record<string, string> = {}) =>
  transport.topics.create([{ topic, partitions: 1, replicationFactor: -1, configs }]);

describe("the input topic", () => {
  test("is made with the partitions asked for, and takes any event time", async () => {
    await ensureInputTopic(transport.topics, { topic: "in", partitions: 9, replicationFactor: -1 });
    await ensureInputTopic(transport.topics, { topic: "in", partitions: 9, replicationFactor: -1 });
    expect(await transport.topics.describe(["in"])).toMatchObject([{ topic: "in", partitions: 9 }]);
    const configs = await transport.topics.configs(["in"]);
    expect(configs.get("in")).toMatchObject({ "message.timestamp.after.max.ms": "9223372036854775807" });
  });

  test("is refused with another partition count", async () => {
    await make("in");
    await expect(
      ensureInputTopic(transport.topics, { topic: "in", partitions: 9, replicationFactor: -1 }),
    ).rejects.toThrow('--partitions: topic "in" has 1 partitions, not 9');
  });
});

describe("the output topics", () => {
  test("are made as wide as the input and keep everything; a dead letter has room for its headers", async () => {
    await make("in", { "max.message.bytes": "2000000" });
    expect(await ensureOutputTopics(transport.topics, names, { partitions: 3, replicationFactor: -1 })).toEqual([]);
    const made = await transport.topics.describe(OUTPUTS);
    expect(made.map(({ partitions }) => partitions)).toEqual([3, 3, 3, 3]);
    const configs = await transport.topics.configs(OUTPUTS);
    for (const topic of OUTPUTS) expect(configs.get(topic)).toMatchObject({ "retention.ms": "-1" });
    expect(configs.get("dead")).toMatchObject({ "max.message.bytes": "2065536" });
    expect(configs.get("out")).toMatchObject({ "max.message.bytes": "1048588" });
  });

  test("that exist stay as they are, and a warning names what would be lost", async () => {
    await make("in");
    await make("out", { "retention.ms": "604800000" });
    await make("late", { "retention.ms": "-1" });
    await make("expired", { "retention.ms": "-1", "retention.bytes": "1000000" });
    await make("dead", { "retention.ms": "-1" });
    const warnings = await ensureOutputTopics(transport.topics, names, { partitions: 1, replicationFactor: -1 });
    expect(warnings).toEqual([
      expect.stringContaining('topic "out" has retention.ms=604800000'),
      expect.stringContaining('topic "expired" has retention.bytes=1000000'),
      expect.stringContaining('topic "dead" has max.message.bytes=1048588: a dead letter may need 1114124'),
    ]);
    expect((await transport.topics.configs(["out"])).get("out")).toMatchObject({ "retention.ms": "604800000" });
  });

  test("that are compacted only are not deleted by age, and need no warning", async () => {
    await make("in");
    await make("out", { "cleanup.policy": "compact" });
    expect(await ensureOutputTopics(transport.topics, names, { partitions: 1, replicationFactor: -1 })).toEqual([]);
  });
});
