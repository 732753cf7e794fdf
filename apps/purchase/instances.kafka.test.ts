import { rm } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { LoadStream } from "../../bench/load.js";
import type { PipelineProcess } from "../../bench/pipeline-process.js";
import { buildIfStale, logLines, NO_DIFFERENCES, Pipeline } from "./pipeline.suite.js";
import { Random } from "./random.js";

const PARTITIONS = 6;
const START_MS = Date.UTC(2026, 10, 22, 10);
const HOUR_MS = 3_600_000;
/** A broker's default minimum. */
const SESSION_TIMEOUT_MS = "6000";

beforeAll(buildIfStale);

function openLoad(pipeline: Pipeline, seed: number): Promise<LoadStream> {
  const { input: topic } = pipeline;
  return LoadStream.open(pipeline.probe.transport, { topic, users: 1_000, partitions: PARTITIONS, late: 0.1, seed });
}

/** Writes purchases a few at a time, so that there is a middle to stop and kill in. */
class PacedLoad {
  readonly done: Promise<void>;
  made = 0;
  #ended = false;

  constructor(load: LoadStream, pace: { readonly records: number; readonly perSecond: number }) {
    this.done = this.#write(load, pace);
  }

  /** Writes no more; what was written stays. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.done;
  }

  async reaches(made: number): Promise<void> {
    while (this.made < made) await pause(20);
  }

  async #write(load: LoadStream, { records, perSecond }: { readonly records: number; readonly perSecond: number }) {
    const round = Math.ceil(perSecond / 10);
    const beganMs = performance.now();
    while (this.made < records && !this.#ended) {
      const timeMs = (made: number): number => Math.floor((made / records) * 2 * HOUR_MS);
      await load.produce(round, START_MS + timeMs(this.made), timeMs(round));
      this.made += round;
      await pause(Math.max(0, beganMs + (this.made / perSecond) * 1_000 - performance.now()));
    }
  }
}

function pause(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

async function expectEqual(pipeline: Pipeline, load: LoadStream): Promise<void> {
  expect(await pipeline.differences(load.expected)).toEqual(NO_DIFFERENCES);
  const late = await pipeline.lateIds();
  expect(new Set(late)).toEqual(load.lateIds);
  // exactly_once, the default: each stands there once, whatever was killed.
  expect(late).toHaveLength(load.lateIds.size);
  expect(await pipeline.probe.read(pipeline.deadLetter)).toEqual([]);
  expect(await pipeline.probe.read(pipeline.expired)).toEqual([]);
}

interface Joined {
  readonly active: readonly string[];
}

function joined(process: PipelineProcess): Joined[] {
  return logLines(process).filter(({ msg }) => msg?.startsWith("generation ") === true) as unknown as Joined[];
}

function joins(process: PipelineProcess): number {
  return joined(process).length;
}

function lastTasks(process: PipelineProcess): readonly string[] {
  return [...(joined(process).at(-1)?.active ?? [])].sort();
}

function restoredRecords(process: PipelineProcess): number {
  const lines = logLines(process).filter(({ msg }) => msg?.startsWith("restored store") === true);
  return lines.reduce((sum, { records }) => sum + Number(records), 0);
}

describe("aggregates equal the sums of the purchases, to the cent", () => {
  test("with one instance, and each late purchase stands in the late topic once", async () => {
    const pipeline = await Pipeline.open();
    const load = await openLoad(pipeline, 1);
    await load.produce(50_000, START_MS, 2 * HOUR_MS);
    const instance = pipeline.start();
    await pipeline.caughtUp();
    expect(await instance.end("SIGTERM")).toBe(0);

    await expectEqual(pipeline, load);
    for (const { timestampMs, value } of await pipeline.probe.read(pipeline.late)) {
      const late = JSON.parse(String(value)) as Record<string, string>;
      expect(late).toMatchObject({ is_late: 1, event_time: late.timestamp });
      expect(timestampMs).toBe(Date.parse(late.timestamp as string));
      expect(Date.parse(late.ingestion_time as string) - timestampMs).toBeGreaterThan(HOUR_MS / 2);
    }
  });

  test("with three instances, of which one is stopped and one is killed in the middle", async () => {
    const pipeline = await Pipeline.open();
    const load = await openLoad(pipeline, 2);
    const environment = { SESSION_TIMEOUT_MS };
    const stays = pipeline.start("1", environment);
    const isStopped = pipeline.start("2", environment);
    const isKilled = pipeline.start("3", environment);
    for (const instance of [stays, isStopped, isKilled]) await pipeline.ready(instance);
    const paced = new PacedLoad(load, { records: 40_000, perSecond: 5_000 });
    await paced.reaches(10_000);
    expect(await isStopped.end("SIGTERM")).toBe(0);
    await paced.reaches(20_000);
    expect(await isKilled.end("SIGKILL")).toBe("SIGKILL");
    await paced.done;
    await pipeline.caughtUp(90_000);
    expect(await stays.end("SIGTERM")).toBe(0);

    await expectEqual(pipeline, load);
  });

  test("with two instances, of which one is frozen for longer than its session, and thawed", async () => {
    const pipeline = await Pipeline.open();
    const load = await openLoad(pipeline, 7);
    const environment = { SESSION_TIMEOUT_MS };
    const stays = pipeline.start("1", environment);
    const isFrozen = pipeline.start("2", environment);
    for (const instance of [stays, isFrozen]) await pipeline.ready(instance);
    const paced = new PacedLoad(load, { records: 80_000, perSecond: 10_000 });
    await paced.reaches(20_000);
    isFrozen.signal("SIGSTOP");
    // The others must not only have its partitions, they must have got on with them: then what it still holds is old.
    await paced.done;
    await pipeline.caughtUp(90_000);
    isFrozen.signal("SIGCONT");
    await load.produce(1_000, START_MS + 2 * HOUR_MS, 60_000);
    await pipeline.ready(isFrozen);
    await pipeline.caughtUp();
    for (const instance of [stays, isFrozen]) expect(await instance.end("SIGTERM")).toBe(0);

    await expectEqual(pipeline, load);
  });

  test("after the state directory is wiped, and everything is restored from the changelog", async () => {
    const pipeline = await Pipeline.open();
    const load = await openLoad(pipeline, 3);
    await load.produce(20_000, START_MS, HOUR_MS);
    const before = pipeline.start();
    await pipeline.caughtUp();
    expect(await before.end("SIGTERM")).toBe(0);
    await rm(pipeline.stateDir(), { recursive: true });
    const changelog = await pipeline.probe.read(pipeline.changelog);
    await load.produce(20_000, START_MS + HOUR_MS, HOUR_MS);
    const after = pipeline.start();
    await pipeline.ready(after);
    await pipeline.caughtUp();
    expect(await after.end("SIGTERM")).toBe(0);

    await expectEqual(pipeline, load);
    expect(changelog.length).toBeGreaterThan(0);
    expect(restoredRecords(after)).toBe(changelog.length);
  });

  test("after ten SIGKILLs at random moments, and an instance that comes back goes on at once", async () => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
    console.log(`ten SIGKILLs: seed ${seed}; SEED=${seed} kills after the same times again`);
    const random = new Random(seed);
    const pipeline = await Pipeline.open();
    const load = await openLoad(pipeline, 4);
    const paced = new PacedLoad(load, { records: 120_000, perSecond: 3_000 });
    for (let kills = 0; kills < 10; kills++) {
      const instance = pipeline.start();
      // Half of them while they start, the others while they work.
      if (kills % 2 === 1) await pipeline.ready(instance);
      await pause(random.fraction() * 1_000);
      expect(await instance.end("SIGKILL")).toBe("SIGKILL");
    }
    const beganMs = performance.now();
    const last = pipeline.start();
    await pipeline.ready(last);
    // A dynamic member would wait for the session of the killed one to end: 45 s.
    expect(performance.now() - beganMs).toBeLessThan(20_000);
    await paced.end();
    await pipeline.caughtUp();
    expect(await last.end("SIGTERM")).toBe(0);

    await expectEqual(pipeline, load);
  });
});

describe("a rolling restart of three with ON_CLOSE=stay", () => {
  test.each(["SIGTERM", "SIGKILL"] as const)(
    "by %s under load moves no task, and restores tails only",
    async (signal) => {
      const pipeline = await Pipeline.open();
      const load = await openLoad(pipeline, 8);
      // Long enough for a restart on a busy machine: whoever is back within its session has its partitions.
      const environment = { ON_CLOSE: "stay", SESSION_TIMEOUT_MS: "30000" };
      const numbers = ["1", "2", "3"];
      const instances = numbers.map((number) => pipeline.start(number, environment));
      for (const instance of instances) await pipeline.ready(instance);
      const paced = new PacedLoad(load, { records: 200_000, perSecond: 2_000 });
      await paced.reaches(4_000);
      const before = instances.map(lastTasks);
      const generations = instances.map(joins);
      for (const [at, number] of numbers.entries()) {
        await (instances[at] as PipelineProcess).end(signal);
        const back = pipeline.start(number, environment);
        await pipeline.ready(back);
        instances[at] = back;
        expect(lastTasks(back)).toEqual(before[at]);
        // Of some 3,000 rows of a task a tail is what one commit or two have written.
        expect(restoredRecords(back)).toBeLessThan(2_000);
        for (const [other, instance] of instances.entries())
          if (other > at) expect(joins(instance)).toBe(generations[other]);
      }
      await paced.end();
      await pipeline.caughtUp();
      for (const instance of instances) expect(await instance.end("SIGTERM")).toBe(0);

      await expectEqual(pipeline, load);
    },
  );
});

describe("AUTO_OFFSET_RESET=latest", () => {
  test("starts at the end, and what arrives during a rebalance right after the start is not lost", async () => {
    const pipeline = await Pipeline.open();
    const old = await openLoad(pipeline, 5);
    await old.produce(5_000, START_MS, HOUR_MS);
    const environment = { AUTO_OFFSET_RESET: "latest", SESSION_TIMEOUT_MS };
    const first = pipeline.start("1", environment);
    await pipeline.ready(first);
    const load = await openLoad(pipeline, 6);
    const second = pipeline.start("2", environment);
    const paced = new PacedLoad(load, { records: 15_000, perSecond: 5_000 });
    await pipeline.ready(second);
    await paced.done;
    await pipeline.caughtUp();
    expect(await second.end("SIGTERM")).toBe(0);
    expect(await first.end("SIGTERM")).toBe(0);

    await expectEqual(pipeline, load);
  });
});
