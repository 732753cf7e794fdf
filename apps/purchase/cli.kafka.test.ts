import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { LoadStream } from "../../bench/load.js";
import { startLocalKafka } from "../../testing/kafka/local-kafka.js";
import { eventually } from "../../testing/log-probe.suite.js";
import { buildIfStale, logLines, Pipeline } from "./pipeline.suite.js";

const START_MS = Date.UTC(2026, 10, 22, 10);
const ERROR_LEVEL = 50;

beforeAll(buildIfStale);

async function openWithInput(): Promise<Pipeline> {
  const pipeline = await Pipeline.open();
  await pipeline.probe.createTopic(pipeline.input, 3);
  return pipeline;
}

/** What the process says at level error and above. */
function errors(process: Parameters<typeof logLines>[0]): (string | undefined)[] {
  return logLines(process)
    .filter(({ level }) => level >= ERROR_LEVEL)
    .map(({ msg }) => msg);
}

describe("the end of an instance", () => {
  test("SIGTERM in the middle of the work: exit code 0 within 10 s, and what it has done is committed", async () => {
    const pipeline = await Pipeline.open();
    const load = await LoadStream.open(pipeline.probe.transport, {
      topic: pipeline.input,
      users: 1_000,
      partitions: 3,
      late: 0.1,
      seed: 7,
    });
    await load.produce(30_000, START_MS, 3_600_000);
    const instance = pipeline.start();
    const left = async (): Promise<number> => pipeline.probe.lag(pipeline.applicationId, pipeline.input);
    await eventually("some of the work is done", async () => (await left()) < 30_000);
    const beganMs = performance.now();
    expect(await instance.end("SIGTERM")).toBe(0);
    expect(performance.now() - beganMs).toBeLessThan(10_000);
  });

  test("a second signal ends it at once, with that signal's exit code", async () => {
    const pipeline = await openWithInput();
    const instance = pipeline.start();
    await pipeline.ready(instance);
    // Frozen, it hears both at once: there is no time to close in between, and either may come second.
    instance.signal("SIGSTOP");
    instance.signal("SIGINT");
    instance.signal("SIGTERM");
    expect([130, 143]).toContain(await instance.end("SIGCONT"));
  });

  test("SIGTERM while it waits for its input: exit code 0", async () => {
    const pipeline = await Pipeline.open();
    const instance = pipeline.start();
    await eventually("the endpoints are there", async () => (await instance.get("/healthz")) !== undefined);
    expect(await instance.end("SIGTERM")).toBe(0);
  });
});

test("without its broker it stays up, healthy and not ready, says why, and a signal still ends it within 10 s", async () => {
  const kafka = await startLocalKafka();
  onTestFinished(() => kafka.stop());
  const pipeline = await Pipeline.open(kafka.brokers);
  await pipeline.probe.createTopic(pipeline.input, 3);
  const instance = pipeline.start("1", { SESSION_TIMEOUT_MS: "6000" });
  await pipeline.ready(instance);
  await kafka.kill();
  await eventually("it is not ready", async () => (await instance.get("/readyz"))?.status === 503);
  const { state, reason } = JSON.parse((await instance.get("/readyz"))?.text ?? "") as Record<string, string>;
  expect(state).toBe("REBALANCING");
  expect(reason).toMatch(/unavailable|brokers|connect/);
  expect((await instance.get("/healthz"))?.status).toBe(200);

  const beganMs = performance.now();
  expect(await instance.end("SIGTERM")).toBe(0);
  expect(performance.now() - beganMs).toBeLessThan(10_000);
});

