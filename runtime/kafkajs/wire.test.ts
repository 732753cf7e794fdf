import { createRequire } from "node:module";
import fc from "fast-check";
import { expect, test } from "vitest";
import { WireReader, WireWriter } from "./wire.js";

interface KafkaJsEncoder {
  readonly buffer: Buffer;
  writeInt8(value: number): this;
  writeInt16(value: number): this;
  writeInt32(value: number): this;
  writeInt64(value: string): this;
  writeString(value: string | null): this;
  writeUVarInt(value: number): this;
  writeUVarIntString(value: string | null): this;
}

// KafkaJS's own encoder is the model.
const require = createRequire(import.meta.url);
const Encoder = require("kafkajs/src/protocol/encoder.js") as new () => KafkaJsEncoder;

const int = (bits: number) => fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 });
const offset = fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER });
const text = fc.option(fc.string({ unit: "binary", maxLength: 300 }), { nil: null });

test("every field is written as KafkaJS writes it, and read back", () => {
  fc.assert(
    fc.property(
      int(8),
      int(16),
      int(32),
      offset,
      text,
      fc.nat(),
      text,
      (i8, i16, i32, i64, string, varint, compact) => {
        const out = new WireWriter(1).int8(i8).int16(i16).int32(i32).int64(i64).string(string).uvarint(varint);
        const bytes = Buffer.concat(out.compactString(compact).parts);
        const model = new Encoder().writeInt8(i8).writeInt16(i16).writeInt32(i32).writeInt64(String(i64));
        expect(bytes).toEqual(model.writeString(string).writeUVarInt(varint).writeUVarIntString(compact).buffer);

        const read = new WireReader(bytes.subarray(1));
        expect([read.int16(), read.int32(), read.int64()]).toEqual([i16, i32, i64]);
        expect([read.nullableString(), read.uvarint(), read.compactNullableString()]).toEqual([
          string,
          varint,
          compact,
        ]);
      },
    ),
  );
});

test("record batches are passed on without a copy, in their place", () => {
  const batch = Buffer.from("records");
  const parts = new WireWriter().int16(1).bytes32(batch).int16(2).parts;
  expect(parts).toContain(batch);
  expect(Buffer.concat(parts)).toEqual(Buffer.from([0, 1, 0, 0, 0, 7, ...batch, 0, 2]));
});

test("records are read as a view into the answer", () => {
  const answer = Buffer.from([0, 0, 0, 2, 8, 9]);
  const records = new WireReader(answer).bytes32();
  answer[4] = 7;
  expect([...records]).toEqual([7, 9]);
});

test("an answer that is shorter than its form is an error, not garbage", () => {
  const short = Buffer.from([0, 0, 0, 9, 1]);
  expect(() => new WireReader(short).bytes32()).toThrow(RangeError);
  expect(() => new WireReader(Buffer.from([0])).int16()).toThrow(RangeError);
  expect(() => new WireReader(Buffer.from([5, 65])).compactString()).toThrow(RangeError);
});

test("unknown tagged fields are passed over", () => {
  // two tags: number 0 of 3 bytes, number 200 (two bytes as a varint) of none; then the next field
  const read = new WireReader(Buffer.from([2, 0, 3, 1, 1, 1, 0xc8, 0x01, 0, 0, 42]));
  read.skipTags();
  expect(read.int16()).toBe(42);
});
