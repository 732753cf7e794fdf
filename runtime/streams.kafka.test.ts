import { cp, rm } from "node:fs/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { unvalidatedJson } from "../serdes/json.js";
import { int64, string } from "../serdes/serde.js";
import { startLocalKafka } from "../testing/kafka/local-kafka.js";
import { eventually, type ProbeRecord } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { ErrorHandler, FailedRecord, ProcessorTopology } from "../topology/processor-topology.js";
import { Application } from "./engine.suite.js";
import { deleteGroup } from "./kafkajs/delete-group.suite.js";

const WORDS = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "jon"];
const PARTITIONS = 4;

/** Sentences under their line number, and how often each word is in them. */
class Sentences {
  readonly counts = new Map<string, number>();
  #made = 0;

  next(count: number): ProbeRecord[] {
    return Array.from({ length: count }, () => {
      const at = this.#made++;
      const words = [0, 1, 2].map((turn) => WORDS[(at * (turn + 1) + ((at * at) >> 3)) % WORDS.length] as string);
      for (const word of words) this.counts.set(word, (this.counts.get(word) ?? 0) + 1);
      return { key: `line-${at}`, value: words.join(" ") };
    });
  }
}

/** Sentences by line, counted by word: through a repartition topic. */
function wordCount(input: string, output: string): ProcessorTopology {
  const builder = new StreamsBuilder();
  builder
    .stream(input, { key: string, value: string })
    .flatMapValues((sentence) => sentence.split(" "), { value: string })
    .groupBy((word) => word, { key: string })
    .count("words")
    .toStream()
    .to(output);
  return builder.build();
}

/** Records counted by their own key: one sub-topology, no repartition topic. */
function keyCount(input: string, output: string): ProcessorTopology {
  const builder = new StreamsBuilder();
  builder.stream(input, { key: string, value: string }).groupByKey().count("keys").toStream().to(output);
  return builder.build();
}

/** As many records for each key as `counts` says. */
function keyed(keys: number, each: number): { readonly records: ProbeRecord[]; readonly counts: Map<string, number> } {
  const names = Array.from({ length: keys }, (_, at) => `key-${at}`);
  const records = Array.from({ length: each }, (_, round) =>
    names.map((key) => ({ key, value: String(round) })),
  ).flat();
  return { records, counts: new Map(names.map((name) => [name, each])) };
}

async function lastCounts(application: Application, output: string): Promise<Map<string, number>> {
  const records = await application.probe.read(output);
  return new Map(records.map(({ key, value }) => [String(key), int64.deserialize(value as Buffer)]));
}

async function counting(brokers?: readonly string[]) {
  const application = await Application.open(brokers);
  const input = await application.topic("in", PARTITIONS);
  const output = await application.topic("out", PARTITIONS);
  return { application, input, output, probe: application.probe };
}

describe("counting", () => {
  test("words counted over a repartition topic by two instances are all counted", async () => {
    const { application, input, output, probe } = await counting();
    const topology = wordCount(input, output);
    const [first, second] = await Promise.all([
      application.start(topology, { instance: "1" }),
      application.start(topology, { instance: "2" }),
    ]);
    await first.runs(4);
    await second.runs(4);
    const sentences = new Sentences();
    for (let round = 0; round < 10; round++) await probe.write(input, sentences.next(300));
    await probe.caughtUp(application.id, input);
    await probe.caughtUp(application.id, `${application.id}-words-repartition`);
    expect(await lastCounts(application, output)).toEqual(sentences.counts);
  });

  test("an instance closed and started again goes on from its state, and restores nothing", async () => {
    const { application, input, output, probe } = await counting();
    const topology = keyCount(input, output);
    const before = await application.start(topology);
    const { records, counts } = keyed(200, 5);
    await probe.write(input, records);
    await probe.caughtUp(application.id, input);
    await before.streams.close();
    expect(before.streams.state).toBe("NOT_RUNNING");

    const after = await (await application.start(topology)).runs(PARTITIONS);
    expect(after.restored("keys")).toBe(0);
    await probe.write(input, records);
    await probe.caughtUp(application.id, input);
    expect(await lastCounts(application, output)).toEqual(new Map([...counts].map(([key, n]) => [key, 2 * n])));
  });

  test("an instance whose state is behind restores the tail that it lacks, and no more", async () => {
    const { application, input, output, probe } = await counting();
    const topology = keyCount(input, output);
    const { records, counts } = keyed(200, 5);
    const [state, older] = [application.stateDir(), `${application.stateDir()}-older`];
    const first = await application.start(topology);
    await probe.write(input, records);
    await probe.caughtUp(application.id, input);
    await first.streams.close();
    await cp(state, older, { recursive: true });
    const written = (await probe.read(`${application.id}-keys-changelog`)).length;
    const second = await application.start(topology);
    await probe.write(input, records);
    await probe.caughtUp(application.id, input);
    await second.streams.close();
    await rm(state, { recursive: true });
    await cp(older, state, { recursive: true });

    const third = await (await application.start(topology)).runs(PARTITIONS);
    expect(third.restored("keys")).toBe((await probe.read(`${application.id}-keys-changelog`)).length - written);
    await probe.write(input, records);
    await probe.caughtUp(application.id, input);
    expect(await lastCounts(application, output)).toEqual(new Map([...counts].map(([key, n]) => [key, 3 * n])));
  });
});

