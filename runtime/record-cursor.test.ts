import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CorruptBatchError } from "./compression.js";
import { crc32c } from "./crc32c.js";
import { ATTRIBUTE, BATCH, controlBatch, RecordBatch } from "./record-batch.js";
import { positionAfter, RecordCursor } from "./record-cursor.js";
import type { AbortedTransaction } from "./transport.js";

/** A log as a broker keeps it: batches and markers, an offset each record and each marker. */
class Log {
  readonly parts: Buffer[] = [];
  end = 0;

  write(producer: bigint | undefined, ...values: readonly string[]): this {
    const batch = new RecordBatch();
    for (const value of values) batch.append(1_000, Buffer.from([0, 0, 0, 0]), Buffer.from(value), []);
    const stamp = producer === undefined ? undefined : stampOf(producer);
    this.parts.push(Buffer.from(batch.seal(stamp, BigInt(this.end))));
    this.end += values.length;
    return this;
  }

  mark(type: "abort" | "commit", producer: bigint): this {
    this.parts.push(controlBatch(type, stampOf(producer), 1_000, BigInt(this.end)));
    this.end++;
    return this;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.parts);
  }
}

function stampOf(producerId: bigint) {
  return { producerId, producerEpoch: 0, baseSequence: 0, transactional: true };
}

function read(records: Buffer, aborted: readonly AbortedTransaction[] = [], offset = 0) {
  const cursor = new RecordCursor({ records, aborted, offset });
  const values: (string | undefined)[] = [];
  const offsets: number[] = [];
  while (cursor.next()) {
    values.push(cursor.value?.toString());
    offsets.push(cursor.offset);
  }
  return { values, offsets, nextOffset: cursor.nextOffset };
}

/** Makes the checksum right again after a batch was changed. */
function rechecked(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch, BATCH.attributes, batch.length), BATCH.crc);
  return batch;
}

describe("positions", () => {
  test("records before the position are passed over, also inside a batch", () => {
    const log = new Log().write(undefined, "a", "b").write(undefined, "c", "d");
    expect(read(log.bytes, [], 3)).toEqual({ values: ["d"], offsets: [3], nextOffset: 4 });
  });

  test("a tail of markers moves the next position behind it", () => {
    const log = new Log().write(1n, "a").mark("commit", 1n).mark("commit", 2n);
    expect(read(log.bytes)).toEqual({ values: ["a"], offsets: [0], nextOffset: 3 });
    expect(positionAfter(log.bytes, 0)).toBe(3);
  });

  test("a batch whose records were compacted away counts up to its last offset", () => {
    const log = new Log().write(undefined, "a", "b", "c");
    const empty = Buffer.from((log.parts[0] as Buffer).subarray(0, BATCH.records));
    empty.writeInt32BE(BATCH.records - BATCH.overhead, BATCH.length);
    empty.writeInt32BE(0, BATCH.count);
    expect(read(rechecked(empty))).toEqual({ values: [], offsets: [], nextOffset: 3 });
  });

  test("a compacted batch keeps its offsets, and the next position is behind the whole of it", () => {
    // Two records of five are left: what a broker's cleaner writes.
    const batch = new RecordBatch();
    for (const value of ["a", "b"]) batch.append(1_000, null, Buffer.from(value), []);
    const sealed = Buffer.from(batch.seal(undefined, 10n));
    sealed.writeInt32BE(4, BATCH.lastOffsetDelta);
    expect(read(rechecked(sealed), [], 10)).toEqual({ values: ["a", "b"], offsets: [10, 11], nextOffset: 15 });
    expect(read(rechecked(sealed), [], 13)).toEqual({ values: [], offsets: [], nextOffset: 15 });
  });

  test("an empty set leaves the position where it was", () => {
    expect(read(Buffer.alloc(0), [], 42)).toEqual({ values: [], offsets: [], nextOffset: 42 });
    expect(positionAfter(Buffer.alloc(0), 42)).toBe(42);
  });

  test("a set that is cut short anywhere gives its whole batches and the position behind them", () => {
    const log = new Log().write(undefined, "a", "b").write(undefined, "c");
    const first = (log.parts[0] as Buffer).length;
    const { bytes } = log;
    for (let length = 0; length < bytes.length; length++) {
      const whole = length < first ? { values: [], nextOffset: 0 } : { values: ["a", "b"], nextOffset: 2 };
      expect(read(bytes.subarray(0, length))).toMatchObject(whole);
      expect(positionAfter(bytes.subarray(0, length), 0)).toBe(whole.nextOffset);
    }
  });
});

