import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { string } from "../../serdes/serde.js";
import { TYPESCRIPT_THREADS } from "../../testing/typescript-threads.suite.js";
import { StreamsBuilder } from "../../topology/dsl.js";
import { resolveConfig, type StreamsConfig } from "../config.js";
import { EmbeddedTransport } from "../embedded/transport.js";
import { ConfigError } from "../errors.js";
import { KafkaJsTransport } from "../kafkajs/transport.js";
import { silentLogger } from "../logger.js";
import { defineApplication } from "./application.js";

const MODULE = new URL("file:///app/pipeline.js");
const kafka = (): KafkaJsTransport => new KafkaJsTransport({ client: { brokers: ["x:1"] }, logger: silentLogger });

function faults(config: Partial<StreamsConfig>): readonly string[] {
  try {
    resolveConfig({ applicationId: "app", transport: kafka(), ...config });
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.faults;
  }
}

test("several threads need a module, and one that is given plain data", () => {
  expect(faults({ threads: { count: 4, module: MODULE, data: { brokers: ["x:1"] } } })).toEqual([]);
  expect(faults({ threads: { count: 1 } })).toEqual([]);
  expect(faults({ threads: { count: 4 } })).toEqual([
    expect.stringMatching(/^threads: 4 threads need a module .* defineApplication$/),
  ]);
  expect(faults({ threads: { count: 4, module: MODULE, data: { now: () => 1 } } })).toEqual([
    expect.stringMatching(/^threads\.data: .* plain data \(.*could not be cloned/),
  ]);
});

test.each([0, 1.5, 1_025, Number.NaN])("%d is no number of threads", (count) => {
  expect(faults({ threads: { count, module: MODULE } })).toEqual([
    `threads: ${count} must be a whole number from 1 to 1024`,
  ]);
});

test("the embedded log has one thread", () => {
  const transport = new EmbeddedTransport({ file: ":memory:" });
  expect(faults({ transport, threads: { count: 2, module: MODULE } })).toEqual([
    "threads: 2 threads cannot share the embedded log, which is in one thread; use 1, or a Kafka broker",
  ]);
  expect(faults({ transport, threads: { count: 1, module: MODULE } })).toEqual([]);
});

test("an application is built with the data and the logger, and names its module for the threads", () => {
  const application = defineApplication("file:///app/echo.js", ({ topic }: { readonly topic: string }, { logger }) => {
    const builder = new StreamsBuilder();
    builder.stream(topic, { key: string, value: string }).to("out");
    return { topology: builder.build(), config: { applicationId: "echo", transport: kafka(), logger } };
  });
  const data = { topic: "in" };
  const { topology, config } = application(data, { threads: 3 });
  expect(topology.hash).toBe(application(data).topology.hash);
  expect(config.threads).toEqual({ count: 3, module: new URL("file:///app/echo.js"), data });
  expect(application(data).config.threads?.count).toBe(1);
});

test("a module that starts an application is refused in that application's threads", async () => {
  const streams = JSON.stringify(new URL("./messages.ts", import.meta.url).href);
  const source = `const { refuseInStreamThread } = await import(${streams}); refuseInStreamThread();`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
    execArgv: [...TYPESCRIPT_THREADS],
    workerData: { isStreamThread: true },
  });
  onTestFinished(async () => void (await worker.terminate()));
  const [error] = (await once(worker, "error")) as [Error];
  expect(error.message).toMatch(/^threads\.module: starts an application, .* module of its own$/);
});
