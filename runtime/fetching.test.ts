import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { string } from "../serdes/index.js";
import { LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { Instance } from "./engine.suite.js";

const PARTITIONS = 2;
const FETCHES = 20;
const BYTES_OF_A_FETCH = 2 * 1024 * 1024;
/** How long a broker that has nothing keeps a fetch of all partitions. */
const LONG_POLL_SECONDS = 0.5;

test("a backlog in one partition is not read at the pace at which a fetch of the empty ones is answered", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-fetching-"));
  const log = new EmbeddedLog({ file: ":memory:" });
  const probe = new LogProbe(new EmbeddedTransport({ log }));
  await probe.transport.connect();
  await probe.createTopic("in", PARTITIONS);
  const value = "v".repeat(BYTES_OF_A_FETCH / 4);
  const backlog = Array.from({ length: FETCHES * 4 }, () => ({ key: "k", value, partition: 0 }));
  await probe.write("in", backlog);

  let processed = 0;
  const builder = new StreamsBuilder();
  builder.stream("in", { key: string, value: string }).foreach(() => {
    processed++;
  });
  const transport = new EmbeddedTransport({ log });
  // So little that one fetch is more than a partition's share, which leaves it out of the next.
  const instance = new Instance(builder.build(), {
    ...{ applicationId: "app", transport, stateDir },
    bufferedBytesMax: 64 * 1024,
  });
  onTestFinished(async () => {
    await instance.streams.close();
    await probe.close();
    log.close();
    await rm(stateDir, { recursive: true, force: true });
  });
  await instance.streams.start();
  await instance.runs(PARTITIONS);
  const beganMs = performance.now();
  await probe.caughtUp("app", "in");
  expect(processed).toBe(backlog.length);
  expect((performance.now() - beganMs) / 1_000).toBeLessThan((FETCHES * LONG_POLL_SECONDS) / 2);
});
