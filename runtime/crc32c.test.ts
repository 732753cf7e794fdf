import fc from "fast-check";
import { expect, test } from "vitest";
import { crc32c } from "./crc32c.js";

const of = (bytes: Uint8Array): number => crc32c(bytes, 0, bytes.length);

// RFC 3720, B.4; it prints the bytes in the order of the wire, so the numbers are read from the right.
test.each([
  ["32 bytes of zeroes", Buffer.alloc(32), 0x8a9136aa],
  ["32 bytes of ones", Buffer.alloc(32, 0xff), 0x62a8ab43],
  ["32 bytes counting up", Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
  ["32 bytes counting down", Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c],
  [
    "an iSCSI read command",
    Buffer.from(
      "01c00000000000000000000000000000140000000000040000000014000000182800000000000000" + "0200000000000000",
      "hex",
    ),
    0xd9963a56,
  ],
])("the checksum of %s is the RFC's", (_, bytes, expected) => {
  expect(of(bytes)).toBe(expected);
});

test("the checksum of the digits 1 to 9 is the check value of the polynomial, that of nothing is 0", () => {
  expect(of(Buffer.from("123456789"))).toBe(0xe3069283);
  expect(of(Buffer.alloc(0))).toBe(0);
});

test("eight bytes at a time give what bit by bit gives, at every start and length", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(20), fc.nat(20), (bytes, before, after) => {
      const start = Math.min(before, bytes.length);
      const end = Math.max(start, bytes.length - after);
      expect(crc32c(bytes, start, end)).toBe(bitByBit(bytes.subarray(start, end)));
    }),
  );
});

/** The definition: reflected polynomial, all ones before and after. */
function bitByBit(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
