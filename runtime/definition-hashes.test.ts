import { describe, expect, test } from "vitest";
import { string } from "../serdes/serde.js";
import { count, mean } from "../topology/aggregators.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { SubTopology } from "../topology/processor-topology.js";
import { definitionOf } from "../topology/store-definition.js";
import { tumbling } from "../topology/windows.js";
import { decodeStores, encodeStores, wordsOf } from "./definition-hashes.js";

function subTopology(): SubTopology {
  const builder = new StreamsBuilder();
  const words = builder.stream("in", { key: string, value: string }).groupByKey();
  words.count("counts", { changelog: false });
  words
    .windowedBy(tumbling({ sizeMs: 300_000, graceMs: 3_600_000 }))
    .aggregate("lengths", { n: count(), length: mean((word) => word.length) });
  return builder.build().subTopologies[0] as SubTopology;
}

const sub = subTopology();
const definitions = sub.stores.map((spec) => [spec.name, definitionOf(spec)] as const);
const encoded = encodeStores(sub, 9);

describe("what commits tell of stores", () => {
  test("is read again where the names are known", () => {
    expect(decodeStores(encoded, wordsOf(definitions))).toEqual({ partitions: 9, stores: new Map(definitions) });
  });

  test("has numbers, kinds and common names also where the application's own are not known", () => {
    const [counts, lengths] = [...(decodeStores(encoded, wordsOf([]))?.stores ?? [])];
    expect(counts).toEqual([
      expect.stringMatching(/^#[0-9a-f]{8}$/),
      { kind: "key-value", key: "string", value: "int64", changelog: false, fields: null },
    ]);
    expect(lengths?.[1]).toMatchObject({ kind: "window", sizeMs: 300_000, retentionMs: 3_900_000, changelog: true });
    expect(Object.values(lengths?.[1].fields ?? {})).toEqual(["count", "mean"]);
  });

  test("costs about 20 bytes for a store and 8 for a field", () => {
    expect(encoded.length).toBeLessThanOrEqual(2 * 20 + 2 * 8 + 1);
  });

  test("torn anywhere inside a store is nothing, not something else", () => {
    const whole = new Set([0, 1, 14]);
    for (let length = 1; length < encoded.length; length++) {
      const read = decodeStores(encoded.subarray(0, length), wordsOf(definitions));
      if (!whole.has(length)) expect(read, `${length} bytes`).toBeUndefined();
    }
  });

  test("of a task without stores is nothing at all", () => {
    expect(encodeStores({ ...sub, stores: [] }, 9)).toHaveLength(0);
    expect(decodeStores(Buffer.alloc(0), wordsOf([]))).toEqual({ partitions: 0, stores: new Map() });
  });
});
