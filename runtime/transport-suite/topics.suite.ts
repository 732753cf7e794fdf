import { expect, test } from "vitest";
import { batchOf, eventually, type SuiteLog, unique, values } from "./fixture.suite.js";

const NIL_ID = "00000000-0000-0000-0000-000000000000";

export function topicRules(log: SuiteLog): void {
  test("a created topic is described with its partitions, a missing one is omitted", async () => {
    const topic = await log.topic(3);
    const described = await log.transport.topics.describe([topic, unique("missing")]);
    expect(described.map(({ topic, partitions }) => ({ topic, partitions }))).toEqual([{ topic, partitions: 3 }]);
  });

  test("creating a topic that exists leaves it as it is", async () => {
    const topic = await log.topic(2);
    const before = await log.transport.topics.describe([topic]);
    const at = { topic, partition: 1 };
    await log.producer().produce([batchOf(at, "kept")]);

    await log.transport.topics.create([{ topic, partitions: 7, replicationFactor: -1, configs: {} }]);

    expect(await log.transport.topics.describe([topic])).toEqual(before);
    expect(values(await log.read(at))).toEqual(["kept"]);
  });

  test("a topic that is deleted and made again has another id and no records", async () => {
    const topic = await log.topic();
    const at = { topic, partition: 0 };
    const [before] = await log.transport.topics.describe([topic]);
    await log.producer().produce([batchOf(at, "gone")]);

    await log.transport.topics.delete([topic]);
    await eventually("the topic is gone", async () => (await log.transport.topics.describe([topic])).length === 0);
    await log.transport.topics.create([{ topic, partitions: 1, replicationFactor: -1, configs: {} }]);

    const [after] = await log.transport.topics.describe([topic]);
    expect(after?.topicId).not.toBe(NIL_ID);
    expect(after?.topicId).not.toBe(before?.topicId);
    expect(await log.latest(at)).toBe(0);
  });

  test("the configs of a topic are those it was made with and the log's defaults", async () => {
    const topic = await log.topic(1, { "retention.ms": "-1", "cleanup.policy": "compact,delete" });
    const configs = (await log.transport.topics.configs([topic])).get(topic);
    expect(configs).toMatchObject({ "retention.ms": "-1", "cleanup.policy": "compact,delete" });
    expect(configs?.["min.insync.replicas"]).toBe("1");
    expect(Number(configs?.["max.message.bytes"])).toBeGreaterThan(0);
  });

  test("earliest and latest of an empty partition are 0", async () => {
    const topic = await log.topic(2);
    const partitions = [0, 1].map((partition) => ({ topic, partition }));
    const zero = partitions.map((at) => ({ ...at, offset: 0 }));
    expect(await log.transport.topics.offsets(partitions, "earliest")).toEqual(zero);
    expect(await log.transport.topics.offsets(partitions, "latest")).toEqual(zero);
  });

  test("the latest offset counts what open transactions have written", async () => {
    const topic = await log.topic();
    const at = { topic, partition: 0 };
    const producer = await log.initialized();
    producer.begin();
    await producer.produce([batchOf(at, "open", "open too")]);
    expect(await log.latest(at)).toBe(2);
    await producer.abort();
  });

  test("deleted records move the earliest offset, and deleting them again is no error", async () => {
    const topic = await log.topic();
    const at = { topic, partition: 0 };
    const producer = log.producer();
    for (const value of ["a", "b", "c"]) await producer.produce([batchOf(at, `${value}1`, `${value}2`)]);

    await log.transport.topics.deleteRecords([{ ...at, offset: 3 }]);
    await log.transport.topics.deleteRecords([{ ...at, offset: 1 }]);

    expect((await log.transport.topics.offsets([at], "earliest"))[0]?.offset).toBe(3);
    expect(await log.latest(at)).toBe(6);
    expect(values(await log.read(at, true, 3))).toEqual(["b2", "c1", "c2"]);
  });

  test("the records of a topic that is only compacted are not deleted", async () => {
    const topic = await log.topic(1, { "cleanup.policy": "compact" });
    const at = { topic, partition: 0 };
    await log.producer().produce([batchOf(at, "kept")]);
    await expect(log.transport.topics.deleteRecords([{ ...at, offset: 1 }])).rejects.toThrow();
    expect(values(await log.read(at))).toEqual(["kept"]);
  });
}
