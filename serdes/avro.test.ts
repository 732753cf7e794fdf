import avsc from "avsc";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AvroFormat, avro } from "./avro.js";
import type { Serde } from "./serde.js";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const from = (text: string): Buffer => Buffer.from(text, "hex");

function record<const F>(...fields: readonly F[]) {
  return { type: "record", name: "R", fields } as const;
}

/** A serde of a schema that is not known to the compiler. */
function anyAvro(schema: unknown): Serde<unknown> {
  return avro(schema) as unknown as Serde<unknown>;
}

/** What `schema` reads of what `writer` wrote. */
function resolved(writer: unknown, schema: unknown, bytes: Uint8Array, long: "number" | "bigint" = "number"): unknown {
  return new AvroFormat(schema, long).readerOf(writer)(bytes, 0);
}

describe("the bytes of a value", () => {
  // By hand, from the specification: zigzag varints, lengths before text and bytes, blocks that end with a zero count.
  test.each([
    ["null", null, ""],
    ["boolean", true, "01"],
    ["int", -65, "8101"],
    ["long", 64, "8001"],
    ["long", 2 ** 53 - 1, "feffffffffffff1f"],
    ["long", -(2 ** 53 - 1), "fdffffffffffff1f"],
    ["float", 1.5, "0000c03f"],
    ["double", -2, "00000000000000c0"],
    ["string", "aé", "0661c3a9"],
    ["bytes", Buffer.from([0, 255]), "0400ff"],
    [{ type: "enum", name: "E", symbols: ["A", "B"] }, "B", "02"],
    [{ type: "fixed", name: "F", size: 2 }, Buffer.from([1, 2]), "0102"],
    [{ type: "array", items: "int" }, [3, -1], "04060100"],
    [{ type: "array", items: "int" }, [], "00"],
    [{ type: "map", values: "boolean" }, { k: true }, "02026b0100"],
    [["null", "string"], "a", "020261"],
    [["null", "string"], null, "00"],
    [["int", "long"], { long: 1 }, "0202"],
    [["null", "int", "string"], 7, "020e"],
    [{ type: "int", logicalType: "date" }, new Date("1969-12-31T00:00:00Z"), "01"],
    [{ type: "long", logicalType: "timestamp-millis" }, new Date(1_000), "d00f"],
    [["null", { type: "long", logicalType: "timestamp-millis" }], new Date(0), "0200"],
    [{ type: "bytes", logicalType: "decimal", precision: 9, scale: 2 }, "-1.28", "0280"],
    [{ type: "bytes", logicalType: "decimal", precision: 9, scale: 2 }, "1.28", "040080"],
    [{ type: "bytes", logicalType: "decimal", precision: 9 }, "0", "0200"],
    [{ type: "fixed", name: "D", size: 4, logicalType: "decimal", precision: 9, scale: 2 }, "-0.01", "ffffffff"],
    [record({ name: "a", type: "int" }, { name: "b", type: "string" }), { a: 1, b: "x" }, "020278"],
  ] as const)("of %j: %j", (schema, value, expected) => {
    const serde = anyAvro(schema);
    expect(hex(serde.serialize(value))).toBe(expected);
    expect(serde.deserialize(from(expected))).toEqual(value);
  });

  test("a uuid is its text", () => {
    const serde = avro({ type: "string", logicalType: "uuid" });
    const uuid = "123e4567-e89b-12d3-a456-426614174000";
    expect(serde.deserialize(serde.serialize(uuid))).toBe(uuid);
    expect(() => serde.serialize("123")).toThrow('the value is "123"');
    expect(() => serde.deserialize(from("0231"))).toThrow("is no uuid");
  });

  test("a value larger than any before grows the buffer once", () => {
    const serde = avro("string");
    for (const size of [1, 5_000, 3, 3_000_000, 10]) {
      const text = "x".repeat(size);
      expect(serde.deserialize(serde.serialize(text))).toBe(text);
    }
  });

  test("a block with a negative count and its size is read", () => {
    expect(avro({ type: "array", items: "int" }).deserialize(from("0304060100"))).toEqual([3, -1]);
  });
});

