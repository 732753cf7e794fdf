import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { int64, string } from "../serdes/serde.js";
import type { ProbeRecord } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { Application } from "./engine.suite.js";

const PARTITIONS = 4;
const KEYS = 200;

function counting(input: string, output: string, { filtered = false } = {}): ProcessorTopology {
  const builder = new StreamsBuilder();
  const records = builder.stream(input, { key: string, value: string });
  const all = filtered ? records.filter(() => true) : records;
  all.groupByKey().count("keys").toStream().to(output);
  return builder.build();
}

/** One record for each key. */
function round(): ProbeRecord[] {
  return Array.from({ length: KEYS }, (_, at) => ({ key: `key-${at}`, value: "x" }));
}

/** Every key, counted so often. */
function counts(each: number): Map<string, number> {
  return new Map(Array.from({ length: KEYS }, (_, at) => [`key-${at}`, each]));
}

async function opened() {
  const application = await Application.open();
  const input = await application.topic("in", PARTITIONS);
  const output = await application.topic("out", PARTITIONS);
  const { probe } = application;
  return {
    ...{ application, input, output, topology: counting(input, output) },
    /** Writes one record for each key, and waits until they are counted. */
    round: async (): Promise<void> => {
      await probe.write(input, round());
      await probe.caughtUp(application.id, input);
    },
    lastCounts: async (): Promise<Map<string, number>> => {
      const records = await probe.read(output);
      return new Map(records.map(({ key, value }) => [String(key), int64.deserialize(value as Buffer)]));
    },
  };
}

test("a damaged state file is restored from its changelog, with a warning that names it, and the others are not", async () => {
  const app = await opened();
  const before = await app.application.start(app.topology);
  await app.round();
  await before.streams.close();
  const names = await readdir(app.application.stateDir(), { recursive: true });
  const file = names.filter((name) => /\.(db|sqlite3?)$/.test(name)).sort()[0] as string;
  const damaged = await open(join(app.application.stateDir(), file), "r+");
  await damaged.write(Buffer.alloc(8_192, 0xa5), 0, 8_192, 0);
  await damaged.close();

  const after = await (await app.application.start(app.topology)).runs(PARTITIONS);
  const warnings = after.lines.filter(({ message }) => message.includes("is damaged"));
  expect(warnings).toEqual([expect.objectContaining({ message: expect.stringContaining(file) })]);
  expect(after.restored("keys")).toBeGreaterThan(0);
  expect(after.restored("keys")).toBeLessThan(KEYS);
  await app.round();
  expect(await app.lastCounts()).toEqual(counts(2));
});

describe("an instance that closes and stays in its group", () => {
  test("comes back to its tasks, and the other instance notices nothing", async () => {
    const app = await opened();
    const other = await app.application.start(app.topology, { instance: "1", sessionTimeoutMs: 30_000 });
    await other.runs(4);
    const config = { instance: "2", onClose: "stay", sessionTimeoutMs: 30_000 } as const;
    const before = await (await app.application.start(app.topology, config)).runs(2);
    await other.runs(2);
    await app.round();
    const tasks = before.tasks;
    const generations = other.added.length;
    await before.streams.close();
    const after = await (await app.application.start(app.topology, config)).runs(2);
    await app.round();
    expect(after.tasks).toEqual(tasks);
    expect(after.restored("keys")).toBe(0);
    expect(other.added).toHaveLength(generations);
    expect(await app.lastCounts()).toEqual(counts(2));
  });

  test("with another topology, it is not given the tasks of the old one for good", async () => {
    const app = await opened();
    const config = { onClose: "stay", sessionTimeoutMs: 30_000 } as const;
    const before = await (await app.application.start(app.topology, config)).runs(4);
    await app.round();
    await before.streams.close();
    const changed = counting(app.input, app.output, { filtered: true });
    expect(changed.hash).not.toBe(app.topology.hash);
    await (await app.application.start(changed, config)).runs(4);
    await app.round();
    expect(await app.lastCounts()).toEqual(counts(2));
  });
});

test("a row larger than the changelog takes stops the application, and names store and key", async () => {
  const application = await Application.open();
  const input = await application.topic("in", 1);
  const builder = new StreamsBuilder();
  builder
    .stream(input, { key: string, value: string })
    .groupByKey()
    .reduce("texts", (text, more) => text + more);
  const instance = await application.start(builder.build());
  await application.probe.write(input, [
    { key: "small", value: "x" },
    { key: "large", value: "x".repeat(900_000) },
    { key: "large", value: "x".repeat(900_000) },
  ]);
  const failure = await instance.failure();
  expect(failure.code).toBe("CHANGELOG_REFUSED");
  expect(failure.message).toContain('"texts"');
  expect(failure.message).toContain(Buffer.from("large").toString("hex"));
});
