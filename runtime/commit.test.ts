import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { int64, string } from "../serdes/index.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { KStream } from "../topology/dsl-types.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { Instance } from "./engine.suite.js";
import { FencedError } from "./errors.js";
import type {
  GroupMember,
  GroupMemberOptions,
  TransactionalProducer,
  TransactionalProducerOptions,
} from "./transport.js";

const PARTITIONS = 4;
const KEYS = Array.from({ length: 40 }, (_, at) => `key-${at}`);

type Event =
  | { readonly what: "begin" | "end" | "join" }
  | { readonly what: "joined"; readonly generation: number }
  | { readonly what: "offsets"; readonly generation: number; readonly partitions: number };

/** Notes what one instance asks of it, and can hold a commit back on its way. */
class NotingTransport extends EmbeddedTransport {
  readonly events: Event[] = [];
  producers = 0;
  isHeld = false;
  member: GroupMember | undefined;
  #held: Promise<"commit" | "abort"> | undefined;

  /** The next commit ends, one way or the other, when it is told. */
  hold(): (end: "commit" | "abort") => void {
    let tell: (end: "commit" | "abort") => void = () => undefined;
    this.#held = new Promise((resolve) => {
      tell = resolve;
    });
    return tell;
  }

  override openTransactionalProducer(options: TransactionalProducerOptions): TransactionalProducer {
    const inner = super.openTransactionalProducer(options);
    this.producers++;
    return {
      transactionalId: inner.transactionalId,
      initialize: () => inner.initialize(),
      announce: () => inner.announce(),
      begin: () => {
        this.events.push({ what: "begin" });
        inner.begin();
      },
      produce: (batches) => inner.produce(batches),
      sendOffsets: (group, offsets) => {
        this.events.push({ what: "offsets", generation: group.generationId, partitions: offsets.length });
        return inner.sendOffsets(group, offsets);
      },
      commit: async () => {
        const held = this.#held;
        this.#held = undefined;
        this.isHeld = held !== undefined;
        const end = await held;
        this.isHeld = false;
        if (end === "abort") {
          await inner.abort();
          throw new FencedError("a test refuses this commit");
        }
        await inner.commit();
        this.events.push({ what: "end" });
      },
      abort: async () => {
        await inner.abort();
        this.events.push({ what: "end" });
      },
      close: () => inner.close(),
    };
  }

  override openGroupMember(options: GroupMemberOptions): GroupMember {
    const inner = super.openGroupMember(options);
    this.member = inner;
    return {
      join: async (request) => {
        this.events.push({ what: "join" });
        const generation = await inner.join(request);
        this.events.push({ what: "joined", generation: generation.generationId });
        return generation;
      },
      get status() {
        return inner.status;
      },
      changed: () => inner.changed(),
      rival: () => inner.rival(),
      leave: () => inner.leave(),
      close: () => inner.close(),
    };
  }
}

/** Counts by key, and hands on every update. */
function countsByKey(input: KStream<string, string>): void {
  input.groupByKey().count("counts", { cache: false }).toStream().to("out");
}

async function counting({ build = countsByKey, commitIntervalMs = 5 } = {}) {
  const directory = await mkdtemp(join(tmpdir(), "millrace-commit-"));
  const log = new EmbeddedLog({ file: ":memory:" });
  const probe = new LogProbe(new EmbeddedTransport({ log }));
  await probe.transport.connect();
  for (const topic of ["in", "out"]) await probe.createTopic(topic, PARTITIONS);
  const processed: string[] = [];
  const builder = new StreamsBuilder();
  const input = builder.stream("in", { key: string, value: string }).filter((value) => processed.push(value) > 0);
  build(input);
  const topology = builder.build();
  const instances: Instance[] = [];
  onTestFinished(async () => {
    for (const { streams } of instances) await streams.close();
    await probe.close();
    log.close();
    await rm(directory, { recursive: true, force: true });
  });
  return {
    ...{ log, probe, processed },
    start: async (name: string, transport: EmbeddedTransport): Promise<Instance> => {
      const stateDir = join(directory, name);
      const config = { applicationId: "app", transport, stateDir, commitIntervalMs, sessionTimeoutMs: 10_000 };
      const instance = new Instance(topology, config);
      instances.push(instance);
      await instance.streams.start();
      return instance;
    },
    round: (value: string) =>
      probe.write(
        "in",
        KEYS.map((key) => ({ key, value })),
      ),
    /** Every update, by key. */
    updates: async (): Promise<Map<string, number[]>> => {
      const found = new Map<string, number[]>(KEYS.map((key) => [key, []]));
      for (const { key, value } of await probe.read("out")) {
        found.get(String(key))?.push(int64.deserialize(value as Buffer));
      }
      return found;
    },
  };
}