describe("longs", () => {
  test("every safe integer comes back, the ones below -2^52 as well", () => {
    const serde = avro("long");
    for (const value of [-5e15, -(2 ** 52) - 1, -(2 ** 52), 2 ** 52 + 1, -1, 0, 63, 64, -64, -65])
      expect(serde.deserialize(serde.serialize(value))).toBe(value);
    fc.assert(fc.property(fc.maxSafeInteger(), (n) => serde.deserialize(serde.serialize(n)) === n));
  });

  test("their bytes are those of the bigint form", () => {
    const numbers = avro("long");
    const bigints = avro("long", { long: "bigint" });
    fc.assert(fc.property(fc.maxSafeInteger(), (n) => hex(numbers.serialize(n)) === hex(bigints.serialize(BigInt(n)))));
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (n) => {
        return bigints.deserialize(bigints.serialize(n)) === n;
      }),
    );
  });

  test.each([2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)])("%d is no number", (value) => {
    const bytes = avro("long", { long: "bigint" }).serialize(value);
    expect(() => avro("long").deserialize(bytes)).toThrow("outside the safe range");
    expect(avro("long", { long: "bigint" }).deserialize(bytes)).toBe(value);
    const nullable = new AvroFormat(["null", "long"], "number").readerOf("long");
    expect(() => nullable(bytes, 0)).toThrow("outside the safe range");
  });

  test("what is no long is not written", () => {
    for (const value of [2 ** 53, 0.5, Number.NaN, "1"])
      expect(() => avro("long").serialize(value as number)).toThrow();
    expect(() => avro("long", { long: "bigint" }).serialize(2n ** 63n)).toThrow();
  });

  test("bigints stand in records, unions and defaults", () => {
    const schema = record({ name: "n", type: ["null", "long"] }, { name: "d", type: "long", default: 7 });
    const serde = avro(schema, { long: "bigint" });
    const value = { n: 2n ** 60n, d: -1n };
    expect(serde.deserialize(serde.serialize(value))).toEqual(value);
    const old = avro(record({ name: "n", type: "int" })).serialize({ n: 5 });
    expect(resolved(record({ name: "n", type: "int" }), schema, old, "bigint")).toEqual({ n: 5n, d: 7n });
  });
});

describe("writing", () => {
  test.each([
    [record({ name: "a", type: { type: "array", items: "int" } }), { a: ["x"] }, 'a.0 is "x", not int'],
    [record({ name: "a", type: "string" }), {}, "a is undefined, not string"],
    [{ type: "int", logicalType: "date" }, new Date(1), "the value is Date, not logical:date"],
    [
      { type: "bytes", logicalType: "decimal", precision: 4, scale: 2 },
      "1.234",
      'the value is "1.234", not logical:decimal',
    ],
    [
      { type: "bytes", logicalType: "decimal", precision: 4, scale: 2 },
      "100",
      'the value is "100", not logical:decimal',
    ],
    [{ type: "enum", name: "E", symbols: ["A"] }, "B", 'the value is "B", not enum'],
  ])("%j refuses %j, naming the field", (schema, value, message) => {
    const serde = anyAvro(schema);
    expect(() => serde.serialize(value)).toThrow(message);
  });

  test("a schema that is none is refused when the serde is made", () => {
    expect(() => avro({ type: "recrod", name: "R", fields: [] })).toThrow("recrod");
    expect(() => avro({ type: "bytes", logicalType: "decimal", precision: 0 })).toThrow("precision");
    expect(() => avro({ type: "record", name: "R", fields: [{ name: "a b", type: "int" }] })).toThrow();
  });
});

describe("resolution", () => {
  const v1 = record({ name: "id", type: "string" }, { name: "n", type: "int" });

  test("a field that was added has its default, one that was removed is passed over", () => {
    const bytes = avro(v1).serialize({ id: "a", n: 3 });
    const v2 = record({ name: "n", type: "long" }, { name: "note", type: ["null", "string"], default: null });
    expect(resolved(v1, v2, bytes)).toEqual({ n: 3, note: null });
  });

  test("a field without a default, a changed name and a narrower type are refused by name", () => {
    expect(() => resolved(v1, record({ name: "x", type: "int" }), from("00"))).toThrow(/R\.x/);
    expect(() => resolved(v1, { ...v1, name: "Other" }, from("00"))).toThrow(/R/);
    expect(() => resolved("long", "int", from("00"))).toThrow("cannot read");
  });

  test("an int is read as long, float, double and timestamp", () => {
    expect(resolved("int", "double", from("08"))).toBe(4);
    expect(resolved("int", ["null", "long"], from("08"))).toBe(4);
    expect(resolved("int", { type: "long", logicalType: "timestamp-millis" }, from("08"))).toEqual(new Date(4));
    expect(resolved("long", { type: "long", logicalType: "timestamp-millis" }, from("08"))).toEqual(new Date(4));
    expect(resolved({ type: "long", logicalType: "timestamp-millis" }, "long", from("08"))).toBe(4);
  });

  test("a decimal of another scale is refused, one of more digits read", () => {
    const decimal = (precision: number, scale: number) => ({ type: "bytes", logicalType: "decimal", precision, scale });
    expect(resolved(decimal(4, 2), decimal(9, 2), from("0280"))).toBe("-1.28");
    expect(() => resolved(decimal(4, 2), decimal(9, 3), from("0280"))).toThrow("cannot read decimal(4, 2)");
  });
});

