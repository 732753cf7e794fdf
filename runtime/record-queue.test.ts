import { describe, expect, test } from "vitest";
import { int64, type Serde, string } from "../serdes/serde.js";
import type { SourceNode } from "../topology/processor-topology.js";
import { controlBatch, RecordBatch } from "./record-batch.js";
import { RecordQueue } from "./record-queue.js";
import type { FetchedPartition } from "./transport.js";

const HOUR_MS = 3_600_000;

function source(change: Partial<SourceNode> = {}): SourceNode {
  return {
    name: "in-source",
    topics: [{ name: "in", internal: false }],
    key: string as Serde<unknown>,
    value: int64 as Serde<unknown>,
    timestamp: undefined,
    maxAheadMs: HOUR_MS,
    onError: undefined,
    startAt: undefined,
    children: [],
    ...change,
  };
}

function fetched(offset: number, records: Buffer): FetchedPartition {
  return {
    topic: "in",
    partition: 0,
    offset,
    records,
    aborted: [],
    highWatermark: 1_000,
    lastStableOffset: 1_000,
    logStartOffset: 0,
    fault: undefined,
  };
}

function batch(offset: number, values: readonly (number | Buffer)[], timestampMs = 5): Buffer {
  const records = new RecordBatch();
  for (const value of values)
    records.append(
      timestampMs,
      Buffer.from("k"),
      typeof value === "number" ? Buffer.from(int64.serialize(value)) : value,
      [],
    );
  return Buffer.from(records.seal(undefined, BigInt(offset)));
}

function values(queue: RecordQueue): unknown[] {
  const all: unknown[] = [];
  for (; queue.head !== "none"; queue.advance())
    all.push(queue.head === "failed" ? queue.failure?.message : queue.value);
  return all;
}

describe("RecordQueue", () => {
  test("records come in order over several answers, and the position ends behind the last one", () => {
    const queue = new RecordQueue("in", 0, source(), 10);
    queue.add(fetched(10, batch(10, [1, 2])));
    queue.add(fetched(12, batch(12, [3])));
    expect(queue.fetchPosition).toBe(13);
    expect(values(queue)).toEqual([1, 2, 3]);
    expect(queue.position).toBe(13);
    expect(queue.bufferedBytes).toBe(0);
  });

  test("the position is that of the next record until it is left behind", () => {
    const queue = new RecordQueue("in", 0, source(), 0);
    queue.add(fetched(0, batch(0, [1, 2])));
    expect(queue.position).toBe(0);
    queue.advance();
    expect(queue.position).toBe(1);
  });

  test("a small part of a large answer does not keep all of it in memory while it waits", () => {
    const records = batch(0, [1]);
    const answer = Buffer.alloc(100 * records.length);
    const part = (at: number): Buffer => {
      records.copy(answer, at);
      return answer.subarray(at, at + records.length);
    };
    const small = new RecordQueue("in", 0, source(), 0);
    small.add(fetched(0, part(0)));
    expect(small.valueBytes?.buffer).not.toBe(answer.buffer);
    const whole = answer.buffer.slice(0, records.length);
    const large = new RecordQueue("in", 0, source(), 0);
    large.add(fetched(0, Buffer.from(whole)));
    expect(large.valueBytes?.buffer).toBe(whole);
  });

  test("an answer to another position is of an older time, and ignored", () => {
    const queue = new RecordQueue("in", 0, source(), 10);
    queue.add(fetched(9, batch(9, [1])));
    expect(queue.head).toBe("none");
    expect(queue.fetchPosition).toBe(10);
  });

  test("a tail of markers moves the position though no record comes", () => {
    const queue = new RecordQueue("in", 0, source(), 7);
    queue.add(
      fetched(
        7,
        controlBatch("commit", { producerId: 1n, producerEpoch: 0, baseSequence: -1, transactional: true }, 0, 7n),
      ),
    );
    expect(queue.head).toBe("none");
    expect(queue.position).toBe(8);
  });

  test("a record that cannot be read is told apart, and the next one follows", () => {
    const queue = new RecordQueue("in", 0, source(), 0);
    queue.add(fetched(0, batch(0, [1, Buffer.from("abc"), 2])));
    expect(values(queue)).toEqual([1, "int64 has 8 bytes, not 3", 2]);
  });

  describe("a serde of text", () => {
    const readAs = (bytes: Buffer, value: Serde<unknown>): unknown[] => {
      const queue = new RecordQueue("in", 0, source({ value }), 0);
      queue.add(fetched(0, batch(0, [bytes])));
      return values(queue);
    };

    test("gets its text as its own deserialize would", () => {
      const text = 'é "\ufffd" 😀';
      expect(readAs(Buffer.from(text), string as Serde<unknown>)).toEqual([text]);
    });

    test("never gets bytes that are no UTF-8", () => {
      expect(readAs(Buffer.from([0x61, 0xff]), string as Serde<unknown>)).toEqual(["the bytes are not valid UTF-8"]);
    });

    test("with a deserialize of its own is asked by that", () => {
      const own = { ...string, deserialize: (bytes: Uint8Array) => bytes.byteLength } as Serde<unknown>;
      expect(readAs(Buffer.from("abc"), own)).toEqual([3]);
    });
  });

  test.each([
    ["negative", -1],
    ["no whole number", 1.5],
    ["no number", Number.NaN],
    ["further ahead of the record's own than maxAheadMs", 5 + HOUR_MS + 1],
  ])("an event time that is %s fails the record", (_, eventTimeMs) => {
    const queue = new RecordQueue("in", 0, source({ timestamp: () => eventTimeMs }), 0);
    queue.add(fetched(0, batch(0, [1])));
    expect(queue.head).toBe("failed");
    expect(queue.failure).toMatchObject({ code: "BAD_TIMESTAMP" });
  });

  test("an event time exactly maxAheadMs ahead is accepted", () => {
    const queue = new RecordQueue(
      "in",
      0,
      source({ timestamp: (_, { recordTimestampMs }) => recordTimestampMs + HOUR_MS }),
      0,
    );
    queue.add(fetched(0, batch(0, [1])));
    expect(queue.timestampMs).toBe(5 + HOUR_MS);
  });

  test("it is caught up when nothing lies beyond what it holds", () => {
    const queue = new RecordQueue("in", 0, source(), 999);
    expect(queue.isCaughtUp).toBe(false);
    queue.add(fetched(999, Buffer.alloc(0)));
    expect(queue.isCaughtUp).toBe(false);
    queue.add(fetched(999, batch(999, [1])));
    expect(queue.isCaughtUp).toBe(true);
  });
});
