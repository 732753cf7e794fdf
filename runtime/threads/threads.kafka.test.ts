import { BroadcastChannel } from "node:worker_threads";
import { describe, expect, onTestFinished, test } from "vitest";
import { int64 } from "../../serdes/serde.js";
import { eventually } from "../../testing/log-probe.suite.js";
import { TYPESCRIPT_THREADS } from "../../testing/typescript-threads.suite.js";
import { StreamsError } from "../../topology/errors.js";
import type { StreamsConfig } from "../config.js";
import { Application, type Instance } from "../engine.suite.js";
import counting, { type CountingData, type Order, POISON } from "./counting.suite.js";

const KEYS = Array.from({ length: 60 }, (_, at) => `key-${at}`);
const PARTITIONS = 6;

/** A counting application on the tests' Kafka, and rounds of one record for each key that go on until they are stopped. */
class Counting {
  rounds = 0;
  readonly #data: CountingData;
  readonly #orders: BroadcastChannel;
  #loading: Promise<void> | undefined;
  #stopping = false;

  private constructor(
    readonly application: Application,
    readonly input: string,
    readonly output: string,
  ) {
    const { id: applicationId, brokers } = application;
    this.#data = { applicationId, brokers, input, output, orders: applicationId };
    this.#orders = new BroadcastChannel(applicationId);
    this.#orders.unref();
  }

