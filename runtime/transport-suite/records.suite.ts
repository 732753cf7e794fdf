import { expect, test } from "vitest";
import type { Headers } from "../../topology/record.js";
import { FencedError } from "../errors.js";
import { RecordCursor } from "../record-cursor.js";
import {
  baseOffset,
  batchOf,
  eventually,
  fetchOf,
  only,
  recordsTo,
  refusal,
  type SuiteLog,
  unique,
  values,
  within,
} from "./fixture.suite.js";

export function writingRules(log: SuiteLog): void {
  test("keys, values, timestamps and headers come back as they were written", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const nowMs = Date.now();
    const headers: Headers = [
      ["name", Buffer.from("å")],
      ["twice", Buffer.from([0, 255])],
      ["twice", null],
      ["", Buffer.alloc(0)],
    ];
    const written = [
      { key: Buffer.from("k"), value: Buffer.from([0, 1, 254, 255]), timestampMs: nowMs, headers },
      { key: null, value: null, timestampMs: nowMs - 86_400_000, headers: [] as Headers },
      { key: Buffer.alloc(0), value: Buffer.alloc(0), timestampMs: 0, headers: [] as Headers },
      { key: Buffer.from("k"), value: Buffer.alloc(70_000, 7), timestampMs: nowMs + 1, headers: [] as Headers },
    ];
    await log.producer().produce([recordsTo(at, ...written)]);

    const cursor = new RecordCursor(
      only(await log.fetcher(true).fetch({ ...fetchOf({ ...at, offset: 0 }), maxWaitMs: 5_000 })),
    );
    const read: typeof written = [];
    while (cursor.next()) {
      const { key, value, timestampMs } = cursor;
      read.push({ key, value, timestampMs, headers: cursor.headers } as (typeof written)[number]);
    }
    expect(read).toEqual(written);
    expect(cursor.nextOffset).toBe(4);
  });

  test("the batches of one partition keep their order, within a call and over calls", async () => {
    const topic = await log.topic(2);
    const [p0, p1] = [
      { topic, partition: 0 },
      { topic, partition: 1 },
    ];
    const producer = log.producer();

    const first = await producer.produce([batchOf(p0, "a", "b"), batchOf(p1, "x"), batchOf(p0, "c")]);
    const second = await producer.produce([batchOf(p0, "d"), batchOf(p1, "y")]);

    expect(first.map(baseOffset)).toEqual([0, 0, 2]);
    expect(second.map(baseOffset)).toEqual([3, 1]);
    expect(values(await log.read(p0))).toEqual(["a", "b", "c", "d"]);
    expect(values(await log.read(p1))).toEqual(["x", "y"]);
  });

  test("a batch larger than the topic takes is refused, and the others of the call are written", async () => {
    const topic = await log.topic(2, { "max.message.bytes": "2000" });
    const [p0, p1] = [
      { topic, partition: 0 },
      { topic, partition: 1 },
    ];
    const producer = log.producer();

    const results = await producer.produce([batchOf(p0, Buffer.alloc(3_000)), batchOf(p1, "small")]);
    expect(results.map(refusal)).toEqual(["message-too-large", "none"]);

    expect(baseOffset((await producer.produce([batchOf(p0, "next")]))[0])).toBe(0);
    expect(values(await log.read(p0))).toEqual(["next"]);
    expect(values(await log.read(p1))).toEqual(["small"]);
  });

  test("nothing more is written once its maker says that it may not be", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    let mayWrite = true;
    const producer = log.producer(log.transport, { mayWrite: () => mayWrite });
    await producer.produce([batchOf(at, "mine")]);
    mayWrite = false;
    await expect(producer.produce([batchOf(at, "not mine")])).rejects.toThrow(FencedError);
    expect(values(await log.read(at))).toEqual(["mine"]);
  });

  test("a batch for a topic that does not exist is refused", async () => {
    const results = await log.producer().produce([batchOf({ topic: unique("missing"), partition: 0 }, "x")]);
    expect(results.map(refusal)).toEqual(["unknown-topic"]);
  });

  test("a timestamp more than an hour ahead is refused, unless the topic allows it", async () => {
    const record = { value: Buffer.from("ahead"), timestampMs: Date.now() + 7_200_000 };
    const strict = { topic: await log.topic(), partition: 0 };
    const lenient = {
      topic: await log.topic(1, { "message.timestamp.after.max.ms": "9223372036854775807" }),
      partition: 0,
    };
    const results = await log.producer().produce([recordsTo(strict, record), recordsTo(lenient, record)]);
    expect(results.map(refusal)).toEqual(["invalid-timestamp", "none"]);
  });

  test("a compacted topic refuses a record without a key", async () => {
    const at = { topic: await log.topic(1, { "cleanup.policy": "compact" }), partition: 0 };
    const results = await log.producer().produce([recordsTo(at, { key: null, value: Buffer.from("x") })]);
    expect(results.map(refusal)).toEqual(["invalid-record"]);
  });
}

