import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { aggregations } from "./aggregations.js";
import type { Definition, Definitions } from "./definition.js";
import { NOT_THERE } from "./not-there.js";
import { countInTumblingWindows } from "./null-value-model.js";
import { purchases } from "./purchases.js";
import { type Outcome, runVector } from "./run-vector.js";
import { stateless } from "./stateless.js";
import { type Output, readVectors, type Step, topologiesIn, type Vector } from "./vector.js";
import { windows } from "./windows.js";

const kept = fileURLToPath(new URL("./vectors", import.meta.url));
const folder = process.env.CONFORMANCE_VECTORS || kept;
const definitions: Definitions = { ...stateless, ...aggregations, ...windows, ...purchases };
const notThere = Object.values(NOT_THERE).flat();
const recorded = topologiesIn(folder);

// docs/differences-from-kafka-streams.md, "Null values in windows": compared with a model instead.
const DIFFERENT = ["tumbling-count-null-values"];

/** Each step must cause exactly what it caused in Kafka Streams; a failure names seed and step. */
function expectSteps(
  vector: Vector,
  actual: readonly (readonly Output[])[],
  expected: readonly (readonly Output[])[],
): void {
  for (const [at, step] of vector.steps.entries()) {
    const { out: _, ...input } = step;
    expect(actual[at], `${vector.topology} seed ${vector.seed} step ${at}: ${JSON.stringify(input)}`).toStrictEqual(
      expected[at],
    );
  }
}

/** What is left in the stores, windows past their retention excluded: their rows go with the next commit, as in Kafka Streams. */
function expectStores(vector: Vector, actual: Outcome["stores"]): void {
  for (const [store, rows] of Object.entries(vector.stores ?? {})) {
    expect(actual[store], `${vector.topology} seed ${vector.seed}: rows of "${store}"`).toStrictEqual(rows);
  }
}

const outputsOf = (vector: Vector): readonly (readonly Output[])[] => vector.steps.map((step: Step) => step.out);

/**
 * Without a cache Kafka Streams forwards a deletion also of a row that was not there. With one it does not, since the row is
 * the same before and after; its vectors were recorded without.
 */
function withoutRepeatedDeletions(vector: Vector): readonly (readonly Output[])[] {
  const present = new Set<string>();
  return outputsOf(vector).map((outputs) =>
    outputs.filter(({ topic, key, value }) => {
      const row = JSON.stringify([topic, key]);
      const wasPresent = present.has(row);
      if (value === null) present.delete(row);
      else present.add(row);
      return value !== null || wasPresent;
    }),
  );
}

function definitionOf(name: string): Definition {
  const definition = definitions[name];
  if (definition === undefined) throw new Error(`no topology "${name}" in testing/conformance`);
  return definition;
}

const isThere = (name: string): boolean => name in definitions && !DIFFERENT.includes(name);
const isStateful = (name: string): boolean => isThere(name) && !(name in stateless);

describe("each step emits exactly what Kafka Streams 4.1 emitted", () => {
  test.each(recorded.filter(isThere))("%s", async (name) => {
    for (const vector of readVectors(folder, name)) {
      const outcome = await runVector(definitionOf(name), vector, false);
      expectSteps(vector, outcome.steps, outputsOf(vector));
      expectStores(vector, outcome.stores);
      expect(outcome.droppedRecords, `${name} seed ${vector.seed}: dropped records`).toBe(
        vector.droppedRecords ?? outcome.droppedRecords,
      );
    }
  });
});

describe("a cache changes nothing but repeated deletions when each record is committed", () => {
  test.each(recorded.filter(isStateful))("%s", async (name) => {
    for (const vector of readVectors(folder, name)) {
      const outcome = await runVector(definitionOf(name), vector, true);
      expectSteps(vector, outcome.steps, withoutRepeatedDeletions(vector));
    }
  });
});

describe("a null value never reaches a windowed aggregate", () => {
  const names = recorded.filter((name) => DIFFERENT.includes(name));

  test.each(names)("%s: the model that counts null values is Kafka Streams", (name) => {
    for (const vector of readVectors(folder, name)) {
      expectSteps(vector, countInTumblingWindows(vector, { nullValues: "count" }), outputsOf(vector));
    }
  });

  test.each(names)("%s: the model that skips them is Millrace", async (name) => {
    for (const vector of readVectors(folder, name)) {
      const expected = countInTumblingWindows(vector, { nullValues: "skip" });
      for (const cache of [false, true])
        expectSteps(vector, (await runVector(definitionOf(name), vector, cache)).steps, expected);
    }
  });
});

test("every recorded topology is compared, or is listed as not there", () => {
  for (const [operator, names] of Object.entries(NOT_THERE))
    console.info(`not there yet: ${operator}: ${names.join(", ")}`);
  const unknown = recorded.filter((name) => !(name in definitions) && !notThere.includes(name));
  expect(unknown, "topologies that are neither built here nor listed in not-there.ts").toEqual([]);
  expect(
    notThere.filter((name) => name in definitions),
    "listed as not there, but built here",
  ).toEqual([]);
});

test("the kept vectors cover every topology that is there", () => {
  expect(topologiesIn(kept)).toEqual(Object.keys(definitions).sort());
});
