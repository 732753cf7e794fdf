import { unvalidatedJson } from "../../serdes/json.js";
import { type Serde, string } from "../../serdes/serde.js";
import type { Windowed } from "../../serdes/windowed.js";
import { StreamsBuilder } from "../../topology/dsl.js";
import { TopologyTestDriver } from "../topology-test-driver.js";
import type { Definition, Params } from "./definition.js";
import type { Output, Step, StoreRow, Vector } from "./vector.js";

const json = unvalidatedJson<NonNullable<unknown>>();

export interface Outcome {
  /** What each step of the vector caused, by topic, then in order of emission. */
  readonly steps: readonly (readonly Output[])[];
  readonly droppedRecords: number;
  readonly stores: Readonly<Record<string, readonly StoreRow[]>>;
}

/** Pipes the vector's steps through our driver and writes down what comes, in the vector's form. */
export async function runVector(definition: Definition, vector: Vector, cache: boolean): Promise<Outcome> {
  const builder = new StreamsBuilder();
  const p = paramsOf(vector);
  definition.build(builder, p, { cache });
  const driver = new TopologyTestDriver(builder.build(), { initialWallClockMs: vector.initialWallClockMs });
  try {
    const outputs = Object.entries(definition.outputs)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([topic, key]) => ({
        topic,
        reader: driver.createOutputTopic(topic, key(p) as Serde<string | Windowed<string>>, json),
      }));
    const steps = vector.steps.map((step) => {
      apply(driver, step);
      return outputs.flatMap(({ topic, reader }) =>
        reader
          .readRecordsToList()
          .map((r): Output => ({ topic, key: keyOf(r.key), value: r.value, timestamp: r.timestampMs })),
      );
    });
    const stores = Object.fromEntries(
      Object.keys(vector.stores ?? {}).map((name) => [
        name,
        definition.windows === undefined
          ? rowsOf(driver, name)
          : windowRowsOf(driver, name, definition.windows(p), steps.flat()),
      ]),
    );
    return { steps, droppedRecords: await driver.droppedRecords(), stores };
  } finally {
    driver.close();
  }
}

function paramsOf(vector: Vector): Params {
  return (name) => {
    const value = vector.params[name];
    if (typeof value !== "number") throw new Error(`${vector.topology}, seed ${vector.seed}: no parameter "${name}"`);
    return value;
  };
}

function apply(driver: TopologyTestDriver, step: Step): void {
  if ("advanceWallClockMs" in step) {
    driver.advanceWallClockTime(step.advanceWallClockMs);
    return;
  }
  const topic = driver.createInputTopic(step.topic, string, json);
  topic.pipeInput(step.key, step.value as NonNullable<unknown> | null, { timestampMs: step.timestamp });
}

function keyOf(key: string | Windowed<string> | null): Output["key"] {
  if (key === null || typeof key === "string") return key;
  return { key: key.key, start: key.window.startMs, end: key.window.endMs };
}

/** By key. */
function rowsOf(driver: TopologyTestDriver, store: string): readonly StoreRow[] {
  const rows = driver.getKeyValueStore<string, unknown>(store).all();
  return rows
    .map(({ key, row }): StoreRow => ({ key, value: row.value, timestamp: row.timestampMs }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

/**
 * By key, then start, without the windows past their retention: those Kafka Streams hides, while here they stay until their
 * segment goes. What counts is the newest window ever put, also one whose row was deleted and is only in the output.
 */
function windowRowsOf(
  driver: TopologyTestDriver,
  store: string,
  { sizeMs, retentionMs }: { readonly sizeMs: number; readonly retentionMs: number },
  outputs: readonly Output[],
): readonly StoreRow[] {
  const rows = driver.getWindowStore<string, unknown>(store).all();
  const written = outputs.map(({ key }) => (typeof key === "object" && key !== null ? key.start : -1));
  const newestMs = Math.max(...written, ...rows.map(({ startMs }) => startMs));
  return rows
    .filter(({ startMs }) => startMs > newestMs - retentionMs)
    .map(({ key, startMs, row }) => ({
      key,
      start: startMs,
      end: startMs + sizeMs,
      value: row.value,
      timestamp: row.timestampMs,
    }))
    .sort((a, b) => (a.key === b.key ? a.start - b.start : a.key < b.key ? -1 : 1));
}
