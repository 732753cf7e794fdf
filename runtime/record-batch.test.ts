import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Headers } from "../topology/record.js";
import { crc32c } from "./crc32c.js";
import {
  ATTRIBUTE,
  BATCH,
  BATCH_BYTES_MAX,
  BATCH_RECORDS_MAX,
  controlBatch,
  type NewRecord,
  RecordBatch,
} from "./record-batch.js";
import { RecordCursor, recordsOf } from "./record-cursor.js";

const bytes = fc.uint8Array({ maxLength: 300 }).map((one) => Buffer.from(one));
const header = fc.tuple(fc.string({ unit: "grapheme", maxLength: 10 }), fc.option(bytes));
const record: fc.Arbitrary<NewRecord> = fc.record({
  timestampMs: fc.integer({ min: 0, max: 2 ** 48 }),
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc.array(header, { maxLength: 3 }),
});

function filled(records: readonly NewRecord[]): RecordBatch {
  const batch = new RecordBatch();
  for (const { timestampMs, key, value, headers } of records) batch.append(timestampMs, key, value, headers);
  return batch;
}

describe("the bytes of a batch", () => {
  // Written out by hand from the format's description, field by field.
  test("are Kafka's, to the byte", () => {
    const batch = new RecordBatch();
    batch.append(1_000, Buffer.from("k"), Buffer.from("vw"), [["h", Buffer.from([9])]]);
    batch.append(998, null, null, [["n", null]]);
    const sealed = batch.seal({ producerId: 7n, producerEpoch: 2, baseSequence: 40, transactional: true }, 300n);

    const first = "1a" + "00" + "00" + "00" + "02" + "6b" + "04" + "7677" + "02" + "02" + "68" + "02" + "09";
    const second = "12" + "00" + "03" + "02" + "01" + "01" + "02" + "02" + "6e" + "01";
    const checked =
      "0010" + // attributes: transactional
      "00000001" + // last offset delta
      "00000000000003e8" + // base timestamp 1,000
      "00000000000003e8" + // max timestamp
      "0000000000000007" + // producer id
      "0002" + // producer epoch
      "00000028" + // base sequence
      "00000002" + // count
      first +
      second;
    const checksum = crc32c(Buffer.from(checked, "hex"), 0, checked.length / 2);
    const head =
      "000000000000012c" + // base offset 300
      (checked.length / 2 + 9).toString(16).padStart(8, "0") + // what follows: leader epoch, magic, crc, and the rest
      "ffffffff" + // leader epoch
      "02" + // magic
      checksum.toString(16).padStart(8, "0");
    expect(sealed.toString("hex")).toBe(head + checked);
  });

  test("carry no producer when none is given", () => {
    const sealed = filled([{ timestampMs: 5, key: null, value: null, headers: [] }]).seal();
    expect(sealed.readBigInt64BE(BATCH.producerId)).toBe(-1n);
    expect(sealed.readInt16BE(BATCH.producerEpoch)).toBe(-1);
    expect(sealed.readInt32BE(BATCH.baseSequence)).toBe(-1);
    expect(sealed.readInt16BE(BATCH.attributes)).toBe(0);
  });

  test("can be stamped again: nothing of the first stamp is left", () => {
    const batch = filled([{ timestampMs: 5, key: null, value: null, headers: [] }]);
    const plain = Buffer.from(batch.seal());
    batch.seal({ producerId: 1n, producerEpoch: 1, baseSequence: 1, transactional: true }, 99n);
    expect(batch.seal()).toEqual(plain);
  });

  test("hold the largest timestamp, wherever it stands", () => {
    const batch = filled([5, 90, 7].map((timestampMs) => ({ timestampMs, key: null, value: null, headers: [] })));
    expect(batch.seal().readBigInt64BE(BATCH.maxTimestamp)).toBe(90n);
  });
});

describe("records", () => {
  test("come back as they were appended", () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 50 }), fc.nat(2 ** 40), (records, baseOffset) => {
        const sealed = filled(records).seal(undefined, BigInt(baseOffset));
        const cursor = new RecordCursor({ records: sealed, aborted: [], offset: baseOffset });
        const read: NewRecord[] = [];
        while (cursor.next()) {
          expect(cursor.offset).toBe(baseOffset + read.length);
          const { timestampMs, key, value, headers } = cursor;
          read.push({ timestampMs, key, value, headers });
        }
        expect(read).toEqual(records);
        expect(cursor.nextOffset).toBe(baseOffset + records.length);
      }),
    );
  });

  test("appended where they lie in other bytes are the same as by views of them", () => {
    const part = fc.uint8Array({ maxLength: 300 });
    const row = fc.record({ before: part, key: part, value: fc.option(part), timestampMs: fc.integer({ min: 0 }) });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 20 }), fc.nat(10_000), (rows, bytesExpected) => {
        const spans = new RecordBatch(bytesExpected);
        const views = new RecordBatch();
        for (const { before, key, value, timestampMs } of rows) {
          const source = Buffer.concat([before, key, value ?? Buffer.from("no value")]);
          const keyEnd = before.length + key.length;
          spans.appendSpan(timestampMs, source, before.length, keyEnd, value === null ? -1 : keyEnd + value.length);
          views.append(timestampMs, key, value, []);
        }
        expect(spans.seal()).toEqual(views.seal());
      }),
    );
  });

  test("are copied by append: what the caller does to its buffers later does not show", () => {
    const value = Buffer.from("before");
    const batch = filled([{ timestampMs: 1, key: value, value, headers: [["h", value]] }]);
    value.write("after!");
    expect(recordsOf(batch).map((one) => one.value?.toString())).toEqual(["before"]);
  });

  test("of a batch can be taken out as copies, to be split", () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 20 }), (records) => {
        const batch = filled(records);
        const taken = recordsOf(batch);
        batch.append(1, Buffer.alloc(10_000), null, []);
        batch.seal();
        expect(taken).toEqual(records);
      }),
    );
  });

  test("more than 32 bits of milliseconds apart keep their timestamps", () => {
    const times = [1_700_000_000_000, 0, 253_402_300_799_999, 1];
    const batch = filled(times.map((timestampMs) => ({ timestampMs, key: null, value: null, headers: [] })));
    expect(recordsOf(batch).map((one) => one.timestampMs)).toEqual(times);
  });
});

