import { describe, expect, test } from "vitest";
import { murmur2, partitionOf } from "./partitioner.js";

describe("murmur2", () => {
  // The values of Apache Kafka's own UtilsTest.testMurmur2.
  test.each([
    ["21", -973932308],
    ["foobar", -790332482],
    ["a-little-bit-long-string", -985981536],
    ["a-little-bit-longer-string", -1486304829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
    ["abc", 479470107],
  ])("hashes %s as the Java client does", (text, hash) => {
    expect(murmur2(Buffer.from(text))).toBe(hash);
  });

  test("a partition is never negative", () => {
    expect(partitionOf(Buffer.from("foobar"), 9)).toBe((-790332482 & 0x7fffffff) % 9);
  });
});