describe("rebalances", () => {
  test("an instance that joins or leaves moves only the tasks that must move, and nothing is counted twice or lost", async () => {
    const { application, input, output, probe } = await counting();
    const topology = keyCount(input, output);
    const first = await (await application.start(topology, { instance: "1" })).runs(4);
    const { records, counts } = keyed(200, 20);
    const rounds = [0, 1, 2, 3].map((quarter) => records.slice(quarter * 1_000, (quarter + 1) * 1_000));
    const [before, during, between, after] = rounds as [ProbeRecord[], ProbeRecord[], ProbeRecord[], ProbeRecord[]];
    await probe.write(input, before);
    const second = await application.start(topology, { instance: "2" });
    await probe.write(input, during);
    await second.runs(2);
    await first.runs(2);
    const moved = second.tasks;
    expect(first.tasks.filter((task) => moved.includes(task))).toEqual([]);
    await probe.write(input, between);
    await second.streams.close();
    await first.runs(4);
    await probe.write(input, after);
    await probe.caughtUp(application.id, input);

    // Tasks that each generation added: all of them, none when the second joined, those that it gave back when it left.
    expect(first.added).toEqual([["0_0", "0_1", "0_2", "0_3"], [], moved]);
    expect(second.added.at(-1)).toEqual(moved);
    expect(await lastCounts(application, output)).toEqual(counts);
  });

  test("of two instances with one group instance id, the older one stops and says why", async () => {
    const { application, input, output } = await counting();
    const topology = keyCount(input, output);
    const older = await (await application.start(topology, { instance: "1", groupInstanceId: "one" })).runs(4);
    const newer = await application.start(topology, { instance: "2", groupInstanceId: "one" });
    const failure = await older.failure();
    expect(failure.message).toMatch(/group instance id "one"/);
    expect(failure.message).toMatch(/state directory/);
    await newer.runs(4);
  });
});

test("a broker that is killed and comes back 10 s later: the instance goes on by itself, and every record is counted once", async () => {
  // A killed broker is let back in when its session with the controller is over: 9 s by default.
  const kafka = await startLocalKafka({
    properties: { "broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500" },
  });
  // Ends last: what a test opens later is closed earlier.
  onTestFinished(() => kafka.stop());
  const { application, input, output, probe } = await counting(kafka.brokers);
  const instance = await (await application.start(wordCount(input, output))).runs(8);
  const sentences = new Sentences();
  await probe.write(input, sentences.next(2_000));
  await kafka.kill();
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  expect(instance.streams.state).not.toBe("ERROR");
  await kafka.restart();
  await probe.write(input, sentences.next(2_000));
  await probe.caughtUp(application.id, input, 90_000);
  await probe.caughtUp(application.id, `${application.id}-words-repartition`);
  await instance.running();
  expect(await lastCounts(application, output)).toEqual(sentences.counts);
});

interface Letter {
  readonly to: string;
  readonly text: string;
}

