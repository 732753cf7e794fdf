import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { avro } from "./avro.js";
import type { Serde } from "./serde.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const MIB = 1024 * 1024;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value * 2;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** One block of so many items, or entries of a map. */
function block(count: number, item: (at: number) => Buffer): Buffer {
  return Buffer.concat([varint(count), ...Array.from({ length: count }, (_, at) => item(at)), Buffer.from([0])]);
}

const sized = (bytes: Buffer): Buffer => Buffer.concat([varint(bytes.length), bytes]);
const array = (items: unknown): object => ({ type: "array", items });
const record = (name: string, ...fields: unknown[]): object => ({
  type: "record",
  name,
  fields: fields.map((type, at) => ({ name: `f${at}`, type })),
});
const bytes = (...values: number[]) => Buffer.from(values);

const SHAPES: readonly (readonly [string, object, (at: number) => Buffer])[] = [
  ["nulls", array("null"), () => bytes()],
  ["empty records", array(record("E")), () => bytes()],
  ["ints", array("int"), () => bytes(2)],
  ["longs of six bytes", array("long"), () => Buffer.from("feffffffff1f", "hex")],
  ["texts of two letters", array("string"), () => bytes(4, 97, 98)],
  ["empty bytes", array("bytes"), () => bytes(0)],
  ["empty arrays", array(array("int")), () => bytes(0)],
  ["arrays of one", array(array("int")), () => bytes(2, 2, 0)],
  ["empty maps", array({ type: "map", values: "int" }), () => bytes(0)],
  [
    "maps of one",
    array({ type: "map", values: "int" }),
    (at) => Buffer.concat([bytes(2), sized(key(at)), bytes(2, 0)]),
  ],
  ["records of an int", array(record("R", "int")), () => bytes(2)],
  ["records of a double", array(record("R", "double")), () => Buffer.alloc(8, 3)],
  ["dates", array({ type: "long", logicalType: "timestamp-millis" }), () => bytes(2)],
  ["decimals", array({ type: "bytes", logicalType: "decimal", precision: 9, scale: 2 }), () => bytes(2, 7)],
  ["wrapped unions", array([record("A"), record("B")]), () => bytes(0)],
  ["a map", { type: "map", values: "int" }, (at) => Buffer.concat([sized(key(at)), bytes(2)])],
  [
    "a map of numbers",
    { type: "map", values: "int" },
    (at) => Buffer.concat([sized(Buffer.from(String(at * 50_021))), bytes(2)]),
  ],
];

function key(at: number): Buffer {
  return Buffer.from(at.toString(36).padStart(4, "!"));
}

function reads(serde: Serde<unknown>, input: Buffer): boolean {
  try {
    serde.deserialize(input);
    return true;
  } catch (error) {
    expect(String(error)).toContain("more than 12 MiB");
    return false;
  }
}

describe("an input of up to 1 MiB", () => {
  test.each(SHAPES)("of %s makes no more than 16 MiB, garbage included", (_, schema, item) => {
    const serde = avro(schema) as unknown as Serde<unknown>;
    const perItem = item(1_000).length;
    const most = perItem === 0 ? 5_000_000 : Math.floor((MIB - 10) / perItem);
    // The largest that is read: the bound is a number of items, not of bytes.
    let low = 1;
    let high = most;
    if (perItem > 0 && reads(serde, block(most, item))) low = most;
    while (high - low > low / 10) {
      const middle = Math.floor((low + high) / 2);
      if (reads(serde, block(middle, item))) low = middle;
      else high = middle;
    }
    const input = block(low, item);
    collect();
    const before = process.memoryUsage();
    const value = serde.deserialize(input);
    const after = process.memoryUsage();
    expect(value).toBeDefined();
    const grown = after.heapUsed + after.external - before.heapUsed - before.external;
    expect(grown).toBeLessThan(16 * MIB);
  });
});
