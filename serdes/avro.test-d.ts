import { describe, expectTypeOf, test } from "vitest";
import { avro } from "./avro.js";
import type { InferAvro } from "./avro-schema.js";
import type { InferSerde } from "./serde.js";

describe("the type of a schema", () => {
  test("is that of its values", () => {
    const serde = avro({
      type: "record",
      name: "Purchase",
      namespace: "shop",
      fields: [
        { name: "id", type: "string" },
        { name: "quantity", type: "int" },
        { name: "total", type: { type: "bytes", logicalType: "decimal", precision: 12, scale: 2 } },
        { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
        { name: "day", type: { type: "int", logicalType: "date" } },
        { name: "trace", type: ["null", { type: "string", logicalType: "uuid" }], default: null },
        { name: "state", type: { type: "enum", name: "State", symbols: ["OPEN", "PAID"] } },
        { name: "before", type: "shop.State" },
        { name: "tags", type: { type: "array", items: "string" } },
        { name: "counts", type: { type: "map", values: "long" } },
        { name: "hash", type: { type: "fixed", name: "Hash", size: 16 } },
        { name: "either", type: ["string", "int", "null"] },
      ],
    });
    expectTypeOf<InferSerde<typeof serde>>().toEqualTypeOf<{
      readonly id: string;
      readonly quantity: number;
      readonly total: string;
      readonly at: Date;
      readonly day: Date;
      readonly trace: string | null;
      readonly state: "OPEN" | "PAID";
      readonly before: "OPEN" | "PAID";
      readonly tags: readonly string[];
      readonly counts: { readonly [key: string]: number };
      readonly hash: Buffer;
      readonly either: string | number | null;
    }>();
  });

  test("wraps the branches of a union that values cannot tell apart", () => {
    const schema = [
      "null",
      { type: "record", name: "A", namespace: "x", fields: [{ name: "a", type: "int" }] },
      { type: "record", name: "B", fields: [{ name: "b", type: "string" }] },
    ] as const;
    expectTypeOf<InferAvro<typeof schema>>().toEqualTypeOf<
      null | { readonly "x.A": { readonly a: number } } | { readonly B: { readonly b: string } }
    >();
    expectTypeOf<InferAvro<readonly ["int", "long"]>>().toEqualTypeOf<
      { readonly int: number } | { readonly long: number }
    >();
  });

  test("names itself where it is recursive", () => {
    const serde = avro({
      type: "record",
      name: "Node",
      fields: [
        { name: "value", type: "double" },
        { name: "next", type: ["null", "Node"] },
      ],
    });
    type Node = InferSerde<typeof serde>;
    expectTypeOf<Node["next"]>().toEqualTypeOf<Node | null>();
  });

  test("has bigints for longs where that is asked for", () => {
    const serde = avro({ type: "array", items: ["null", "long"] }, { long: "bigint" });
    expectTypeOf<InferSerde<typeof serde>>().toEqualTypeOf<readonly (bigint | null)[]>();
  });

  test("refuses a value of another type", () => {
    const serde = avro({ type: "record", name: "R", fields: [{ name: "n", type: "int" }] });
    // @ts-expect-error a text is no int
    serde.serialize({ n: "1" });
    // @ts-expect-error the field is missing
    serde.serialize({});
  });
});
