import { describe, expect, test } from "vitest";
import { int64, string } from "../serdes/serde.js";
import { eventually } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { Application, type Instance } from "./engine.suite.js";
import { TopicNames } from "./internal-topics.js";

const PARTITIONS = 2;
const RECORDS = Array.from({ length: 20 }, (_, at) => ({ key: `key-${at % 5}`, value: `word-${at % 4}` }));

/** Keys counted, and words counted behind a repartition topic; it has processed the records once, and runs. */
async function running() {
  const application = await Application.open();
  const { probe } = application;
  const input = await application.topic("in", PARTITIONS);
  const output = await application.topic("out", PARTITIONS);
  const builder = new StreamsBuilder();
  const records = builder.stream(input, { key: string, value: string });
  records.groupByKey().count("keys").toStream().to(output, { value: int64 });
  records
    .groupBy((word) => word, { key: string, name: "words" })
    .count("words")
    .toStream()
    .to(output, { value: int64 });
  const topology = builder.build();
  const repartition = topology.subTopologies.flatMap(({ sources }) =>
    sources.flatMap(({ topics }) => topics.filter(({ internal }) => internal)),
  );
  const instance = await (await application.start(topology)).runs(2 * PARTITIONS);
  const write = async (): Promise<void> => probe.write(input, RECORDS);
  await write();
  await probe.caughtUp(application.id, input);
  const names = new TopicNames(application.id);
  return {
    ...{ application, input, topology, instance, write },
    repartition: repartition.map((ref) => names.of(ref))[0] as string,
    changelog: names.changelog("keys"),
    remove: (topic: string) => probe.transport.topics.delete([topic]),
  };
}

async function expectDeleted(instance: Instance, topic: string): Promise<void> {
  const failure = await instance.failure();
  expect(failure.code).toBe("INTERNAL_TOPIC_DELETED");
  expect(failure.message).toContain(topic);
  expect(failure.message).toContain("reset the application");
}

test("an input deleted while it runs is waited for, and one made anew is refused", async () => {
  const { application, input, instance, remove } = await running();
  await remove(input);
  await eventually(
    () => `it says what it waits for; it is ${instance.streams.status.reason}`,
    () => {
      const { state, reason } = instance.streams.status;
      return state === "REBALANCING" && reason === `waiting for topic ${input} to be created`;
    },
  );
  await application.topic("in", PARTITIONS);
  const failure = await instance.failure();
  expect(failure.message).toContain(`topic ${input} was deleted and made again`);
});

test("an input that no state depends on, deleted and made anew between two reads, is refused as well", async () => {
  const application = await Application.open();
  const { probe } = application;
  const input = await application.topic("in", 1);
  const output = await application.topic("out", 1);
  const builder = new StreamsBuilder();
  builder.stream(input, { key: string, value: string }).to(output);
  const instance = await (await application.start(builder.build())).runs(1);
  await probe.write(input, RECORDS);
  await probe.caughtUp(application.id, input);
  const { topics } = probe.transport;
  const idOf = async (): Promise<string | undefined> => (await topics.describe([input]))[0]?.topicId;
  const before = await idOf();
  await topics.delete([input]);
  await eventually("it is made anew", async () => {
    await application.topic("in", 1);
    return ![before, undefined].includes(await idOf());
  });
  // As many as the old one had: its offsets would fit, and these be passed over.
  await probe.write(input, RECORDS);
  const failure = await instance.failure();
  expect(failure.code).toBe("SOURCE_TOPIC_MADE_ANEW");
  expect(failure.message).toContain(`topic ${input} was deleted and made again`);
});

describe("deleted while it runs, it is named with the way out, and is not made anew and empty:", () => {
  test("a changelog", async () => {
    const { application, topology, instance, changelog, remove, write } = await running();
    await remove(changelog);
    await write();
    await expectDeleted(instance, changelog);
    await instance.streams.close();
    await expectDeleted(await application.start(topology), changelog);
  });

  test("a repartition topic", async () => {
    const { instance, repartition, remove, write } = await running();
    await remove(repartition);
    await write();
    await expectDeleted(instance, repartition);
  });
});

test("a changelog deleted while nothing runs, and the state directory with it: counts do not begin again at one", async () => {
  const { application, topology, instance, changelog, remove } = await running();
  await instance.streams.close();
  await remove(changelog);
  await expectDeleted(await application.start(topology, { instance: "2" }), changelog);
});