describe("an output that Kafka does not take", () => {
  const handled: FailedRecord[] = [];
  const noting =
    (action: ReturnType<Extract<ErrorHandler, (...given: never[]) => unknown>>): ErrorHandler =>
    (_, record) => {
      handled.push(record);
      return action;
    };

  /** Copies each letter to the topic that it names. */
  function post(input: string, onError: ErrorHandler): ProcessorTopology {
    const builder = new StreamsBuilder();
    builder
      .stream(input, { key: string, value: unvalidatedJson<Letter>() })
      .to((letter) => letter.to, { onError, name: "post" });
    return builder.build();
  }

  async function posting(
    onError: (deadLetter: string) => ErrorHandler,
    letters: (known: string) => readonly ProbeRecord[],
  ) {
    handled.length = 0;
    const application = await Application.open();
    const input = await application.topic("in", 1);
    const known = await application.topic("known", 1, { "max.message.bytes": "2000" });
    const dead = await application.topic("dead", 1);
    await application.probe.write(input, letters(known));
    const instance = await application.start(post(input, onError(dead)));
    return { application, instance, input, known, dead, probe: application.probe };
  }

  const letter = (to: string, text: string): ProbeRecord => ({
    key: text.slice(0, 8),
    value: JSON.stringify({ to, text }),
  });
  const texts = (records: readonly { readonly value: Buffer | null }[]): string[] =>
    records.map(({ value }) => (JSON.parse(String(value)) as Letter).text);
  const UNKNOWN = "a-topic-that-is-not-there";
  const unknownBetween = (known: string): ProbeRecord[] => [
    letter(known, "first"),
    letter(UNKNOWN, "lost"),
    letter(known, "last"),
  ];
  const LARGE = "x".repeat(5_000);
  const largeBetween = (known: string): ProbeRecord[] => [
    ...Array.from({ length: 20 }, (_, at) => letter(known, `before-${at}`)),
    letter(known, LARGE),
    ...Array.from({ length: 20 }, (_, at) => letter(known, `after-${at}`)),
  ];
  const smallTexts = [
    ...Array.from({ length: 20 }, (_, at) => `before-${at}`),
    ...Array.from({ length: 20 }, (_, at) => `after-${at}`),
  ];

  test("for an unknown topic, is continued past, and the handler is told which topic", async () => {
    const { application, input, known, probe } = await posting(() => noting("continue"), unknownBetween);
    await probe.caughtUp(application.id, input);
    expect(texts(await probe.read(known)).sort()).toEqual(["first", "last"]);
    expect(handled).toMatchObject([{ stage: "production", node: "post", topic: UNKNOWN }]);
  });

  test("for an unknown topic, is dead-lettered with its bytes and where it should have gone", async () => {
    const { application, input, known, dead, probe } = await posting(
      (deadLetter) => noting({ deadLetter }),
      unknownBetween,
    );
    await probe.caughtUp(application.id, input);
    expect(texts(await probe.read(known)).sort()).toEqual(["first", "last"]);
    const [found, ...more] = await probe.read(dead);
    expect(more).toEqual([]);
    expect(String(found?.key)).toBe("lost");
    expect(texts([found as NonNullable<typeof found>])).toEqual(["lost"]);
    const headers = new Map(found?.headers.map(([name, value]) => [name, String(value)]));
    expect(headers.get("__streams.errors.topic")).toBe(UNKNOWN);
    expect(headers.get("millrace.stage")).toBe("production");
  });

  test("for an unknown topic, stops the application with the topic's name, unless a handler says otherwise", async () => {
    const { instance } = await posting(() => "fail", unknownBetween);
    const failure = await instance.failure();
    expect(failure.code).toBe("RECORD_FAILED");
    expect(failure.message).toContain(UNKNOWN);
  });

  test("larger than the topic takes, is dead-lettered, and all records beside it are there in their order", async () => {
    const { application, input, known, dead, probe } = await posting(
      (deadLetter) => noting({ deadLetter }),
      largeBetween,
    );
    await probe.caughtUp(application.id, input);
    expect(texts(await probe.read(known))).toEqual(smallTexts);
    expect(texts(await probe.read(dead))).toEqual([LARGE]);
    expect(handled).toMatchObject([{ stage: "production", topic: known, partition: 0 }]);
  });

  test("larger than the topic takes, is continued past", async () => {
    const { application, input, known, dead, probe } = await posting(() => noting("continue"), largeBetween);
    await probe.caughtUp(application.id, input);
    expect(texts(await probe.read(known))).toEqual(smallTexts);
    expect(await probe.read(dead)).toEqual([]);
  });

  test("larger than the topic takes, stops the application with topic and reason, unless a handler says otherwise", async () => {
    const { instance, known } = await posting(() => "fail", largeBetween);
    const failure = await instance.failure();
    expect(failure.code).toBe("RECORD_FAILED");
    expect(failure.message).toContain(known);
    expect(failure.message).toContain("message-too-large");
  });
});

