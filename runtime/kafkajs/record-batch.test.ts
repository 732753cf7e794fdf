import { createRequire } from "node:module";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RecordBatch } from "../record-batch.js";
import { RecordCursor } from "../record-cursor.js";

// KafkaJS's own codec, as a second opinion on the bytes: it is not typed, and used nowhere else.
const require = createRequire(import.meta.url);
const { RecordBatch: encodeBatch } = require("kafkajs/src/protocol/recordBatch/v0") as {
  RecordBatch(batch: Record<string, unknown>): Promise<{ buffer: Buffer }>;
};
const encodeRecord = require("kafkajs/src/protocol/recordBatch/record/v0") as (record: unknown) => unknown;
const decodeBatch = require("kafkajs/src/protocol/recordBatch/v0/decoder") as (decoder: unknown) => Promise<{
  readonly producerId: string;
  readonly producerEpoch: number;
  readonly firstSequence: number;
  readonly inTransaction: boolean;
  readonly records: readonly {
    readonly offset: string;
    readonly timestamp: string;
    readonly key: Buffer | null;
    readonly value: Buffer | null;
    readonly headers: Readonly<Record<string, Buffer>>;
  }[];
}>;
const Decoder = require("kafkajs/src/protocol/decoder") as new (bytes: Buffer) => unknown;
const Long = require("kafkajs/src/utils/long") as { fromValue(value: number | string): unknown };

const bytes = fc.uint8Array({ maxLength: 200 }).map((one) => Buffer.from(one));
const records = fc.array(
  fc.record({
    timestampMs: fc.integer({ min: 0, max: 2 ** 45 }),
    key: fc.option(bytes),
    value: fc.option(bytes),
    // KafkaJS keeps headers in an object and writes no null value: one header of each name, with bytes.
    headers: fc.uniqueArray(fc.tuple(fc.stringMatching(/^[a-z]{1,8}$/), bytes), {
      maxLength: 3,
      selector: ([name]) => name,
    }),
  }),
  { minLength: 1, maxLength: 30 },
);
const offsets = fc.nat(2 ** 40);

test("KafkaJS reads what is written here", async () => {
  await fc.assert(
    fc.asyncProperty(records, offsets, async (written, baseOffset) => {
      const batch = new RecordBatch();
      for (const { timestampMs, key, value, headers } of written) batch.append(timestampMs, key, value, headers);
      const stamp = { producerId: 12345678901n, producerEpoch: 3, baseSequence: 77, transactional: true };
      const decoded = await decodeBatch(new Decoder(batch.seal(stamp, BigInt(baseOffset))));

      expect(decoded).toMatchObject({
        producerId: "12345678901",
        producerEpoch: 3,
        firstSequence: 77,
        inTransaction: true,
      });
      const read = decoded.records.map(({ offset, timestamp, key, value, headers }) => ({
        offset,
        timestamp,
        key,
        value,
        headers,
      }));
      const expected = written.map(({ timestampMs, key, value, headers }, i) => ({
        offset: `${baseOffset + i}`,
        timestamp: `${timestampMs}`,
        key,
        value,
        headers: Object.fromEntries(headers),
      }));
      expect(read).toEqual(expected);
    }),
  );
});

test("what KafkaJS writes is read here, and is the same bytes as what is written here", async () => {
  await fc.assert(
    fc.asyncProperty(records, offsets, async (written, baseOffset) => {
      const first = written[0]?.timestampMs ?? 0;
      const { buffer } = await encodeBatch({
        firstOffset: Long.fromValue(baseOffset),
        firstTimestamp: first,
        maxTimestamp: Math.max(...written.map((one) => one.timestampMs)),
        partitionLeaderEpoch: -1,
        lastOffsetDelta: written.length - 1,
        transactional: true,
        producerId: Long.fromValue("99"),
        producerEpoch: 1,
        firstSequence: 5,
        records: written.map(({ timestampMs, key, value, headers }, offsetDelta) =>
          encodeRecord({
            offsetDelta,
            timestampDelta: timestampMs - first,
            key,
            value,
            headers: Object.fromEntries(headers),
          }),
        ),
      });
      const cursor = new RecordCursor({ records: buffer, aborted: [], offset: baseOffset });
      const batch = new RecordBatch();
      for (const { timestampMs, key, value, headers } of written) {
        expect(cursor.next()).toBe(true);
        expect([cursor.timestampMs, cursor.key, cursor.value, cursor.headers]).toEqual([
          timestampMs,
          key,
          value,
          headers,
        ]);
        batch.append(timestampMs, key, value, headers);
      }
      expect(cursor.next()).toBe(false);
      const stamp = { producerId: 99n, producerEpoch: 1, baseSequence: 5, transactional: true };
      expect(batch.seal(stamp, BigInt(baseOffset)).equals(buffer)).toBe(true);
    }),
  );
});