describe("malformed bytes", () => {
  test.each([
    ["a text that reaches past the end", "string", "0a61"],
    ["a negative length", "string", "01"],
    ["nothing at all", "int", ""],
    ["a varint without an end", "long", "ffffffffffffffffffffffff"],
    ["an int of 33 bits", "int", "8080808020"],
    ["a branch that is none", ["null", "int"], "04"],
    ["a symbol that is none", { type: "enum", name: "E", symbols: ["A"] }, "02"],
    ["a boolean of 2", "boolean", "02"],
    ["bytes behind the value", "int", "0202"],
    ["an array cut short", { type: "array", items: "int" }, "0402"],
    ["a block that is longer than it says", { type: "array", items: "int" }, "03020406"],
    ["a key that no object holds", { type: "map", values: "int" }, "02125f5f70726f746f5f5f0200"],
  ])("%s is refused", (_, schema, bytes) => {
    expect(() => anyAvro(schema).deserialize(from(bytes))).toThrow();
  });

  test("a count of 2^40 in seven bytes is refused at once", () => {
    const startMs = performance.now();
    const nulls = avro({ type: "array", items: "null" });
    expect(() => nulls.deserialize(from("808080808080" + "0100"))).toThrow(/more than 12 MiB/);
    const skipped = new AvroFormat(record({ name: "n", type: "int", default: 1 }), "number").readerOf(
      record({ name: "gone", type: { type: "array", items: "null" } }),
    );
    expect(() => skipped(from("808080808080" + "0100"), 0)).toThrow(/more than 12 MiB/);
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  test("a list nested ten thousand deep is refused, not a crash", () => {
    const list = record({ name: "next", type: ["null", "R"] });
    const bytes = Buffer.concat([Buffer.alloc(10_000, 2), Buffer.from([0])]);
    expect(() => anyAvro(list).deserialize(bytes)).toThrow("nested more than 500 deep");
    expect(anyAvro(list).deserialize(from("020200"))).toEqual({ next: { next: { next: null } } });
  });

  const SCHEMAS = [
    record(
      { name: "a", type: { type: "array", items: ["null", "string", "int"] } },
      { name: "m", type: { type: "map", values: { type: "array", items: "bytes" } } },
      { name: "next", type: ["null", "R"] },
      { name: "d", type: { type: "bytes", logicalType: "decimal", precision: 30, scale: 4 } },
    ),
    { type: "array", items: { type: "record", name: "E", fields: [] } },
    { type: "map", values: { type: "map", values: "double" } },
    { type: "array", items: { type: "array", items: "long" } },
  ];

  test("any bytes end in a value or in an error of the schema, soon", () => {
    const any = fc.tuple(fc.constantFrom(...SCHEMAS), fc.uint8Array({ maxLength: 200 }));
    fc.assert(
      fc.property(any, ([schema, bytes]) => {
        const startMs = performance.now();
        try {
          anyAvro(schema).deserialize(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
        expect(performance.now() - startMs).toBeLessThan(500);
      }),
      { numRuns: 3_000 },
    );
  });

  test("a changed byte in a real value never hangs, and a value that is read can be written again", () => {
    const type = avsc.Type.forSchema(SCHEMAS[0] as avsc.Schema);
    const serde = anyAvro(SCHEMAS[0]);
    const change = fc.record({ seed: fc.nat(50), at: fc.nat(), to: fc.nat(255), cut: fc.boolean() });
    const samples = Array.from({ length: 51 }, () => type.toBuffer(sample(type)));
    fc.assert(
      fc.property(change, ({ seed, at, to, cut }) => {
        const bytes = Buffer.from(samples[seed] as Buffer);
        bytes[at % bytes.length] = to;
        const changed = cut ? bytes.subarray(0, at % bytes.length) : bytes;
        let value: unknown;
        try {
          value = serde.deserialize(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          return;
        }
        expect(serde.deserialize(serde.serialize(value))).toEqual(value);
      }),
      { numRuns: 3_000 },
    );
  });
});

function sample(type: avsc.Type): unknown {
  for (;;) {
    try {
      const value: unknown = type.random();
      if (type.toBuffer(value).length < 2_000) return value;
    } catch (error) {
      // A schema that contains itself: once in some thousand values avsc goes on until the stack ends.
      if (!(error instanceof RangeError)) throw error;
    }
  }
}