describe("a log that does not fit the state", () => {
  /** An application that has counted, and was closed. */
  async function counted() {
    const all = await counting();
    const { application, input, output, probe } = all;
    const topology = keyCount(input, output);
    const { records, counts } = keyed(100, 5);
    const instance = await application.start(topology);
    await probe.write(input, records);
    await probe.caughtUp(application.id, input);
    await instance.streams.close();
    return { ...all, topology, records, counts };
  }

  test("source records deleted before they were read: stops, and names the partition and the offsets", async () => {
    const { application, input, probe, topology, records } = await counted();
    await probe.write(input, records);
    const highs = await probe.highs(input);
    await probe.transport.topics.deleteRecords(
      highs.map((offset, partition) => ({ topic: input, partition, offset: offset - 1 })),
    );
    const failure = await (await application.start(topology)).failure();
    expect(failure.code).toBe("OFFSET_OUT_OF_RANGE");
    expect(failure.message).toContain(`${input}-`);
  });

  test("source records deleted before they were read: goes on with the first that is there, if it was told to", async () => {
    const { application, input, output, probe, topology, records, counts } = await counted();
    await probe.write(input, records);
    const highs = await probe.highs(input);
    await probe.transport.topics.deleteRecords(highs.map((offset, partition) => ({ topic: input, partition, offset })));
    await (await application.start(topology, { onOffsetOutOfRange: "earliest" })).runs(PARTITIONS);
    await probe.write(input, records);
    await probe.caughtUp(application.id, input);
    expect(await lastCounts(application, output)).toEqual(new Map([...counts].map(([key, n]) => [key, 2 * n])));
  });

  test("committed offsets gone while the changelog has records: stops, and counts nothing on top of itself", async () => {
    const { application, output, topology, counts } = await counted();
    await deleteGroup(application.brokers, application.id);
    await rm(application.stateDir(), { recursive: true });
    const failure = await (await application.start(topology)).failure();
    expect(failure.code).toBe("NO_OFFSETS_FOR_STATE");
    expect(failure.message).toContain('"keys"');
    expect(await lastCounts(application, output)).toEqual(counts);
  });

  test("committed offsets gone while the local state is complete: goes on from it", async () => {
    const { application, input, output, probe, topology, records, counts } = await counted();
    await deleteGroup(application.brokers, application.id);
    await (await application.start(topology)).runs(PARTITIONS);
    await probe.write(input, records);
    await probe.caughtUp(application.id, input);
    expect(await lastCounts(application, output)).toEqual(new Map([...counts].map(([key, n]) => [key, 2 * n])));
  });

  test("a source topic deleted and made anew: stops, rather than passing over what the new one begins with", async () => {
    const { application, input, probe, topology, records } = await counted();
    await probe.transport.topics.delete([input]);
    await application.topic("in", PARTITIONS);
    await probe.write(input, [...records, ...records]);
    const failure = await (await application.start(topology)).failure();
    expect(failure.message).toContain(input);
  });

  test("a changelog with another partition count: stops, and names both counts", async () => {
    const { application, input, output } = await counting();
    await application.topic("keys-changelog", PARTITIONS + 1, { "cleanup.policy": "compact" });
    const failure = await (await application.start(keyCount(input, output))).failure();
    expect(failure.code).toBe("INTERNAL_TOPIC_UNFIT");
    expect(failure.message).toMatch(/keys-changelog has 5 partitions where 4 are needed/);
  });
});

test("a source topic that comes later is waited for, and then read from its start", async () => {
  const application = await Application.open();
  const output = await application.topic("out", PARTITIONS);
  const instance = await application.start(keyCount(`${application.id}-in`, output));
  await eventually("it says what it waits for", () => instance.streams.status.reason.includes(`${application.id}-in`));
  const input = await application.topic("in", PARTITIONS);
  const { records, counts } = keyed(50, 3);
  await application.probe.write(input, records);
  await application.probe.caughtUp(application.id, input);
  expect(await lastCounts(application, output)).toEqual(counts);
});
