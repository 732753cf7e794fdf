import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { int64, string } from "../serdes/index.js";
import { LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { ThreadFailureAction } from "./config.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { Instance } from "./engine.suite.js";

let stateDir: string;
let log: EmbeddedLog;
let probe: LogProbe;
let instance: Instance;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "millrace-failure-"));
  log = new EmbeddedLog({ file: ":memory:" });
  probe = new LogProbe(new EmbeddedTransport({ log }));
  await probe.transport.connect();
  await probe.createTopic("in", 1);
  await probe.createTopic("out", 1);
});

afterEach(async () => {
  await instance.streams.close();
  log.close();
  await rm(stateDir, { recursive: true, force: true });
});

/** Counts each record, and throws so many times at "poison". */
async function start(throws: number, onThreadFailure?: (error: Error) => ThreadFailureAction): Promise<void> {
  let thrown = 0;
  const builder = new StreamsBuilder();
  builder
    .stream("in", { key: string, value: string })
    .filter((value) => {
      if (value === "poison" && thrown++ < throws) throw new Error(`out of order, the ${thrown}. time`);
      return true;
    })
    .groupByKey()
    .count("counts", { cache: false })
    .toStream()
    .to("out", { value: int64 });
  instance = new Instance(builder.build(), {
    applicationId: "app",
    transport: new EmbeddedTransport({ log }),
    stateDir,
    commitIntervalMs: 5,
    ...(onThreadFailure === undefined ? {} : { onThreadFailure }),
  });
  await instance.streams.start();
  await probe.write(
    "in",
    ["x", "x", "poison", "x"].map((value) => ({ key: "ann", value })),
  );
}

async function counts(): Promise<number[]> {
  return (await probe.read("out")).map(({ value }) => int64.deserialize(value as Buffer));
}

const replacements = (): number => instance.streams.metrics.counter("thread_replacements_total", {}).value;

test("replace-thread: it goes on from what is committed, and every record counts once", async () => {
  const asked: string[] = [];
  await start(2, (error) => {
    asked.push(error.message);
    return "replace-thread";
  });
  await probe.caughtUp("app", "in");
  expect(await counts()).toEqual([1, 2, 3, 4]);
  await instance.running();
  expect(asked).toHaveLength(2);
  expect(asked[0]).toContain("out of order, the 1. time");
  expect(replacements()).toBe(2);
  const said = instance.lines.filter(({ message }) => message.startsWith("stream thread 1 is replaced: "));
  expect(said).toHaveLength(2);
});

test("replace-thread: what never gets anywhere ends the instance after five failures without a commit", async () => {
  await start(Number.POSITIVE_INFINITY, () => "replace-thread");
  const failure = await instance.failure();
  expect(failure.message).toContain("out of order");
  expect(replacements()).toBe(4);
  expect(await counts()).toEqual([]);
});

test.each<[string, ((error: Error) => ThreadFailureAction) | undefined]>([
  ["by default", undefined],
  ["with shutdown-client", () => "shutdown-client"],
  [
    "where the handler throws itself",
    () => {
      throw new Error("the handler's own");
    },
  ],
])("%s, the instance ends with the error", async (_, onThreadFailure) => {
  await start(1, onThreadFailure);
  expect((await instance.failure()).message).toContain("out of order");
  expect(replacements()).toBe(0);
});
