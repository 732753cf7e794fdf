import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { string, unvalidatedJson } from "../serdes/index.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { tumbling } from "../topology/windows.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { KafkaStreams } from "./streams.js";

test("the late side of a window is given its late records and no rows of the table, so its count is theirs", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-late-side-"));
  const log = new EmbeddedLog({ file: ":memory:" });
  const client = new EmbeddedTransport({ log });
  await client.connect();
  const probe = new LogProbe(client);
  for (const topic of ["in", "rows", "late"]) await probe.createTopic(topic, 1);
  const builder = new StreamsBuilder();
  const counts = builder
    .stream("in", { key: string, value: string })
    .groupByKey()
    .windowedBy(tumbling({ sizeMs: 10, graceMs: 0 }))
    .count("counts");
  counts.toStream().to("rows", { value: unvalidatedJson() });
  counts.late.to("late", { value: unvalidatedJson() });
  const transport = new EmbeddedTransport({ log });
  const streams = new KafkaStreams(builder.build(), { applicationId: "app", transport, stateDir, commitIntervalMs: 5 });

  // The third opens [20,30) and closes [0,10): the fourth is late for it.
  await probe.write(
    "in",
    [1, 2, 25, 3, 26].map((timestampMs) => ({ key: "k", value: "v", timestampMs })),
  );
  await streams.start();
  await eventually("all are counted", async () => (await probe.read("late")).length === 1, 10_000);
  await streams.close();

  const given = new Map(streams.metrics.series("node_records_total").map(([{ node }, count]) => [node, count]));
  expect(given.get("counts.late")).toBe(1);
  expect(given.get("counts.toStream")).toBe((await probe.read("rows")).length);
  await client.close();
  log.close();
  await rm(stateDir, { recursive: true, force: true });
});
