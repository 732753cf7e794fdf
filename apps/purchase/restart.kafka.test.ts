import { beforeAll, expect, test } from "vitest";
import { LoadStream } from "../../bench/load.js";
import { buildIfStale, logLines, Pipeline } from "./pipeline.suite.js";

beforeAll(buildIfStale);

test("an instance killed with SIGKILL and started again at the default session timeout restores only the tail, and processes again within seconds", async () => {
  const pipeline = await Pipeline.open();
  const load = await LoadStream.open(pipeline.probe.transport, {
    topic: pipeline.input,
    users: 20_000,
    partitions: 6,
    late: 0.1,
    seed: 11,
  });
  await load.produce(100_000, Date.UTC(2026, 10, 22, 10), 3_600_000);
  const first = pipeline.start();
  await pipeline.caughtUp();
  expect(await first.end("SIGKILL")).toBe("SIGKILL");
  const held = (await pipeline.probe.read(pipeline.changelog)).length;

  const beganMs = performance.now();
  const second = pipeline.start();
  await pipeline.ready(second);
  const tookS = (performance.now() - beganMs) / 1_000;
  const lines = logLines(second).filter(({ msg }) => msg?.startsWith("restored store") === true);
  const restored = lines.reduce((sum, { records }) => sum + Number(records), 0);
  console.log(
    `restart after SIGKILL: ready ${tookS.toFixed(2)} s after the process start, ${restored} of ${held} records restored`,
  );
  // At most the commits that Kafka had and the file did not yet: never everything.
  expect(restored).toBeLessThan(held);
  // The session of the killed one would have held a dynamic member back for 45 s.
  expect(tookS).toBeLessThan(20);
  await load.produce(1_000, Date.UTC(2026, 10, 22, 11), 60_000);
  await pipeline.caughtUp();
  expect(await second.end("SIGTERM")).toBe(0);
});
