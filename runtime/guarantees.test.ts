import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FAILURE_PHASES } from "../metrics/table.js";
import { int64, string } from "../serdes/index.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { ProcessingGuarantee } from "./config.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { KafkaStreams } from "./streams.js";

const USERS = ["ann", "bob", "cid", "dee"];
const ROUNDS = 12;
const PER_ROUND = 200;

/** Counts per key, every update written out: a record counted twice, or an output written twice, is a number that stands twice. */
function counting() {
  const builder = new StreamsBuilder();
  builder
    .stream("in", { key: string, value: string })
    .groupByKey()
    .count("counts", { cache: false })
    .toStream()
    .to("out", { value: int64 });
  return builder.build();
}

let stateDir: string;
let log: EmbeddedLog;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "millrace-guarantees-"));
  log = new EmbeddedLog({ file: ":memory:" });
});

afterEach(async () => {
  log.close();
  await rm(stateDir, { recursive: true, force: true });
});

async function runWithRefusedCommits(guarantee: ProcessingGuarantee) {
  const client = new EmbeddedTransport({ log });
  await client.connect();
  const probe = new LogProbe(client);
  await probe.createTopic("in", 3);
  await probe.createTopic("out", 3);
  const streams = new KafkaStreams(counting(), {
    applicationId: "app",
    transport: new EmbeddedTransport({ log }),
    stateDir,
    guarantee,
    commitIntervalMs: 5,
  });
  await streams.start();
  /** Does to the instance what a second one with its transactional id would: its next commit is refused. */
  const fence = async (): Promise<void> => {
    const [committed] = await client.topics.committedOffsets("app", [{ topic: "in", partition: 0 }], {
      requireStable: false,
    });
    const owner = /app-[0-9a-f-]{36}-1/.exec(Buffer.from(committed?.metadata ?? "", "base64").toString("latin1"))?.[0];
    if (owner === undefined) return;
    const zombie = client.openTransactionalProducer({ transactionalId: owner, transactionTimeoutMs: 10_000 });
    await zombie.initialize();
    await zombie.close();
  };
  for (let round = 0; round < ROUNDS; round++) {
    await probe.write(
      "in",
      Array.from({ length: PER_ROUND }, (_, at) => ({ key: USERS[at % USERS.length] as string, value: "x" })),
    );
    await fence();
  }
  const wanted = (ROUNDS * PER_ROUND) / USERS.length;
  const outputs = async (): Promise<Map<string, number[]>> => {
    const byKey = new Map<string, number[]>();
    for (const { key, value } of await probe.read("out")) {
      const counts = byKey.get(String(key)) ?? [];
      counts.push(int64.deserialize(value as Buffer));
      byKey.set(String(key), counts);
    }
    return byKey;
  };
  await eventually(
    "every record counted",
    async () => {
      const last = await outputs();
      return USERS.every((user) => last.get(user)?.at(-1) === wanted);
    },
    15_000,
  );
  await streams.close();
  const result = {
    outputs: await outputs(),
    failures: FAILURE_PHASES.reduce(
      (sum, phase) => sum + streams.metrics.counter("task_failures_total", { phase }).value,
      0,
    ),
    wanted,
  };
  await client.close();
  return result;
}

describe("exactly_once", () => {
  test("a read-committed reader sees every update once and in order, though commits are refused again and again", async () => {
    const { outputs, failures, wanted } = await runWithRefusedCommits("exactly_once");
    const once = Array.from({ length: wanted }, (_, at) => at + 1);
    for (const user of USERS) expect(outputs.get(user)).toEqual(once);
    expect(failures).toBeGreaterThan(0);
  });
});

describe("at_least_once", () => {
  test("updates may repeat, but no count is ever too high and none is missing", async () => {
    const { outputs, failures, wanted } = await runWithRefusedCommits("at_least_once");
    const all = new Set(Array.from({ length: wanted }, (_, at) => at + 1));
    for (const user of USERS) expect(new Set(outputs.get(user))).toEqual(all);
    expect(failures).toBeGreaterThan(0);
  });
});