describe("aborted transactions", () => {
  test("are hidden up to their marker, and what their producer writes next is not", () => {
    const log = new Log().write(1n, "x").write(1n, "y").mark("abort", 1n).write(1n, "kept").mark("commit", 1n);
    const aborted = [{ producerId: 1n, firstOffset: 0 }];
    expect(read(log.bytes, aborted)).toEqual({ values: ["kept"], offsets: [3], nextOffset: 5 });
  });

  test("that are interleaved each hide their own, though the list stands in the order of the markers", () => {
    const log = new Log()
      .write(1n, "x1")
      .write(2n, "y1")
      .write(3n, "kept 1")
      .write(1n, "x2")
      .mark("abort", 2n)
      .write(2n, "kept 2")
      .write(1n, "x3")
      .mark("commit", 2n)
      .mark("abort", 1n)
      .write(undefined, "kept 3")
      .mark("commit", 3n);
    const aborted = [
      { producerId: 2n, firstOffset: 1 },
      { producerId: 1n, firstOffset: 0 },
    ];
    expect(read(log.bytes, aborted).values).toEqual(["kept 1", "kept 2", "kept 3"]);
  });

  test("of one producer in a row are told apart", () => {
    const log = new Log()
      .write(1n, "x")
      .mark("abort", 1n)
      .write(1n, "kept")
      .mark("commit", 1n)
      .write(1n, "y")
      .mark("abort", 1n)
      .write(1n, "kept too")
      .mark("commit", 1n);
    const aborted = [
      { producerId: 1n, firstOffset: 0 },
      { producerId: 1n, firstOffset: 4 },
    ];
    expect(read(log.bytes, aborted).values).toEqual(["kept", "kept too"]);
  });

  test("hide what lies behind a position in the middle of them", () => {
    const log = new Log().write(1n, "x").write(1n, "y").write(2n, "kept").mark("abort", 1n).mark("commit", 2n);
    const behind = Buffer.concat(log.parts.slice(1));
    expect(read(behind, [{ producerId: 1n, firstOffset: 0 }], 1).values).toEqual(["kept"]);
  });

  test("do not hide what a producer writes outside of a transaction", () => {
    const log = new Log().write(1n, "x");
    const plain = new RecordBatch();
    plain.append(0, null, Buffer.from("kept"), []);
    const stamp = { producerId: 1n, producerEpoch: 0, baseSequence: 0, transactional: false };
    const bytes = Buffer.concat([log.bytes, plain.seal(stamp, 1n)]);
    expect(read(bytes, [{ producerId: 1n, firstOffset: 0 }]).values).toEqual(["kept"]);
  });

  test("equal a model, whatever the order of writes and ends", () => {
    const step = fc.record({
      producer: fc.integer({ min: 1, max: 3 }),
      what: fc.constantFrom("write", "abort", "commit"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.nat(40), (steps, from) => {
        const log = new Log();
        const open = new Map<number, { firstOffset: number; records: { offset: number; value: string }[] }>();
        const aborted: AbortedTransaction[] = [];
        const committed: { offset: number; value: string }[] = [];
        const end = (producer: number, outcome: "abort" | "commit"): void => {
          const transaction = open.get(producer);
          if (transaction === undefined) return;
          if (outcome === "abort") aborted.push({ producerId: BigInt(producer), firstOffset: transaction.firstOffset });
          else committed.push(...transaction.records);
          open.delete(producer);
          log.mark(outcome, BigInt(producer));
        };
        for (const { producer, what } of steps) {
          if (what !== "write") {
            end(producer, what as "abort" | "commit");
            continue;
          }
          const transaction = open.get(producer) ?? { firstOffset: log.end, records: [] };
          transaction.records.push({ offset: log.end, value: `${log.end}` });
          open.set(producer, transaction);
          log.write(BigInt(producer), `${log.end}`);
        }
        for (const producer of [...open.keys()]) end(producer, "commit");
        const expected = committed.filter(({ offset }) => offset >= from).sort((a, b) => a.offset - b.offset);
        const found = read(log.bytes, aborted, from);
        expect(found.values).toEqual(expected.map(({ value }) => value));
        expect(found.nextOffset).toBe(Math.max(from, log.end));
      }),
    );
  });
});

describe("formats", () => {
  test("a compressed batch is read from its unpacked records", () => {
    const plain = new Log().write(undefined, "a", "b").bytes;
    const batch = Buffer.concat([plain.subarray(0, BATCH.records), Buffer.from("packed")]);
    batch.writeInt32BE(batch.length - BATCH.overhead, BATCH.length);
    batch.writeInt16BE(1, BATCH.attributes);
    const records = Buffer.concat([new Log().write(undefined, "z").bytes, rechecked(batch)]);
    const inflated = new Map([[records.length - batch.length, plain.subarray(BATCH.records)]]);
    const cursor = new RecordCursor({ records, aborted: [], offset: 0, inflated });
    const values: (string | undefined)[] = [];
    while (cursor.next()) values.push(cursor.value?.toString());
    expect(values).toEqual(["z", "a", "b"]);
  });

  test("a batch with the log's append time gives that time to its records", () => {
    const batch = new Log().write(undefined, "a").bytes;
    batch.writeInt16BE(ATTRIBUTE.logAppendTime, BATCH.attributes);
    batch.writeBigInt64BE(77_000n, BATCH.maxTimestamp);
    const cursor = new RecordCursor({ records: rechecked(batch), aborted: [], offset: 0 });
    cursor.next();
    expect(cursor.timestampMs).toBe(77_000);
  });

  test("a compressed batch that nobody has unpacked cannot be read", () => {
    const zstd = new Log().write(undefined, "a").bytes;
    zstd.writeInt16BE(4, BATCH.attributes);
    expect(() => read(rechecked(zstd))).toThrow("was not unpacked");
  });

  test("an old format is named", () => {
    const old = new Log().write(undefined, "a").bytes;
    old[BATCH.magic] = 1;
    expect(() => read(old)).toThrow(/format 1/);
  });

  test("headers can be asked for again and do not move the cursor", () => {
    const batch = new RecordBatch();
    batch.append(0, null, null, [
      ["a", Buffer.from("1")],
      ["a", null],
    ]);
    batch.append(0, Buffer.from("second"), null, []);
    const cursor = new RecordCursor({ records: batch.seal(), aborted: [], offset: 0 });
    cursor.next();
    const once = cursor.headers;
    expect(cursor.headers).toEqual(once);
    expect(once).toEqual([
      ["a", Buffer.from("1")],
      ["a", null],
    ]);
    cursor.next();
    expect(cursor.key?.toString()).toBe("second");
    expect(cursor.headers).toEqual([]);
  });
});

describe("damage", () => {
  test("any flipped bit behind the checksum is noticed", () => {
    const { bytes } = new Log().write(undefined, "some value");
    for (let at = BATCH.crc; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] as number) ^ 0x10;
      expect(() => read(damaged)).toThrow(CorruptBatchError);
    }
  });

  // The checksum is right in each: a writer that is wrong, or means harm.
  const broken: readonly (readonly [string, (batch: Buffer) => void])[] = [
    ["a negative count", (batch) => batch.writeInt32BE(-1, BATCH.count)],
    ["a count above its records", (batch) => batch.writeInt32BE(2 ** 31 - 1, BATCH.count)],
    ["a record longer than the batch", (batch) => batch.writeUInt8(0x7e, BATCH.records)],
    ["a record of negative length", (batch) => batch.writeUInt8(0x03, BATCH.records)],
    ["a key longer than its record", (batch) => batch.writeUInt8(0x7e, BATCH.records + 4)],
    ["a number without end", (batch) => batch.fill(0xff, BATCH.records)],
  ];
  test.each(broken)("%s is refused, not followed", (_, damage) => {
    const batch = new Log().write(undefined, "v").bytes;
    damage(batch);
    const behind = new Log().write(undefined, "not to be read as part of the first").bytes;
    expect(() => read(Buffer.concat([rechecked(batch), behind]))).toThrow(CorruptBatchError);
  });

  test("headers that reach past their record are refused", () => {
    const batch = new RecordBatch();
    batch.append(0, null, null, [["h", null]]);
    const sealed = batch.seal();
    sealed.writeUInt8(0x7e, sealed.length - 4); // the count of headers
    const cursor = new RecordCursor({ records: rechecked(sealed), aborted: [], offset: 0 });
    cursor.next();
    expect(() => cursor.headers).toThrow(CorruptBatchError);
  });

  test("a batch length that leads back is refused, though its checksum agrees", () => {
    const batch = new Log().write(undefined, "a").bytes;
    batch.writeInt32BE(-BATCH.overhead, BATCH.length);
    batch.writeUInt32BE(0, BATCH.crc); // that of no bytes
    expect(() => read(batch)).toThrow(CorruptBatchError);
    expect(positionAfter(batch, 7)).toBe(7);
  });

  test("random bytes, with a right checksum or not, end in records or in an error of ours", () => {
    const seed = new Log().write(undefined, "abc", "def").bytes;
    const change = fc.tuple(fc.nat(seed.length - 1), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 6 }), fc.boolean(), (changes, isChecked) => {
        const bytes = Buffer.from(seed);
        for (const [at, byte] of changes) bytes[at] = byte;
        if (isChecked) rechecked(bytes);
        expectEnd(bytes);
      }),
      { numRuns: 2_000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => expectEnd(Buffer.from(bytes))));
  });

  function expectEnd(bytes: Buffer): void {
    let records = 0;
    try {
      const cursor = new RecordCursor({ records: bytes, aborted: [{ producerId: -1n, firstOffset: 0 }], offset: 0 });
      while (cursor.next()) {
        cursor.key;
        cursor.value;
        cursor.headers;
        records++;
      }
    } catch (error) {
      expect(["CORRUPT_BATCH", "UNSUPPORTED_CODEC"]).toContain((error as { code?: string }).code);
    }
    expect(records).toBeLessThanOrEqual(bytes.length);
    positionAfter(bytes, 0);
  }
});
