import { beforeAll, expect, test } from "vitest";
import { LoadStream } from "../../bench/load.js";
import { buildIfStale, logLines, NO_DIFFERENCES, Pipeline } from "./pipeline.suite.js";

const PARTITIONS = 6;
const START_MS = Date.UTC(2026, 10, 22, 10);
const HOUR_MS = 3_600_000;

beforeAll(buildIfStale);

function openLoad(pipeline: Pipeline, seed: number): Promise<LoadStream> {
  const { input: topic } = pipeline;
  return LoadStream.open(pipeline.probe.transport, { topic, users: 1_000, partitions: PARTITIONS, late: 0.1, seed });
}

test.each([
  [2, "exactly_once"],
  [3, "exactly_once"],
  [2, "at_least_once"],
])(
  "with %i threads, %s, aggregates equal the sums of the purchases, and one instance tells of all",
  async (threads, guarantee) => {
    const pipeline = await Pipeline.open();
    const load = await openLoad(pipeline, 1);
    await load.produce(50_000, START_MS, 2 * HOUR_MS);
    const instance = pipeline.start("1", { THREADS: String(threads), PROCESSING_GUARANTEE: guarantee });
    await pipeline.ready(instance);
    await pipeline.caughtUp();
    expect(await pipeline.differences(load.expected)).toEqual(NO_DIFFERENCES);
    expect(new Set(await pipeline.lateIds())).toEqual(load.lateIds);

    const consumed = await instance.metric("millrace_records_consumed_total");
    expect([...consumed.values()].reduce((sum, value) => sum + value, 0)).toBe(50_000);
    const beganMs = performance.now();
    expect(await instance.end("SIGTERM")).toBe(0);
    expect(performance.now() - beganMs).toBeLessThan(10_000);
    const told = new Set(logLines(instance).map(({ thread }) => thread));
    for (let thread = 1; thread <= threads; thread++) expect(told).toContain(thread);
  },
);

test("three SIGKILLs with two threads, then three, then one: nothing is lost, nothing stands twice", async () => {
  const pipeline = await Pipeline.open();
  const load = await openLoad(pipeline, 2);
  for (const [at, threads] of [2, 3, 1].entries()) {
    const instance = pipeline.start("1", { THREADS: String(threads) });
    await pipeline.ready(instance);
    const loading = load.produce(20_000, START_MS + at * HOUR_MS, HOUR_MS);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await instance.end("SIGKILL")).toBe("SIGKILL");
    await loading;
  }
  const last = pipeline.start("1", { THREADS: "2" });
  await pipeline.ready(last);
  await pipeline.caughtUp();
  expect(await last.end("SIGTERM")).toBe(0);
  expect(await pipeline.differences(load.expected)).toEqual(NO_DIFFERENCES);
  expect((await pipeline.lateIds()).sort()).toEqual([...load.lateIds].sort());
});
