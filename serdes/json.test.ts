import type { StandardSchemaV1 } from "@standard-schema/spec";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { json, SchemaError, unvalidatedFields, unvalidatedJson } from "./json.js";

const utf8 = (text: string): Buffer => Buffer.from(text, "utf8");
const Purchase = z.object({ user: z.string(), items: z.array(z.object({ cents: z.int() })) });

/** A schema of our own, without a library: what the Standard Schema interface alone promises. */
function schemaOf<T>(validate: StandardSchemaV1.Props<unknown, T>["validate"]): StandardSchemaV1<unknown, T> {
  return { "~standard": { version: 1, vendor: "own", validate } };
}

describe("json", () => {
  test("is plain JSON text in UTF-8", () => {
    const serde = json(Purchase);
    const text = '{"user":"é","items":[{"cents":250}]}';
    expect(Buffer.from(serde.serialize({ user: "é", items: [{ cents: 250 }] })).toString("utf8")).toBe(text);
    expect(serde.deserialize(utf8(text))).toEqual({ user: "é", items: [{ cents: 250 }] });
  });

  test("gives what the schema gives, defaults included", () => {
    const serde = json(z.object({ n: z.int().default(7) }));
    expect(serde.deserialize(utf8("{}"))).toEqual({ n: 7 });
  });

  test("writes without validating", () => {
    const calls: unknown[] = [];
    const serde = json(
      schemaOf<number>((value) => {
        calls.push(value);
        return { value: Number(value) };
      }),
    );
    serde.serialize(3);
    expect(calls).toEqual([]);
  });

  test("says every issue with its path in one line", () => {
    const serde = json(
      schemaOf<string>(() => ({
        issues: [
          { message: "not a word" },
          { message: "too small", path: ["items", 0, { key: "cents" }] },
          { message: "missing", path: [1, "user"] },
        ],
      })),
    );
    expect(() => serde.deserialize(utf8("{}"))).toThrow(SchemaError);
    expect(() => serde.deserialize(utf8("{}"))).toThrow(
      /^not a word; items\[0\]\.cents: too small; \[1\]\.user: missing$/,
    );
  });

  test("a zod schema's refusal names the field", () => {
    expect(() => json(Purchase).deserialize(utf8('{"user":1,"items":[{"cents":0.5}]}'))).toThrow(
      /^user: .+; items\[0\]\.cents: .+$/,
    );
  });

  test("shows the first 8 issues and counts the rest", () => {
    const issues = Array.from({ length: 11 }, (_, i) => ({ message: `m${i}` }));
    expect(new SchemaError(issues).message).toBe("m0; m1; m2; m3; m4; m5; m6; m7; and 3 more");
    expect(new SchemaError(issues).issues).toHaveLength(11);
  });

  test.each(["", "{", '{"user":', "nul", "{'user':1}", "\ufeff{}"])("%j is no JSON", (text) => {
    expect(() => unvalidatedJson().deserialize(utf8(text))).toThrow(SyntaxError);
  });

  test("bytes that are no UTF-8 are refused, not repaired", () => {
    expect(() => unvalidatedJson<string>().deserialize(Buffer.from("22ff22", "hex"))).toThrow("not valid UTF-8");
  });

  test("the text null is refused: it would look like a deletion further on", () => {
    expect(() => unvalidatedJson().deserialize(utf8("null"))).toThrow("the JSON text is null");
    expect(() => json(schemaOf<string>((value) => ({ value: value as string }))).deserialize(utf8("null"))).toThrow(
      "the JSON text is null",
    );
  });

  test.each([[undefined], [Number.NaN], [() => 1], [null]])("%s cannot be written", (value) => {
    const serde = unvalidatedJson<NonNullable<unknown>>();
    expect(() => serde.serialize(value as unknown as NonNullable<unknown>)).toThrow("no JSON text");
  });

  test("a schema that validates asynchronously is refused at its first record", () => {
    const Async = z.object({ user: z.string().refine(async () => true) });
    expect(() => json(Async).deserialize(utf8('{"user":"a"}'))).toThrow("the zod schema validates asynchronously");
  });

  test("the lost outcome of an asynchronous validation does not end the process", async () => {
    const rejected: unknown[] = [];
    const onRejection = (error: unknown): void => void rejected.push(error);
    process.on("unhandledRejection", onRejection);
    const serde = json(schemaOf<string>(() => Promise.reject(new Error("later"))));
    expect(() => serde.deserialize(utf8('"a"'))).toThrow("asynchronously");
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", onRejection);
    expect(rejected).toEqual([]);
  });

  test("a one-way transform and a nullable schema are refused by type", () => {
    // @ts-expect-error the schema reads text and gives a number: what is written could not be read again
    json(z.string().transform(Number));
    // @ts-expect-error null is a missing value, never a value of a serde
    json(z.string().nullable());
    const dates: { readonly deserialize: (bytes: Uint8Array) => Date } = json(z.coerce.date());
    expect(dates.deserialize(utf8('"2026-11-22T12:00:00.000Z"'))).toEqual(new Date(Date.UTC(2026, 10, 22, 12)));
  });
});

describe("unvalidatedFields", () => {
  const serde = unvalidatedFields(["n", 'a "quoted" one', "last"]);

  test("writes what JSON.stringify writes, whatever the fields hold", () => {
    const field = fc.oneof(fc.double(), fc.integer(), fc.jsonValue(), fc.constantFrom(Number.NaN, -0, 1e21, undefined));
    fc.assert(
      fc.property(field, field, field, (n, quoted, last) => {
        const row = { n, 'a "quoted" one': quoted, last };
        expect(Buffer.from(serde.serialize(row)).toString("utf8")).toBe(JSON.stringify(row));
      }),
    );
  });

  test("of no fields is an empty object", () => {
    expect(Buffer.from(unvalidatedFields([]).serialize({})).toString("utf8")).toBe("{}");
  });

  test("is to a store's definition what unvalidatedJson is", () => {
    expect(serde.name).toBe(unvalidatedJson().name);
    expect(serde.deserialize(utf8('{"n":1}'))).toEqual({ n: 1 });
  });
});