const each = (counts: readonly number[]): Map<string, readonly number[]> => new Map(KEYS.map((key) => [key, counts]));

test("all tasks of a stream thread commit in one transaction, and none is begun between commits", async () => {
  const app = await counting();
  const transport = new NotingTransport({ log: app.log });
  await (await app.start("1", transport)).runs(PARTITIONS);
  for (let round = 0; round < 10; round++) {
    await app.round("x");
    await app.probe.caughtUp("app", "in");
  }
  await eventually("the last commit has ended", () => transport.events.at(-1)?.what === "end");
  const widths = transport.events.flatMap((event) => (event.what === "offsets" ? [event.partitions] : []));
  expect(Math.max(...widths)).toBe(PARTITIONS);
  expect(transport.producers).toBe(1);
  // Begun and ended by turns, and nothing is begun while nothing is committed.
  await new Promise((resolve) => setTimeout(resolve, 200));
  const turns = transport.events.flatMap(({ what }) => (what === "begin" || what === "end" ? [what] : []));
  expect(turns).toEqual(widths.flatMap(() => ["begin", "end"]));
});

// It may not fetch before, and stood still until the interval was over.
test("the first position of a task that opens after a commit is committed at once", async () => {
  const app = await counting({ commitIntervalMs: 9_000 });
  await app.round("x");
  await app.start("1", new NotingTransport({ log: app.log }));
  await eventually("all are processed", () => app.processed.length === KEYS.length, 5_000);
});

// A commit's markers move the positions in a repartition topic, which is something to commit: that has to end.
test("an application with a repartition topic comes to rest", async () => {
  const app = await counting({
    build: (input) => {
      input
        .groupBy((value) => value, { key: string, name: "by-value" })
        .count("by-value")
        .toStream()
        .to("out");
    },
    // Long enough for a commit to be waited for, and so for its transaction to be announced.
    commitIntervalMs: 200,
  });
  const transport = new NotingTransport({ log: app.log });
  await app.start("1", transport);
  for (let round = 0; round < 5; round++) {
    await app.round(`${round}`);
    await app.probe.caughtUp("app", "in");
  }
  let before = -1;
  await eventually("no more is committed", async () => {
    const isAtRest = transport.events.length === before;
    before = transport.events.length;
    await new Promise((resolve) => setTimeout(resolve, 500));
    return isAtRest;
  });
});

test("what was processed on top of a commit that fails is discarded with it, and processed again", async () => {
  const app = await counting();
  const transport = new NotingTransport({ log: app.log });
  await (await app.start("1", transport)).runs(PARTITIONS);
  await app.round("first");
  await app.probe.caughtUp("app", "in");
  const end = transport.hold();
  await app.round("second");
  await eventually("a commit is on its way", () => transport.isHeld);
  await app.round("third");
  const times = (value: string): number => app.processed.filter((one) => one === value).length;
  await eventually("all are processed", () => times("second") === KEYS.length && times("third") === KEYS.length);
  end("abort");
  await app.probe.caughtUp("app", "in");
  expect(times("first")).toBe(KEYS.length);
  expect(times("third")).toBe(2 * KEYS.length);
  expect(await app.updates()).toEqual(each([1, 2, 3]));
});

test("an instance joins again only when the commit on its way has ended, and each commit names the generation it was processed under", async () => {
  const app = await counting();
  const transport = new NotingTransport({ log: app.log });
  const first = await (await app.start("1", transport)).runs(PARTITIONS);
  await app.round("first");
  await app.probe.caughtUp("app", "in");
  const end = transport.hold();
  await app.round("second");
  await eventually("a commit is on its way", () => transport.isHeld);
  const second = await app.start("2", new EmbeddedTransport({ log: app.log }));
  await eventually("it hears of the second", () => transport.member?.status === "rebalancing");
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(transport.isHeld).toBe(true);
  end("commit");
  for (const instance of [first, second]) await instance.runs(PARTITIONS / 2);
  await app.round("third");
  await app.probe.caughtUp("app", "in");

  let generation = -1;
  let isOpen = false;
  for (const event of transport.events) {
    if (event.what === "join") expect(isOpen, "a join within a commit").toBe(false);
    if (event.what === "joined") generation = event.generation;
    if (event.what === "offsets") expect(event.generation).toBe(generation);
    if (event.what === "begin") isOpen = true;
    if (event.what === "end") isOpen = false;
  }
  expect(transport.events.filter(({ what }) => what === "joined").length).toBeGreaterThan(1);
  expect(await app.updates()).toEqual(each([1, 2, 3]));
});
