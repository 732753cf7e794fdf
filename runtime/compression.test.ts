import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { COMPRESSIONS, type Compression } from "./codecs.js";
import { CorruptBatchError, codecOf, compressBatches, INFLATED_BYTES_MAX, inflateFetched } from "./compression.js";
import { inflatedBound } from "./inflated-bound.js";
import { ATTRIBUTE, BATCH, RecordBatch } from "./record-batch.js";
import { RecordCursor, recordsOf } from "./record-cursor.js";
import type { FetchedPartition } from "./transport.js";

type Packed = Exclude<Compression, "none">;
const CODECS = COMPRESSIONS.filter((one): one is Packed => one !== "none");
const FRAMED = ["snappy", "lz4", "zstd"] as const;

function fetched(records: Buffer, offset = 0): FetchedPartition {
  const ends = { highWatermark: 1_000, lastStableOffset: 1_000, logStartOffset: 0 };
  return { topic: "t", partition: 3, offset, records, aborted: [], ...ends, fault: undefined };
}

function batchOf(...values: readonly string[]): RecordBatch {
  const batch = new RecordBatch();
  for (const value of values) batch.append(1_000, null, Buffer.from(value), []);
  return batch;
}

async function packed(compression: Compression, baseOffset: number, ...values: readonly string[]): Promise<Buffer> {
  const batch = batchOf(...values);
  await compressBatches([batch], compression);
  return Buffer.from(batch.seal(undefined, BigInt(baseOffset)));
}

function valuesOf(part: FetchedPartition | undefined): (string | undefined)[] {
  if (part === undefined) return [];
  const cursor = new RecordCursor(part);
  const values: (string | undefined)[] = [];
  while (cursor.next()) values.push(cursor.value?.toString());
  return values;
}

const LONG = "a value that repeats itself, ".repeat(20);