  static async open(): Promise<Counting> {
    const application = await Application.open();
    const [input, output] = [await application.topic("in", PARTITIONS), await application.topic("out", PARTITIONS)];
    const counted = new Counting(application, input, output);
    onTestFinished(() => counted.#orders.close());
    return counted;
  }

  start(count: number, config: Partial<StreamsConfig> = {}, data: Partial<CountingData> = {}): Promise<Instance> {
    const { topology, config: built } = counting({ ...this.#data, ...data }, { threads: count });
    const threads = { count, ...built.threads, execArgv: TYPESCRIPT_THREADS, ...config.threads };
    return this.application.start(topology, { guarantee: "exactly_once", ...config, threads });
  }

  kill(order: Order): void {
    this.#orders.postMessage(order);
  }

  async write(rounds = 1): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      await this.application.probe.write(
        this.input,
        KEYS.map((key) => ({ key, value: "x" })),
      );
      this.rounds++;
    }
  }

  /** Writes without a pause until `stop`. */
  load(): void {
    const writing = async (): Promise<void> => {
      while (!this.#stopping) await this.write();
    };
    this.#loading = writing();
    // A test that fails ends the log under it.
    this.#loading.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#loading;
  }

  async reaches(rounds: number): Promise<void> {
    await eventually(`${rounds} rounds`, () => this.rounds >= rounds);
  }

  /** The counts that were written of each key, in their order. */
  async counted(): Promise<ReadonlyMap<string, readonly number[]>> {
    await this.application.probe.caughtUp(this.application.id, this.input);
    const counted = new Map<string, number[]>(KEYS.map((key) => [key, []]));
    for (const { key, value } of await this.application.probe.read(this.output)) {
      counted.get(String(key))?.push(int64.deserialize(value as Buffer));
    }
    return counted;
  }

  async expectExact(): Promise<void> {
    const once = Array.from({ length: this.rounds }, (_, number) => number + 1);
    for (const [key, counts] of await this.counted()) expect(counts, key).toEqual(once);
  }
}

const replaced = ({ streams }: Instance): number => streams.metrics.counter("thread_replacements_total", {}).value;

describe("an instance with several stream threads", () => {
  test.each([2, 3])("of %i has all tasks, spread evenly, and counts every record once", async (count) => {
    const counted = await Counting.open();
    const instance = await (await counted.start(count)).runs(PARTITIONS);
    await eventually("the tasks are spread", () => {
      const { tasks } = instance.streams.status;
      const held = Array.from({ length: count }, (_, at) => tasks.filter(({ thread }) => thread === at + 1).length);
      return held.every((tasksOfOne) => tasksOfOne === PARTITIONS / count);
    });
    await counted.write(50);
    await counted.expectExact();
    expect(await instance.streams.metrics.text()).toContain(
      `millrace_records_consumed_total{topic="${counted.input}",application_id="${counted.application.id}"} ${50 * KEYS.length}`,
    );
    const beganMs = performance.now();
    await instance.streams.close();
    expect(performance.now() - beganMs).toBeLessThan(10_000);
    expect(instance.streams.state).toBe("NOT_RUNNING");
  });

  test("at_least_once: every count is written, and the last one is the number of records", async () => {
    const counted = await Counting.open();
    await (await counted.start(2, { guarantee: "at_least_once" })).runs(PARTITIONS);
    await counted.write(50);
    const all = Array.from({ length: 50 }, (_, number) => number + 1);
    for (const [key, counts] of await counted.counted()) {
      expect(new Set(counts), key).toEqual(new Set(all));
      expect(counts.at(-1), key).toBe(50);
    }
  });

  test("goes on over the same state with another number of threads, and waits for no session", async () => {
    const counted = await Counting.open();
    for (const [at, count] of [3, 1, 2].entries()) {
      const beganMs = performance.now();
      const config = { sessionTimeoutMs: 45_000, onClose: "stay" } as const;
      const instance = await (await counted.start(count, config)).runs(PARTITIONS);
      // A member that is gone for good would hold its partitions for 45 s.
      expect(performance.now() - beganMs, `start ${at + 1}`).toBeLessThan(20_000);
      await counted.write(20);
      await counted.expectExact();
      expect(instance.restored("counts"), `start ${at + 1}`).toBe(0);
      await instance.streams.close();
    }
  });
});

describe("a stream thread that dies", () => {
  test.each(["throw", "reject", "exit", "memory"] as const)(
    "by %s is replaced, and the result is exact",
    async (how) => {
      const counted = await Counting.open();
      const threads = how === "memory" ? { resourceLimits: { maxOldGenerationSizeMb: 64 } } : {};
      const instance = await (await counted.start(2, { threads: { count: 2, ...threads } })).runs(PARTITIONS);
      counted.load();
      await counted.reaches(30);
      counted.kill({ thread: 2, how });
      await eventually("the thread is replaced", () => replaced(instance) === 1);
      await instance.runs(PARTITIONS);
      const before = counted.rounds;
      await counted.reaches(before + 30);
      await counted.stop();
      await counted.expectExact();
      expect(instance.streams.state).toBe("RUNNING");
      const told = instance.lines.filter(({ message }) => message.includes("stream thread 2 died"));
      expect(told).toHaveLength(1);
    },
  );

  test("again and again ends the instance, with the error of the last death", async () => {
    const counted = await Counting.open();
    const instance = await (await counted.start(2)).runs(PARTITIONS);
    const killing = setInterval(() => counted.kill({ thread: 1, how: "throw" }), 50);
    onTestFinished(() => clearInterval(killing));
    const error = await instance.failure();
    expect(error.code).toBe("THREAD_DIED");
    expect(error.message).toContain("a callback threw");
    await instance.streams.finished;
  });

  test("of an error that its onThreadFailure has it replaced after is replaced, within the limit", async () => {
    const counted = await Counting.open();
    const instance = await counted.start(2, {}, { onThreadFailure: "replace-thread" });
    await instance.runs(PARTITIONS);
    await counted.application.probe.write(counted.input, [{ key: "key-1", value: POISON }]);
    const error = await instance.failure();
    expect(error.code).toBe("RECORD_FAILED");
    await instance.streams.finished;
    expect(replaced(instance)).toBeGreaterThanOrEqual(4);
  });

  test("of an error that it can tell ends the instance with that error, and the others close cleanly", async () => {
    const counted = await Counting.open();
    const instance = await (await counted.start(2)).runs(PARTITIONS);
    await counted.write(5);
    await counted.expectExact();
    await counted.application.probe.write(counted.input, [{ key: "key-1", value: POISON }]);
    const error = await instance.failure();
    expect(error).toBeInstanceOf(StreamsError);
    expect(error.code).toBe("RECORD_FAILED");
    expect(error.message).toContain("poisoned");
    expect(replaced(instance)).toBe(0);
    await instance.streams.finished;
    // Nobody holds the directory or a place in the group any more.
    const next = await (await counted.start(1, { onError: { processing: "continue" } })).runs(PARTITIONS);
    expect(next.restored("counts")).toBe(0);
    await counted.write();
    await counted.expectExact();
  });
});