describe("an instance that cannot start", () => {
  test("wrong settings: exit code 2, and one line for each fault that names its key", async () => {
    const pipeline = await Pipeline.open();
    const instance = pipeline.start("1", {
      COMMIT_INTERVAL_MS: "soon",
      HTTP_PORT: "99999",
      AUTO_OFFSET_RESET: "middle",
      PROCESSING_GUARANTEE: "twice",
    });
    expect(await instance.ended).toBe(2);
    const lines = instance.output.trimEnd().split("\n");
    const keys = lines.map((line) => line.split(/[: ]/)[0]);
    expect(new Set(keys)).toEqual(
      new Set(["COMMIT_INTERVAL_MS", "HTTP_PORT", "AUTO_OFFSET_RESET", "PROCESSING_GUARANTEE"]),
    );
    expect(lines).toHaveLength(4);
  });

  test("a second process on one state directory: refused with one line and exit code 1, and the first goes on", async () => {
    const pipeline = await openWithInput();
    const first = pipeline.start();
    await pipeline.ready(first);
    const second = pipeline.start();
    expect(await second.ended).toBe(1);
    expect(errors(second)).toEqual([expect.stringContaining(pipeline.stateDir())]);
    expect(await first.isReady()).toBe(true);
  });

  test("a state directory whose process was killed is free", async () => {
    const pipeline = await openWithInput();
    const first = pipeline.start();
    await pipeline.ready(first);
    await first.end("SIGKILL");
    await pipeline.ready(pipeline.start());
  });

  test("a port in use: one line that names it, and exit code 1", async () => {
    const pipeline = await openWithInput();
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const instance = pipeline.start("1", { HTTP_PORT: String(port) });
    expect(await instance.ended).toBe(1);
    expect(errors(instance)).toEqual([expect.stringContaining(String(port))]);
    server.close();
  });
});

test("with --json run, produce and live say on stdout what they do, one object a line, and end with what they did", async () => {
  const pipeline = await Pipeline.open();
  const eventsOf = ({ output }: { readonly output: string }): { readonly event: string; [field: string]: unknown }[] =>
    output
      .split("\n")
      .filter((line) => line.startsWith('{"event":'))
      .map((line) => JSON.parse(line) as { readonly event: string });
  const named = (process: { readonly output: string }, event: string) =>
    eventsOf(process).filter((one) => one.event === event);
  const instance = pipeline.command(["run", "--json"], { STATE_DIR: pipeline.stateDir() });
  const live = pipeline.command(["live", "--json"]);
  await eventually("live waits for the topics", async () => named(live, "notice").length > 0);
  const producer = pipeline.command(
    "produce --json --rate 0 --count 200 --partitions 2 --seed 3 --late 0.1".split(" "),
  );
  expect(await producer.ended).toBe(0);
  const made = eventsOf(producer).at(-1)!;
  expect(made).toMatchObject({
    event: "summary",
    topic: pipeline.input,
    produced: 200,
    expired: 0,
    invalid: 0,
    seed: 3,
  });

  await eventually("live has seen all of it", async () => named(live, "purchase").length === 200, 60_000);
  await eventually("the late ones too", async () => named(live, "late").length === made.late, 60_000);
  expect(await live.end("SIGINT")).toBe(0);
  await pipeline.caughtUp();
  expect(await instance.end("SIGTERM")).toBe(0);
  expect(named(instance, "listening")).toEqual([{ event: "listening", url: expect.stringMatching(/^http:.*:\d+\/$/) }]);
  expect(named(instance, "state").map(({ state }) => state)).toContain("RUNNING");
  expect(eventsOf(instance).at(-1)).toMatchObject({
    event: "summary",
    exit_code: 0,
    error: null,
    records_consumed: 200,
    late: made.late,
    dead_letters: 0,
  });
});

test("without its input topic it stays up, healthy and not ready, says what it waits for, and goes on when the topic comes", async () => {
  const pipeline = await Pipeline.open();
  const instance = pipeline.start();
  await eventually(
    "it says that it waits",
    async () => (await instance.get("/readyz"))?.text.includes(pipeline.input) === true,
  );
  const answer = await instance.get("/readyz");
  expect(answer?.status).toBe(503);
  expect(JSON.parse(answer?.text ?? "")).toMatchObject({
    state: "REBALANCING",
    reason: expect.stringContaining("waiting for topic"),
    tasks: [],
  });
  expect((await instance.get("/healthz"))?.status).toBe(200);

  await pipeline.probe.createTopic(pipeline.input, 3);
  await pipeline.ready(instance);
  const { tasks } = JSON.parse((await instance.get("/readyz"))?.text ?? "") as { readonly tasks: readonly unknown[] };
  expect(tasks).toHaveLength(3);
  expect(await instance.end("SIGTERM")).toBe(0);
});
