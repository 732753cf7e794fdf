import { mkdtemp, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { int64, string } from "../serdes/serde.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import type { StreamsConfig } from "./config.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { Instance } from "./engine.suite.js";

let directory: string;
let log: EmbeddedLog;
let probe: LogProbe;
const instances: Instance[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "millrace-members-"));
  log = new EmbeddedLog({ file: ":memory:" });
  probe = new LogProbe(new EmbeddedTransport({ log }));
  await probe.transport.connect();
  await probe.createTopic("in", 4);
  await probe.createTopic("out", 4);
});

afterEach(async () => {
  for (const { streams } of instances.splice(0)) await streams.close();
  log.close();
  await rm(directory, { recursive: true, force: true });
});

async function start(
  topology: ProcessorTopology,
  name: string,
  config: Partial<StreamsConfig> = {},
): Promise<Instance> {
  const instance = new Instance(topology, {
    applicationId: "app",
    transport: new EmbeddedTransport({ log }),
    stateDir: join(directory, name),
    commitIntervalMs: 5,
    sessionTimeoutMs: 6_000,
    onClose: "stay",
    ...config,
  });
  instances.push(instance);
  await instance.streams.start();
  return instance;
}

/** `counts` by key; in a second form it keeps only some records, and in a third it has a sub-topology more before it. */
function counting({ filtered = false, prefixed = false } = {}): ProcessorTopology {
  const builder = new StreamsBuilder();
  if (prefixed) builder.stream("more", { key: string, value: string }).foreach(() => undefined);
  const input = builder.stream("in", { key: string, value: string });
  (filtered ? input.filter((value) => value !== "no") : input).groupByKey().count("counts").toStream().to("out");
  return builder.build();
}

async function lastCounts(): Promise<Map<string, number>> {
  const records = await probe.read("out");
  return new Map(records.map(({ key, value }) => [String(key), int64.deserialize(value as Buffer)]));
}

const KEYS = Array.from({ length: 40 }, (_, at) => `key-${at}`);
const round = (value: string) => KEYS.map((key) => ({ key, value }));

test("of two live members with one group instance id the older one ends with a line that names both", async () => {
  const first = await (await start(counting(), "1", { groupInstanceId: "same" })).runs(4);
  const second = await (await start(counting(), "2", { groupInstanceId: "same" })).runs(4);
  const error = await first.failure();
  expect(error.code).toBe("INSTANCE_FENCED");
  expect(error.message).toMatch(
    /"same" in group "app": this one, member same-[0-9a-f-]{36} on .* was replaced by member same-[0-9a-f-]{36};/,
  );
  expect(error.message).toContain(`on ${hostname()} (process ${process.pid})`);
  expect(second.streams.state).toBe("RUNNING");
});

test("a static member that comes back with another topology leaves its old assignment, and has its tasks by the new one", async () => {
  const before = await (await start(counting(), "1")).runs(4);
  await probe.write("in", round("yes"));
  await probe.caughtUp("app", "in");
  await before.streams.close();

  const after = await (await start(counting({ filtered: true }), "1")).runs(4);
  expect(after.lines.filter(({ message }) => message.includes("is for another topology"))).toHaveLength(1);
  await probe.write("in", [...round("no"), ...round("yes")]);
  await probe.caughtUp("app", "in");
  expect(await lastCounts()).toEqual(new Map(KEYS.map((key) => [key, 2])));
});

test("while a group goes from one topology to another, a task that would run in two ways waits, and nothing is lost", async () => {
  const old = counting();
  const [one, two] = await Promise.all([start(old, "1"), start(old, "2")]);
  await Promise.all([one.runs(2), two.runs(2)]);
  await probe.write("in", round("yes"));
  await probe.caughtUp("app", "in");

  await one.streams.close();
  const newOne = await start(counting({ filtered: true }), "1");
  await eventually("the new one waits for the others", () => newOne.streams.status.reason.includes("two topologies"));
  await two.runs(0);
  expect(newOne.tasks).toEqual([]);
  await probe.write("in", [...round("no"), ...round("yes")]);
  await two.streams.close();
  const newTwo = await start(counting({ filtered: true }), "2");
  await Promise.all([newOne.runs(2), newTwo.runs(2)]);
  await probe.caughtUp("app", "in");
  expect(await lastCounts()).toEqual(new Map(KEYS.map((key) => [key, 2])));
});

test("what both topologies have goes on meanwhile, under the number that each has for it", async () => {
  await probe.createTopic("more", 2);
  const one = await (await start(counting(), "1")).runs(4);
  const other = await start(counting({ prefixed: true }), "2");
  await Promise.all([one.runs(2), other.runs(2)]);
  expect(one.tasks.every((task) => task.startsWith("0_"))).toBe(true);
  expect(other.tasks.every((task) => task.startsWith("1_"))).toBe(true);
  await probe.write("in", round("yes"));
  await probe.caughtUp("app", "in");
  expect(await lastCounts()).toEqual(new Map(KEYS.map((key) => [key, 1])));
});
