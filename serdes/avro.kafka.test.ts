import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { runJava } from "../testing/kafka/java-peer.js";
import { kafkaClassPath } from "../testing/kafka/kafka-jars.js";
import { mavenFile } from "../testing/kafka/maven.js";
import { avro } from "./avro.js";
import { parseAvro } from "./avro-types.js";
import type { Serde } from "./serde.js";

/** A schema with a way to make values of it. */
interface Sample {
  readonly schema: unknown;
  readonly value: fc.Arbitrary<unknown>;
}

const text = fc.string({ unit: "grapheme", maxLength: 12 });
const bytesOf = (size: fc.SizeForArbitrary | undefined, exact?: number) =>
  fc
    .uint8Array(exact === undefined ? { maxLength: 10, size } : { minLength: exact, maxLength: exact })
    .map((bytes) => Buffer.from(bytes));
const int = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const finite = { noNaN: true, noDefaultInfinity: true };
// JSON has no minus zero.
const float = fc.float(finite).map((value) => value + 0);
const double = fc.double(finite).map((value) => value + 0);
const decimal = fc.bigInt({ min: -(10n ** 12n) + 1n, max: 10n ** 12n - 1n }).map((unscaled) => {
  const digits = String(unscaled < 0 ? -unscaled : unscaled).padStart(4, "0");
  return `${unscaled < 0 ? "-" : ""}${digits.slice(0, -3)}.${digits.slice(-3)}`;
});
const day = fc.integer({ min: -100_000, max: 100_000 }).map((days) => new Date(days * 86_400_000));

const LEAVES: readonly Sample[] = [
  { schema: "boolean", value: fc.boolean() },
  { schema: "int", value: int },
  { schema: "long", value: fc.maxSafeInteger() },
  { schema: "float", value: float },
  { schema: "double", value: double },
  { schema: "string", value: text },
  { schema: "bytes", value: bytesOf(undefined) },
  { schema: { type: "enum", name: "?", symbols: ["A", "B", "C"] }, value: fc.constantFrom("A", "B", "C") },
  { schema: { type: "fixed", name: "?", size: 5 }, value: bytesOf(undefined, 5) },
  { schema: { type: "int", logicalType: "date" }, value: day },
  { schema: { type: "long", logicalType: "timestamp-millis" }, value: fc.date({ noInvalidDate: true }) },
  { schema: { type: "bytes", logicalType: "decimal", precision: 12, scale: 3 }, value: decimal },
  { schema: { type: "fixed", name: "?", size: 6, logicalType: "decimal", precision: 12, scale: 3 }, value: decimal },
  { schema: { type: "string", logicalType: "uuid" }, value: fc.uuid() },
];

function samples(depth: number): fc.Arbitrary<Sample> {
  const leaf = fc.constantFrom(...LEAVES);
  if (depth === 0) return leaf;
  const inner = samples(depth - 1);
  const array = inner.map(({ schema, value }) => ({
    schema: { type: "array", items: schema },
    value: fc.array(value, { maxLength: 4 }),
  }));
  const map = inner.map(({ schema, value }) => ({
    schema: { type: "map", values: schema },
    value: fc.dictionary(
      text.filter((key) => key !== "__proto__"),
      value,
      { maxKeys: 4, noNullPrototype: true },
    ),
  }));
  const nullable = inner.map(({ schema, value }) => ({ schema: ["null", schema], value: fc.option(value) }));
  const numbers = fc.constant({
    schema: ["null", "int", "double"],
    value: fc.oneof(fc.constant(null), fc.record({ int }), fc.record({ double })),
  });
  const record = fc.array(inner, { maxLength: 5 }).map((fields) => ({
    schema: { type: "record", name: "?", fields: fields.map(({ schema }, at) => ({ name: `f${at}`, type: schema })) },
    value: fc.record(Object.fromEntries(fields.map(({ value }, at) => [`f${at}`, value]))),
  }));
  return fc.oneof(leaf, array, map, nullable, numbers, { arbitrary: record, weight: 4 });
}

/** Every definition gets a name of its own. */
function named(schema: unknown, next: { number: number }): unknown {
  if (Array.isArray(schema)) return schema.map((branch) => named(branch, next));
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).map(([key, part]) => [
      key,
      key === "name" && part === "?" ? `N${next.number++}` : named(part, next),
    ]),
  );
}

const isUnion = (schema: unknown): boolean => Array.isArray(schema);

/** A union directly in a union is none of Avro's. */
function isLegal(schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.every((branch) => !isUnion(branch) && isLegal(branch));
  return typeof schema !== "object" || schema === null || Object.values(schema).every(isLegalPart);
}

function isLegalPart(part: unknown): boolean {
  return Array.isArray(part) && part.every((one) => typeof one === "object" && one !== null && "name" in one)
    ? part.every((field) => isLegal((field as { readonly type: unknown }).type))
    : isLegal(part);
}

test("bytes are those of Java's GenericDatumWriter, and it reads ours", async () => {
  const pairs = fc
    .sample(
      samples(3)
        .filter(({ schema }) => isLegal(schema))
        .chain(({ schema, value }) => fc.tuple(fc.constant(schema), value)),
      { numRuns: 2_000, seed: 7 },
    )
    .map(([schema, value]) => ({ schema: named(schema, { number: 0 }), value }));
  const serdes = pairs.map(({ schema }) => avro(schema) as unknown as Serde<unknown>);
  const ours = pairs.map(({ value }, at) => Buffer.from(serdes[at]?.serialize(value) ?? []).toString("hex"));
  const lines = pairs.map(({ schema, value }, at) =>
    JSON.stringify({ schema, json: parseAvro(schema, "number").toString(value), hex: ours[at] }),
  );
  const folder = await mkdtemp(join(tmpdir(), "millrace-avro-"));
  try {
    await writeFile(join(folder, "values.jsonl"), `${lines.join("\n")}\n`);
    const jar = await mavenFile({ group: "org.apache.avro", artifact: "avro", version: "1.12.0" });
    const classPath = [jar, await kafkaClassPath()].join(delimiter);
    const printed = await runJava("AvroPeer.java", [join(folder, "values.jsonl")], classPath);
    const theirs = printed
      .trimEnd()
      .split("\n")
      .map((line) => line.split(" "));
    expect(theirs).toHaveLength(pairs.length);
    for (const [at, pair] of pairs.entries()) {
      expect({ ...pair, bytes: theirs[at]?.[0] }).toEqual({ ...pair, bytes: ours[at] });
      expect({ ...pair, bytes: theirs[at]?.[1] }).toEqual({ ...pair, bytes: ours[at] });
      expect(serdes[at]?.deserialize(Buffer.from(theirs[at]?.[0] ?? "", "hex"))).toEqual(pair.value);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
