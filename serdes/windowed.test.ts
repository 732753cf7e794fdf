import { describe, expect, test } from "vitest";
import { int64, string } from "./serde.js";
import { readStartMs, windowed, windowedKeyBytes, writeStartMs } from "./windowed.js";

const hex = (value: Uint8Array): string => Buffer.from(value).toString("hex");
const from = (text: string): Buffer => Buffer.from(text, "hex");

// Start times as Kafka's TimeWindowedSerializer writes them: ByteBuffer.putLong, two's complement, big endian.
const STARTS: readonly (readonly [startMs: number, bytes: string])[] = [
  [0, "0000000000000000"],
  [1, "0000000000000001"],
  [2_147_483_648, "0000000080000000"],
  [4_294_967_295, "00000000ffffffff"],
  [4_294_967_296, "0000000100000000"],
  [1_700_000_123_456, "0000018bcfe74a40"],
  [2 ** 53 - 1, "001fffffffffffff"],
  [-1, "ffffffffffffffff"],
  [-300_000, "fffffffffffb6c20"],
  [-4_294_967_296, "ffffffff00000000"],
  [-4_294_967_297, "fffffffeffffffff"],
  [-(2 ** 53 - 1), "ffe0000000000001"],
];

describe("the start of a window", () => {
  test.each(STARTS)("%d is %s", (startMs, bytes) => {
    const out = Buffer.alloc(10, 0xaa);
    expect(writeStartMs(out, startMs, 1)).toBe(9);
    expect(hex(out)).toBe(`aa${bytes}aa`);
    expect(readStartMs(out, 1)).toBe(startMs);
  });
});

describe("windowed", () => {
  const serde = windowed(string, { sizeMs: 300_000 });

  test("is the key's bytes, then the start; the end is not in the bytes", () => {
    const key = { key: "ann", window: { startMs: 1_700_000_123_456, endMs: 1_700_000_423_456 } };
    expect(hex(serde.serialize(key))).toBe("616e6e" + "0000018bcfe74a40");
    expect(serde.deserialize(from("616e6e0000018bcfe74a40"))).toEqual(key);
  });

  test.each([
    ["Zoë", "5a6fc3ab"],
    ["€", "e282ac"],
    ["😀", "f09f9880"],
    ["\ud800", "efbfbd"],
    ["a key of more than 24 units", "61206b6579206f66206d6f7265207468616e20323420756e697473"],
  ])("a key that is text, %s, is its UTF-8", (key, bytes) => {
    expect(hex(serde.serialize({ key, window: { startMs: 1, endMs: 300_001 } }))).toBe(`${bytes}0000000000000001`);
  });

  test("an empty key is a start only", () => {
    expect(serde.deserialize(from("0000000000000000"))).toEqual({ key: "", window: { startMs: 0, endMs: 300_000 } });
    expect(hex(windowedKeyBytes(new Uint8Array(0), 1))).toBe("0000000000000001");
  });

  test("the key's serde sees the key's bytes only", () => {
    const longs = windowed(int64, { sizeMs: 1 });
    expect(longs.deserialize(from("0000000000000007" + "0000000000000002"))).toEqual({
      key: 7,
      window: { startMs: 2, endMs: 3 },
    });
  });

  test("reads only its own part of a shared buffer", () => {
    const shared = new Uint8Array(from("ff61000000000000000aff"));
    expect(serde.deserialize(shared.subarray(1, 10))).toEqual({ key: "a", window: { startMs: 10, endMs: 300_010 } });
  });

  test("refuses fewer bytes than a start has", () => {
    expect(() => serde.deserialize(from("00000000000000"))).toThrow("at least 8 bytes, not 7");
  });

  test("its name says key and size, so that a changed size is noticed", () => {
    expect(serde.name).toBe("windowed(string, 300000)");
  });
});

test("all windows of a key go to the key's own partition", () => {
  const serde = windowed(string, { sizeMs: 300_000 });
  for (const startMs of [0, 300_000, 1_760_000_100_000]) {
    const bytes = serde.serialize({ key: "ann", window: { startMs, endMs: startMs + 300_000 } });
    expect(Buffer.from(serde.partitionBytes?.(bytes) ?? bytes)).toEqual(Buffer.from(string.serialize("ann")));
  }
});
