import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { count, EmbeddedLog, EmbeddedTransport, KafkaStreams, StreamsBuilder, sum, tumbling } from "millrace";
import { string } from "millrace/serdes";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually, LogProbe } from "../../testing/log-probe.suite.js";
import { topologyDiff } from "./topology-diff.js";

const stateDir = mkdtempSync(join(tmpdir(), "millrace-diff-"));
afterAll(() => rmSync(stateDir, { recursive: true }));
const applicationId = "sums";

interface Shape {
  readonly store?: string;
  readonly sizeMs?: number;
  readonly more?: boolean;
}

function pipeline({ store = "sums", sizeMs = 1_000, more = false }: Shape = {}) {
  const builder = new StreamsBuilder();
  const fields = { n: count(), ...(more ? { characters: sum((value: string) => value.length) } : {}) };
  const table = builder
    .stream("in", { key: string, value: string })
    .groupByKey()
    .windowedBy(tumbling({ sizeMs, graceMs: 0 }));
  if (store === "sums") table.aggregate("sums", fields, { retentionMs: 5_000 });
  else table.aggregate("totals", fields, { retentionMs: 5_000 });
  return builder.build();
}

const diff = (shape?: Shape) => topologyDiff(pipeline(shape), { stateDir, applicationId });

beforeAll(async () => {
  const log = new EmbeddedLog({ file: ":memory:" });
  const probe = new LogProbe(new EmbeddedTransport({ log }));
  await probe.transport.connect();
  await probe.createTopic("in", 2);
  const streams = new KafkaStreams(pipeline(), { applicationId, transport: new EmbeddedTransport({ log }), stateDir });
  await streams.start();
  await probe.write("in", [{ key: "ann", value: "hello" }]);
  await eventually("it runs, and all is read", async () => {
    return streams.state === "RUNNING" && (await probe.lag(applicationId, "in")) === 0;
  });
  // While it runs: the files are only read.
  expect(diff()).toEqual({ text: "same     sums\n", exitCode: 0 });
  await streams.close();
  log.close();
});

test("the topology that made the state differs in nothing", () => {
  expect(diff()).toEqual({ text: "same     sums\n", exitCode: 0 });
});

test("a field added is told with what becomes of the rows", () => {
  const { text, exitCode } = diff({ more: true });
  expect(text).toMatch(/^changed {2}sums: field characters added: in rows .* initial value\n$/);
  expect(exitCode).toBe(0);
});

test("what a start would refuse is told with the reason and the ways out, and the exit code says so", () => {
  const { text, exitCode } = diff({ sizeMs: 2_000 });
  expect(text).toMatch(/^refused {2}sums: sizeMs was 1000 and is 2000\. .*new name.*reset/);
  expect(exitCode).toBe(1);
});

test("a store renamed is two lines: the new one, and the one that would be left behind", () => {
  const { text, exitCode } = diff({ store: "totals" });
  expect(text).toMatch(
    /^added {4}totals: it is new .*\nrefused {2}sums: it is gone and "totals" of the same kind is new/,
  );
  expect(exitCode).toBe(1);
});

test("for programs it is JSON, with the same exit code", () => {
  const { text, exitCode } = topologyDiff(pipeline({ sizeMs: 2_000 }), { stateDir, applicationId }, { json: true });
  expect(JSON.parse(text)).toEqual([
    expect.objectContaining({ store: "sums", refused: expect.stringContaining("sizeMs was 1000 and is 2000") }),
  ]);
  expect(exitCode).toBe(1);
});

test("where there is no state the directory is named", () => {
  const nowhere = { stateDir: join(stateDir, "nowhere"), applicationId };
  expect(() => topologyDiff(pipeline(), nowhere)).toThrow(`there is no state of "sums": ${nowhere.stateDir}`);
});
