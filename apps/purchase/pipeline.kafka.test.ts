import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KafkaJsTransport, silentLogger } from "millrace";
import { afterEach, beforeEach, expect, inject, test, vi } from "vitest";
import { Account } from "./account.js";
import { runCommand } from "./commands.js";
import { aggregateOf, objectOf } from "./output.js";
import { sendPurchases } from "./produce.js";
import { TopicReader } from "./reader.js";
import type { TopicNames } from "./topics.js";

const MINUTE = 60_000;
const brokers = inject("kafkaBrokers");

let transport: KafkaJsTransport;
let names: TopicNames;
let environment: Record<string, string>;
let stateDir: string;
let end: AbortController;

beforeEach(async () => {
  const id = `app-${Date.now()}-${Math.floor(Math.random() * 1e6)}`;
  names = {
    inputTopic: `${id}-in`,
    outputTopic: `${id}-out`,
    lateTopic: `${id}-late`,
    expiredTopic: `${id}-expired`,
    deadLetterTopic: `${id}-dead`,
  };
  stateDir = await mkdtemp(join(tmpdir(), "purchase-app-"));
  environment = {
    KAFKA_BROKERS: brokers.join(","),
    APPLICATION_ID: id,
    STATE_DIR: stateDir,
    INPUT_TOPIC: names.inputTopic,
    OUTPUT_TOPIC: names.outputTopic,
    LATE_TOPIC: names.lateTopic,
    EXPIRED_TOPIC: names.expiredTopic,
    DEAD_LETTER_TOPIC: names.deadLetterTopic,
    LOG_LEVEL: "warn",
  };
  end = new AbortController();
  transport = new KafkaJsTransport({ client: { brokers: [...brokers], clientId: id }, logger: silentLogger });
  await transport.connect();
});
afterEach(async () => {
  end.abort();
  const internal = `${environment.APPLICATION_ID}-purchases-per-user-changelog`;
  await transport.topics.delete([...Object.values(names), internal]);
  await transport.close();
  await rm(stateDir, { recursive: true, force: true });
});

class Output {
  text = "";
  write(text: string): boolean {
    this.text += text;
    return true;
  }
}

function command(...args: readonly string[]): {
  readonly ended: Promise<number>;
  readonly out: Output;
  readonly error: Output;
} {
  const [out, error] = [new Output(), new Output()];
  const stream = (output: Output): NodeJS.WriteStream => output as unknown as NodeJS.WriteStream;
  return { ended: runCommand(args, { stdout: stream(out), stderr: stream(error), environment }), out, error };
}

/** Enters what the output topics hold into the books, until the test ends. */
async function keepBooks(account: Account): Promise<void> {
  const reader = new TopicReader(transport, {
    topics: [names.outputTopic, names.lateTopic, names.expiredTopic, names.deadLetterTopic],
    from: "earliest",
    onRecord: (record) => {
      if (record.topic === names.lateTopic) account.sawLate(String(objectOf(record.value)?.transaction_id));
      if (record.topic === names.expiredTopic) account.sawExpired(record);
      if (record.topic === names.deadLetterTopic) account.sawDeadLetter(record);
      const row = record.topic === names.outputTopic ? aggregateOf(record) : undefined;
      if (row !== undefined) account.sawAggregate(row);
    },
    onWaiting: () => undefined,
    onTrouble: () => undefined,
    signal: end.signal,
  });
  await reader.start();
  void reader.run();
}

test("run waits for its input, makes its outputs, and accounts for every purchase; one signal closes it with 0", async () => {
  const running = command("run", "--http-port", "18093");
  const probe = async (path: string): Promise<{ status: number; body: string }> => {
    const response = await fetch(`http://127.0.0.1:18093${path}`);
    return { status: response.status, body: await response.text() };
  };
  await vi.waitFor(
    async () =>
      expect(await probe("/readyz")).toMatchObject({ status: 503, body: expect.stringContaining(names.inputTopic) }),
    { timeout: 20_000 },
  );
  expect(await probe("/healthz")).toMatchObject({ status: 200 });

  await transport.topics.create([{ topic: names.inputTopic, partitions: 3, replicationFactor: -1, configs: {} }]);
  const account = new Account();
  const settings = {
    rate: 0,
    count: 5_000,
    users: 100,
    late: 0.1,
    lateBy: { from: 30 * MINUTE, to: 60 * MINUTE },
    expired: 0.01,
    invalid: 0.02,
    timeScale: 1,
    seed: 5,
    partitions: 3,
    inputTopic: names.inputTopic,
  };
  await sendPurchases(transport.openProducer(), settings, {
    seed: 5,
    signal: end.signal,
    onMade: (record) => account.produced(record),
  });
  await keepBooks(account);
  await vi.waitFor(() => expect(account.mismatches()).toEqual([]), { timeout: 60_000, interval: 200 });
  expect(account.totals()).toMatchObject({ produced: 5_000, accounted: 5_000 });
  expect(await probe("/readyz")).toMatchObject({ status: 200 });
  expect((await probe("/metrics")).body).toContain("millrace_");

  const outputs = await transport.topics.configs([names.outputTopic, names.deadLetterTopic]);
  expect(outputs.get(names.outputTopic)).toMatchObject({ "retention.ms": "-1" });
  expect(outputs.get(names.deadLetterTopic)).toMatchObject({ "max.message.bytes": String(1_048_588 + 65_536) });

  process.emit("SIGTERM");
  expect(await running.ended, running.error.text).toBe(0);
}, 120_000);

test("produce makes its topic, keeps its count, and refuses another partition count", async () => {
  const produced = command(
    "produce",
    "--count",
    "2000",
    "--rate",
    "0",
    "--partitions",
    "4",
    "--seed",
    "3",
    "--late",
    "0.02",
  );
  expect(await produced.ended, produced.error.text).toBe(0);
  expect(produced.out.text).toMatch(
    new RegExp(`^2,000 produced to ${names.inputTopic} · \\d+ late · 0 expired · 0 invalid · seed 3 · `),
  );
  const partitions = [0, 1, 2, 3].map((partition) => ({ topic: names.inputTopic, partition }));
  const ends = await transport.topics.offsets(partitions, "latest");
  expect(ends.reduce((sum, { offset }) => sum + offset, 0)).toBe(2_000);
  expect(ends.every(({ offset }) => offset > 0)).toBe(true);

  const other = command("produce", "--count", "1", "--partitions", "9");
  expect(await other.ended).toBe(2);
  expect(other.error.text).toContain("has 4 partitions, not 9");
});

test("live shows what comes after its start", async () => {
  await transport.topics.create([{ topic: names.inputTopic, partitions: 1, replicationFactor: -1, configs: {} }]);
  const showing = command("live");
  await vi.waitFor(() => expect(showing.out.text).toContain(`waiting for topic ${names.outputTopic}`), {
    timeout: 20_000,
  });
  const produced = command("produce", "--count", "200", "--rate", "0", "--partitions", "1");
  expect(await produced.ended, produced.error.text).toBe(0);
  await vi.waitFor(() => expect(showing.out.text.match(/^purchase /gm)?.length ?? 0).toBeGreaterThanOrEqual(20), {
    timeout: 20_000,
  });
  process.emit("SIGINT");
  expect(await showing.ended).toBe(0);
  expect(showing.out.text).toContain("more purchases: not shown, this is a sample");
});
