import { describe, expect, test } from "vitest";
import { nullable } from "./nullable.js";
import { bytes, bytesOrText, float64, int64, string, toText, withBytes } from "./serde.js";

const hex = (value: Uint8Array): string => Buffer.from(value).toString("hex");
const from = (text: string): Buffer => Buffer.from(text, "hex");

describe("string", () => {
  test("is UTF-8 without a length or a mark", () => {
    expect(hex(string.serialize("aé€😀"))).toBe("61" + "c3a9" + "e282ac" + "f09f9880");
    expect(string.deserialize(from("61c3a9e282acf09f9880"))).toBe("aé€😀");
    expect(hex(string.serialize(""))).toBe("");
    expect(string.deserialize(from(""))).toBe("");
  });

  test.each([
    ["a lone continuation byte", "80"],
    ["a cut sequence", "61e282"],
    ["a surrogate", "eda080"],
    ["an overlong form", "c0af"],
    ["a code point above U+10FFFF", "f4908080"],
  ])("refuses %s", (_, text) => {
    expect(() => string.deserialize(from(text))).toThrow("not valid UTF-8");
  });

  test("refuses what is no string, which has no UTF-8", () => {
    expect(() => string.serialize(5 as unknown as string)).toThrow(/serde "string" writes strings, not number/);
  });

  test("accepts a replacement character that is really in the text", () => {
    expect(string.deserialize(from("efbfbd"))).toBe("\ufffd");
  });

  test("reads only its own part of a shared buffer", () => {
    const shared = new Uint8Array([0x78, 0x61, 0x62, 0x78]);
    expect(string.deserialize(shared.subarray(1, 3))).toBe("ab");
  });
});

describe("toText", () => {
  const upper = toText((value: string) => value.toUpperCase());

  test("gives the UTF-8 of the text, and the text to who asks for it", () => {
    expect(hex(upper("é€"))).toBe("c389" + "e282ac");
    expect(bytesOrText(upper)("é")).toBe("É");
  });

  test("a serialize of one's own around it is not taken for it", () => {
    expect(bytesOrText((value: string) => upper(`${value}!`))("é")).toEqual(Buffer.from("É!"));
  });
});

describe("int64", () => {
  test.each([
    [0, "0000000000000000"],
    [1, "0000000000000001"],
    [-1, "ffffffffffffffff"],
    [4_294_967_296, "0000000100000000"],
    [-4_294_967_297, "fffffffeffffffff"],
    [1_700_000_123_456, "0000018bcfe74a40"],
    [2 ** 53 - 1, "001fffffffffffff"],
    [-(2 ** 53 - 1), "ffe0000000000001"],
  ])("%d is %s, big endian", (value, text) => {
    expect(hex(int64.serialize(value))).toBe(text);
    expect(int64.deserialize(from(text))).toBe(value);
  });

  test.each([2 ** 53, -(2 ** 53), 0.5, Number.NaN, Number.POSITIVE_INFINITY])("refuses to write %d", (value) => {
    expect(() => int64.serialize(value)).toThrow(RangeError);
  });

  test.each([
    ["2^53", "0020000000000000"],
    ["-2^53", "ffe0000000000000"],
    ["the largest long", "7fffffffffffffff"],
    ["the smallest long", "8000000000000000"],
  ])("refuses to read %s, which no number holds exactly", (_, text) => {
    expect(() => int64.deserialize(from(text))).toThrow(RangeError);
  });

  test("refuses another length than 8", () => {
    expect(() => int64.deserialize(from("00000000000000"))).toThrow("int64 has 8 bytes, not 7");
    expect(() => int64.deserialize(from("000000000000000000"))).toThrow("int64 has 8 bytes, not 9");
  });
});

describe("float64", () => {
  test.each([
    [0, "0000000000000000"],
    [1, "3ff0000000000000"],
    [-2, "c000000000000000"],
    [0.1, "3fb999999999999a"],
    [Number.POSITIVE_INFINITY, "7ff0000000000000"],
  ])("%d is %s", (value, text) => {
    expect(hex(float64.serialize(value))).toBe(text);
    expect(float64.deserialize(from(text))).toBe(value);
  });

  test("refuses another length than 8", () => {
    expect(() => float64.deserialize(from(""))).toThrow("float64 has 8 bytes, not 0");
  });
});

describe("bytes", () => {
  test("reads a copy, because the buffer below is reused", () => {
    const shared = Uint8Array.of(9, 1, 2, 9);
    const read = bytes.deserialize(shared.subarray(1, 3));
    shared.fill(7);
    expect([...read]).toEqual([1, 2]);
  });

  test("writes the very bytes it is given", () => {
    const value = Uint8Array.of(0, 255);
    expect(bytes.serialize(value)).toBe(value);
  });
});

describe("withBytes", () => {
  test("gives the value and keeps a copy of its bytes", () => {
    const shared = from("6162");
    const read = withBytes(string).deserialize(shared);
    shared.fill(0);
    expect(read.value).toBe("ab");
    expect(hex(read.bytes)).toBe("6162");
  });

  test("writes the kept bytes, also when the value is another", () => {
    expect(hex(withBytes(string).serialize({ value: "changed", bytes: from("6162") }))).toBe("6162");
  });

  test("throws what the serde throws", () => {
    expect(() => withBytes(int64).deserialize(from("00"))).toThrow("int64 has 8 bytes, not 1");
  });
});

describe("nullable", () => {
  test("has the bytes of the serde it is made of", () => {
    const serde = nullable(string);
    expect(hex(serde.serialize("ab"))).toBe("6162");
    expect(serde.deserialize(from("6162"))).toBe("ab");
  });
});