describe.each(CODECS)("%s", (codec) => {
  test("a compressed batch has fewer bytes, its codec's number, and the same records", async () => {
    const batch = batchOf(LONG, LONG);
    const plain = batch.seal().length;
    await compressBatches([batch], codec);
    const sealed = batch.seal();
    expect(sealed.length).toBeLessThan(plain / 2);
    expect(sealed.readInt16BE(BATCH.attributes)).toBe(COMPRESSIONS.indexOf(codec));
    const [part] = await inflateFetched([fetched(Buffer.from(sealed))]);
    expect(valuesOf(part)).toEqual([LONG, LONG]);
  });

  test("any bytes come back as they were", async () => {
    const { deflate, inflate } = await codecOf(codec);
    const any = fc.uint8Array({ minLength: 1, maxLength: 3_000 });
    await fc.assert(
      fc.asyncProperty(any, fc.integer({ min: 1, max: 200 }), async (bytes, times) => {
        const original = Buffer.concat(Array.from({ length: times }, () => bytes));
        expect((await inflate(await deflate(original))).equals(original)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  test("bytes that are none of its own are a corrupt batch, named by topic and codec", async () => {
    const batch = batchOf(LONG);
    batch.pack(COMPRESSIONS.indexOf(codec), Buffer.from([0xff, 0xff, 0xff, 0xff, 0x7f, 9, 9, 9, 9, 9]));
    const failed = inflateFetched([fetched(Buffer.from(batch.seal()))]);
    await expect(failed).rejects.toThrow(CorruptBatchError);
    await expect(failed).rejects.toThrow(`a record batch of t-3 does not unpack as ${codec}`);
  });

  test("a batch cut short or changed anywhere throws or gives some bytes, but never hangs", async () => {
    const { deflate, inflate } = await codecOf(codec);
    const whole = await deflate(Buffer.from(LONG));
    const change = fc.record({ at: fc.nat(whole.length - 1), to: fc.nat(255), length: fc.nat(whole.length) });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, to, length }) => {
        const changed = Buffer.from(whole);
        changed[at] = to;
        for (const bytes of [changed, whole.subarray(0, length)]) {
          const outcome = await inflate(bytes).catch((error: unknown) => error);
          if (Buffer.isBuffer(outcome)) expect(outcome.length).toBeLessThanOrEqual(INFLATED_BYTES_MAX);
          else expect(outcome).toBeInstanceOf(Error);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("what a batch may unpack to", () => {
  test.each(FRAMED)("the bound of %s is read from its frames, and holds", async (codec) => {
    const { deflate } = await codecOf(codec);
    for (const size of [1, 1_000, 65_536, 300_000, 1_000_000]) {
      const bound = inflatedBound(codec, await deflate(Buffer.alloc(size, 7)));
      expect(bound).toBeGreaterThanOrEqual(size);
      expect(bound).toBeLessThanOrEqual(Math.max(size * 2, size + 128 * 1024));
    }
  });

  test("300 MiB in a few thousand bytes are refused before they are unpacked", async () => {
    const frame = Buffer.from("28b52ffd0058", "hex"); // zstd: no content size, a window of 2 MiB
    const sameByte = Buffer.from([0x02, 0x00, 0x10, 0x00]); // a block of 128 KiB of one byte
    const last = Buffer.from([0x03, 0x00, 0x10, 0x00]);
    const zstd = Buffer.concat([frame, ...Array.from({ length: 2_400 }, () => sameByte), last]);
    expect(inflatedBound("zstd", zstd)).toBe(2_401 * 131_072);
    await expect((await codecOf("zstd")).inflate(zstd)).rejects.toThrow("more than 268435456");

    const snappy = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x01, 0x00, 0x41]); // says that 256 MiB follow
    expect(inflatedBound("snappy", snappy)).toBe(2 ** 28);
    const larger = Buffer.from([0x81, 0x80, 0x80, 0x80, 0x01, 0x00, 0x41]);
    await expect((await codecOf("snappy")).inflate(larger)).rejects.toThrow("more than 268435456");

    const gzip = gzipSync(Buffer.alloc(INFLATED_BYTES_MAX + 1));
    await expect((await codecOf("gzip")).inflate(gzip)).rejects.toThrow();
  });

  test("a frame that is not whole has no bound", async () => {
    for (const codec of FRAMED) {
      const whole = await (await codecOf(codec)).deflate(Buffer.from(LONG));
      const part = whole.subarray(0, codec === "snappy" ? 1 : whole.length - 5);
      expect(inflatedBound(codec, part)).toBe(Number.POSITIVE_INFINITY);
    }
  });

  test("one fetch unpacks 64 MiB and a batch, and leaves the rest for the next", async () => {
    const large = "x".repeat(40 * 1024 * 1024);
    const first = await packed("gzip", 0, large);
    const second = await packed("gzip", 1, large);
    const third = await packed("gzip", 2, large);
    const [part] = await inflateFetched([fetched(Buffer.concat([first, second, third]))]);
    expect(part?.records.length).toBe(first.length + second.length);
    expect(valuesOf(part)).toHaveLength(2);
  });
});

describe("batches", () => {
  test("compressed and plain ones stand side by side", async () => {
    const records = Buffer.concat([
      await packed("gzip", 0, LONG, "a"),
      await packed("none", 2, "b"),
      await packed("snappy", 3, "c", LONG),
    ]);
    const [part] = await inflateFetched([fetched(records)]);
    expect(valuesOf(part)).toEqual([LONG, "a", "b", "c", LONG]);
    const [later] = await inflateFetched([fetched(records, 4)]);
    expect(valuesOf(later)).toEqual([LONG]);
    expect(later?.inflated?.size).toBe(1);
  });

  test("what would not get smaller stays as it is", async () => {
    const batch = batchOf("q");
    await compressBatches([batch], "gzip");
    expect(batch.seal().readInt16BE(BATCH.attributes) & ATTRIBUTE.codecMask).toBe(0);
    expect(batch.seal().equals(batchOf("q").seal())).toBe(true);
  });

  test("a record appended behind is in the next sealing, and a refused batch can be taken apart", async () => {
    const batch = batchOf(LONG);
    await compressBatches([batch], "gzip");
    expect(recordsOf(batch)).toHaveLength(1);
    batch.append(1_000, null, Buffer.from("more"), []);
    expect(batch.isPacked).toBe(false);
    await compressBatches([batch], "gzip");
    const [part] = await inflateFetched([fetched(Buffer.from(batch.seal()))]);
    expect(valuesOf(part)).toEqual([LONG, "more"]);
  });

  test("sealing again stamps the compressed batch anew", async () => {
    const batch = batchOf(LONG);
    await compressBatches([batch], "gzip");
    batch.seal({ producerId: 1n, producerEpoch: 0, baseSequence: 0, transactional: true });
    const sealed = batch.seal({ producerId: 1n, producerEpoch: 4, baseSequence: 9, transactional: true });
    expect(sealed.readInt32BE(BATCH.baseSequence)).toBe(9);
    expect(sealed.readInt16BE(BATCH.attributes)).toBe(1 | ATTRIBUTE.transactional);
    expect(valuesOf((await inflateFetched([fetched(Buffer.from(sealed))]))[0])).toEqual([LONG]);
  });

  test("a codec number that nobody has is named", async () => {
    const batch = batchOf(LONG);
    batch.pack(5, Buffer.alloc(10));
    await expect(inflateFetched([fetched(Buffer.from(batch.seal()))])).rejects.toThrow(
      "a record batch of t-3 is compressed with codec 5",
    );
  });
});