export function readingRules(log: SuiteLog): void {
  test("a fetch without data resolves with nothing when its wait is over", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const fetcher = log.fetcher(true);
    expect(await within("the fetch ends", fetcher.fetch(fetchOf({ ...at, offset: 0 })))).toEqual([]);
  });

  test("a waiting fetch ends when a record comes, long before its wait is over", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const fetched = log.fetcher(true).fetch({ ...fetchOf({ ...at, offset: 0 }), maxWaitMs: 120_000 });
    await log.producer(await log.another()).produce([batchOf(at, "awaited")]);
    const part = only(await within("the fetch ends", fetched));
    expect(part).toMatchObject({ ...at, offset: 0, highWatermark: 1, lastStableOffset: 1, fault: undefined });
  });

  test("a position inside a batch brings the records from there on", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    await log.producer().produce([batchOf(at, "a", "b", "c")]);
    expect(await log.read(at, true, 1)).toEqual([
      { offset: 1, key: "key", value: "b" },
      { offset: 2, key: "key", value: "c" },
    ]);
  });

  test("the first batch comes whole, however small the limits, and every partition has its turn", async () => {
    const topic = await log.topic(2);
    const [p0, p1] = [
      { topic, partition: 0 },
      { topic, partition: 1 },
    ];
    const large = Buffer.alloc(5_000, 1);
    const producer = log.producer();
    for (let i = 0; i < 3; i++) await producer.produce([batchOf(p0, large), batchOf(p1, large)]);

    const fetcher = log.fetcher(true);
    const positions = new Map([
      [0, 0],
      [1, 0],
    ]);
    let largest = 0;
    await eventually("both partitions are read", async () => {
      const asked = [...positions].map(([partition, offset]) => ({ topic, partition, offset }));
      const parts = await fetcher.fetch({ positions: asked, maxWaitMs: 1_000, bytesMax: 100, partitionBytesMax: 100 });
      let records = 0;
      for (const part of parts) {
        const cursor = new RecordCursor(part);
        while (cursor.next()) records++;
        positions.set(part.partition, cursor.nextOffset);
      }
      largest = Math.max(largest, records);
      return [...positions.values()].every((position) => position === 3);
    });
    expect(largest).toBe(1);
  });

  test("one fetch of a partition brings no more batches than its byte limit allows", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const producer = log.producer();
    for (let i = 0; i < 10; i++) await producer.produce([batchOf(at, Buffer.alloc(1_000))]);
    const request = { ...fetchOf({ ...at, offset: 0 }), partitionBytesMax: 4_000 };
    const cursor = new RecordCursor(only(await log.fetcher(true).fetch(request)));
    let records = 0;
    while (cursor.next()) records++;
    expect(records).toBe(3); // a batch of one such record is between 1,061 and 1,100 bytes
  });

  test("a position outside of the log is a fault, at its end it is none", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    await log.producer().produce([batchOf(at, "a"), batchOf(at, "b"), batchOf(at, "c")]);
    await log.transport.topics.deleteRecords([{ ...at, offset: 2 }]);
    const fetcher = log.fetcher(true);

    for (const offset of [1, 4]) {
      const part = only(await fetcher.fetch(fetchOf({ ...at, offset })));
      expect(part).toMatchObject({ offset, fault: "out-of-range" });
      expect(part.records.length).toBe(0);
    }
    expect(await fetcher.fetch(fetchOf({ ...at, offset: 3 }))).toEqual([]);
  });

  test("a topic that does not exist is unavailable, and the others of the fetch are read", async () => {
    const there = { topic: await log.topic(), partition: 0, offset: 0 };
    const missing = { topic: unique("missing"), partition: 0, offset: 0 };
    await log.producer().produce([batchOf(there, "a")]);
    const fetcher = log.fetcher(true);
    const seen = new Map<string, string | undefined>();
    await eventually("both are answered", async () => {
      for (const part of await fetcher.fetch(fetchOf(missing, there))) seen.set(part.topic, part.fault);
      return seen.size === 2;
    });
    expect(seen).toEqual(
      new Map([
        [there.topic, undefined],
        [missing.topic, "unavailable"],
      ]),
    );
  });
}
