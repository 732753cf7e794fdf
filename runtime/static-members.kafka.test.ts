import { hostname } from "node:os";
import { expect, test } from "vitest";
import { int64, string } from "../serdes/serde.js";
import { eventually } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { Application, type Instance } from "./engine.suite.js";

const KEYS = Array.from({ length: 60 }, (_, at) => `key-${at}`);
const round = () => KEYS.map((key) => ({ key, value: "x" }));

/** Every update of every count is written: one that is lost, or stands twice, shows. */
function counting(input: string, output: string): ProcessorTopology {
  const builder = new StreamsBuilder();
  builder
    .stream(input, { key: string, value: string })
    .groupByKey()
    .count("counts", { cache: false })
    .toStream()
    .to(output);
  return builder.build();
}

/** Writes rounds without a pause until it is stopped; gives how many. */
function load(write: () => Promise<void>): { stop(): Promise<number> } {
  let stopping = false;
  const running = (async () => {
    let rounds = 0;
    for (; !stopping; rounds++) await write();
    return rounds;
  })();
  // A test that fails ends the log under it.
  running.catch(() => undefined);
  return {
    stop: () => {
      stopping = true;
      return running;
    },
  };
}

const rebalances = ({ streams }: Instance): number => streams.metrics.counter("rebalances_total", {}).value;

test.each([
  ["without copies", 0],
  ["with a copy of each", 1],
])(
  "three static members restarted one after the other under load move no task, and restore nothing after a clean end: %s",
  async (_, standbyReplicas) => {
    const application = await Application.open();
    const { probe, id } = application;
    const [input, output] = [await application.topic("in", 6), await application.topic("out", 6)];
    const topology = counting(input, output);
    const start = (instance: string): Promise<Instance> =>
      application.start(topology, {
        ...{ instance, onClose: "stay", guarantee: "exactly_once" },
        ...{ sessionTimeoutMs: 10_000, standbyReplicas },
      });
    const names = ["1", "2", "3"];
    const instances = await Promise.all(names.map(start));
    for (const instance of instances) await instance.runs(2);
    const homes = instances.map(({ tasks }) => tasks);
    const standbys = ({ streams }: Instance): string[] =>
      streams.status.tasks.flatMap(({ id: task, state }) => (state === "standby" ? [task] : [])).sort();
    const writing = load(() => probe.write(input, round()));
    /** Every task has committed since the last call. */
    let ends = instances.flatMap(() => [0, 0]);
    const allCommitted = (): Promise<void> =>
      eventually("every changelog grows", async () => {
        const highs = await probe.highs(`${id}-counts-changelog`);
        if (highs.some((high, partition) => high <= (ends[partition] ?? 0))) return false;
        ends = highs;
        return true;
      });

    for (const [at, name] of names.entries()) {
      await allCommitted();
      const generations = instances.map(rebalances);
      await (instances[at] as Instance).streams.close();
      const back = await (await start(name)).runs(2);
      instances[at] = back;
      expect(back.tasks).toEqual(homes[at]);
      // It closed cleanly, so its state has all that it committed, and nobody else could commit to its tasks meanwhile.
      expect(back.restored("counts")).toBe(0);
      generations[at] = 1;
      expect(instances.map(rebalances)).toEqual(generations);
      // Of what the others run, each task once.
      await eventually(
        () => `every task has its copies; they are ${JSON.stringify(instances.map(standbys))}`,
        () => instances.flatMap(standbys).length === 6 * standbyReplicas,
      );
      expect(new Set(instances.flatMap(standbys)).size).toBe(6 * standbyReplicas);
      for (const instance of instances)
        expect(standbys(instance).filter((task) => instance.tasks.includes(task))).toEqual([]);
    }
    await allCommitted();

    const rounds = await writing.stop();
    await probe.caughtUp(id, input);
    expect(instances.map(({ tasks }) => tasks)).toEqual(homes);
    const updates = new Map<string, number[]>(KEYS.map((key) => [key, []]));
    for (const { key, value } of await probe.read(output)) {
      updates.get(String(key))?.push(int64.deserialize(value as Buffer));
    }
    const once = Array.from({ length: rounds }, (_, number) => number + 1);
    for (const [key, counted] of updates) expect(counted, key).toEqual(once);
  },
);

test("of two live members with one group instance id the fenced one ends with a line that names both", async () => {
  const application = await Application.open();
  const [input, output] = [await application.topic("in", 2), await application.topic("out", 2)];
  const topology = counting(input, output);
  const groupInstanceId = "same";
  const first = await (await application.start(topology, { instance: "1", groupInstanceId })).runs(2);
  const second = await (await application.start(topology, { instance: "2", groupInstanceId })).runs(2);
  const error = await first.failure();
  expect(error.code).toBe("INSTANCE_FENCED");
  expect(error.message).toMatch(
    /"same" .* this one, member same-[0-9a-f-]{36} on .*, was replaced by member same-[0-9a-f-]{36} on 127\.0\.0\.1 \(client [^)]+\);/,
  );
  expect(error.message).toContain(`on ${hostname()} (process ${process.pid})`);
  await application.probe.write(input, round());
  await application.probe.caughtUp(application.id, input);
  expect(second.streams.state).toBe("RUNNING");
});

test("a static member that comes back with another topology gets its tasks by the new one", async () => {
  const application = await Application.open();
  const { probe, id } = application;
  const [input, output, other] = [
    await application.topic("in", 2),
    await application.topic("out", 2),
    await application.topic("other", 2),
  ];
  const before = await (await application.start(counting(input, output), { onClose: "stay" })).runs(2);
  await probe.write(input, round());
  await probe.caughtUp(id, input);
  await before.streams.close();
  const after = await (await application.start(counting(input, other), { onClose: "stay" })).runs(2);
  expect(after.lines.filter(({ message }) => message.includes("is for another topology"))).toHaveLength(1);
  await probe.write(input, round());
  await probe.caughtUp(id, input);
  const counts = (await probe.read(other)).map(({ value }) => int64.deserialize(value as Buffer));
  expect(counts).toEqual(KEYS.map(() => 2));
});