describe("going back to a mark", () => {
  test("leaves the batch as if what came behind had never been appended", () => {
    const some = fc.array(record, { maxLength: 8 });
    fc.assert(
      fc.property(some, some, fc.array(record, { minLength: 1, maxLength: 8 }), (before, undone, after) => {
        const batch = filled(before);
        batch.mark();
        for (const { timestampMs, key, value, headers } of undone) batch.append(timestampMs, key, value, headers);
        batch.backToMark();
        expect(batch.count).toBe(before.length);
        for (const { timestampMs, key, value, headers } of after) batch.append(timestampMs, key, value, headers);
        expect(batch.seal()).toEqual(filled([...before, ...after]).seal());
        expect(batch.sizeBytes).toBe(batch.seal().length);
      }),
    );
  });

  test("an append that throws leaves nothing", () => {
    const batch = filled([{ timestampMs: 5, key: null, value: null, headers: [] }]);
    const before = Buffer.from(batch.seal());
    const notAHeader = [[undefined, null]] as unknown as Headers;
    expect(() => batch.append(99, null, null, notAHeader)).toThrow(TypeError);
    expect(batch.seal()).toEqual(before);
  });
});

describe("a text", () => {
  test("has the bytes of its UTF-8, whatever it holds and however full the batch is", () => {
    const text = fc.string({ unit: "binary", maxLength: 3_000 });
    const ascii = fc.string({ unit: "binary-ascii", maxLength: 3_000 });
    fc.assert(
      fc.property(fc.array(fc.oneof(text, ascii), { minLength: 1, maxLength: 8 }), (values) => {
        const [asText, asBytes] = [new RecordBatch(), new RecordBatch()];
        for (const [at, value] of values.entries()) {
          asText.append(at, Buffer.from("k"), value, [["h", null]]);
          asBytes.append(at, Buffer.from("k"), Buffer.from(value, "utf8"), [["h", null]]);
        }
        expect(asText.seal()).toEqual(asBytes.seal());
      }),
    );
  });

  test("finds room only where all its characters would, as long as they can be", () => {
    const batch = new RecordBatch();
    const text = "€".repeat(3_333);
    while (batch.hasRoomFor(null, text)) batch.append(0, null, text, []);
    expect(batch.seal().length).toBeLessThanOrEqual(BATCH_BYTES_MAX);
    expect(batch.seal().length).toBeGreaterThan(BATCH_BYTES_MAX - 3 * 9_999);
  });
});

describe("room", () => {
  test("an empty batch takes any record, a full one none", () => {
    const batch = new RecordBatch();
    expect(batch.hasRoomFor(null, Buffer.alloc(BATCH_BYTES_MAX * 2))).toBe(true);
    for (let i = 0; i < BATCH_RECORDS_MAX; i++) {
      expect(batch.hasRoomFor(null, null)).toBe(true);
      batch.append(i, null, null, []);
    }
    expect(batch.hasRoomFor(null, null)).toBe(false);
  });

  test("a batch filled while it has room stays within its bytes", () => {
    const batch = new RecordBatch();
    const value = Buffer.alloc(9_999);
    while (batch.hasRoomFor(value, value)) batch.append(0, value, value, []);
    expect(batch.seal().length).toBeLessThanOrEqual(BATCH_BYTES_MAX);
    expect(batch.seal().length).toBeGreaterThan(BATCH_BYTES_MAX - 3 * value.length);
  });
});

test("a marker is a control batch of its producer, with type and version in its key", () => {
  const stamp = { producerId: 7n, producerEpoch: 3, baseSequence: -1, transactional: true };
  for (const [type, key] of [
    ["commit", "00000001"],
    ["abort", "00000000"],
  ] as const) {
    const marker = controlBatch(type, stamp, 1_000, 55n);
    expect(marker.readInt16BE(BATCH.attributes)).toBe(ATTRIBUTE.transactional | ATTRIBUTE.control);
    expect(marker.readBigInt64BE(BATCH.producerId)).toBe(7n);
    expect(marker.readInt16BE(BATCH.producerEpoch)).toBe(3);
    expect(marker.readBigInt64BE(BATCH.baseOffset)).toBe(55n);
    expect(marker.readUInt32BE(BATCH.crc)).toBe(crc32c(marker, BATCH.attributes, marker.length));
    // record: length, attributes, timestamp delta, offset delta, then the key of 4 bytes
    expect(marker.subarray(BATCH.records + 4, BATCH.records + 9).toString("hex")).toBe(`08${key}`);
  }
});
