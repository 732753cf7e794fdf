import { expect, test } from "vitest";
import { batchOf, deliver } from "./delivery.js";
import { recordsOf } from "./record-cursor.js";
import type { PartitionBatch, ProduceResult } from "./transport.js";

const record = (text: string) => ({ timestampMs: 1, key: null, value: Buffer.from(text), headers: [] });

/** A topic that refuses batches holding a marked record, as a broker refuses a batch for one record in it. */
function topicThatRefuses(marked: string): {
  readonly log: string[];
  produce(batches: readonly PartitionBatch[]): Promise<ProduceResult[]>;
} {
  const log: string[] = [];
  return {
    log,
    produce: async (batches) =>
      batches.map(({ batch }) => {
        const values = recordsOf(batch).map(({ value }) => Buffer.from(value ?? []).toString());
        if (values.includes(marked)) return { refusal: "message-too-large", message: "no" };
        return { baseOffset: log.push(...values) - values.length };
      }),
  };
}

test("the one record that is refused is found, and all others arrive", async () => {
  const topic = topicThatRefuses("r5");
  const batch = { topic: "t", partition: 0, batch: batchOf(Array.from({ length: 9 }, (_, at) => record(`r${at}`))) };
  const { delivered, refused } = await deliver((batches) => topic.produce(batches), [batch]);
  expect(topic.log).toEqual(["r0", "r1", "r2", "r3", "r4", "r6", "r7", "r8"]);
  expect(refused.map(({ record: { value }, refusal }) => [Buffer.from(value ?? []).toString(), refusal])).toEqual([
    ["r5", "message-too-large"],
  ]);
  expect(delivered.reduce((sum, { count }) => sum + count, 0)).toBe(8);
});

test("what is not refused is sent once, as it is", async () => {
  const topic = topicThatRefuses("none");
  const batches = ["a", "b"].map((text) => ({ topic: "t", partition: 0, batch: batchOf([record(text)]) }));
  const { delivered } = await deliver((round) => topic.produce(round), batches);
  expect(topic.log).toEqual(["a", "b"]);
  expect(delivered.map(({ baseOffset }) => baseOffset)).toEqual([0, 1]);
});

test("no record of a partition overtakes another when a batch is halved", async () => {
  const topic = topicThatRefuses("r1");
  const texts = [
    ["r0", "r1", "r2", "r3"],
    ["r4", "r5"],
  ];
  const batches = texts.map((part) => ({ topic: "t", partition: 0, batch: batchOf(part.map(record)) }));
  await deliver((round) => topic.produce(round), batches);
  expect(topic.log).toEqual(["r0", "r2", "r3", "r4", "r5"]);
});

test.each(["unknown-topic", "not-authorized"] as const)(
  "a batch that is refused as %s is not halved: it would be of every record",
  async (refusal) => {
    const asked: number[] = [];
    const batch = { topic: "t", partition: 0, batch: batchOf(Array.from({ length: 9 }, (_, at) => record(`r${at}`))) };
    const { refused } = await deliver(
      async (batches) => {
        asked.push(...batches.map(({ batch: { count } }) => count));
        return batches.map(() => ({ refusal, message: "no" }));
      },
      [batch],
    );
    expect(asked).toEqual([9]);
    expect(refused.map(({ record: { value } }) => Buffer.from(value ?? []).toString())).toEqual(
      Array.from({ length: 9 }, (_, at) => `r${at}`),
    );
  },
);
