import { EventEmitter, once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type LocalKafka, startLocalKafka } from "../../testing/kafka/local-kafka.js";
import { AmbiguousCommitError, FencedError, UnavailableError } from "../errors.js";
import { silentLogger } from "../logger.js";
import { RecordBatch } from "../record-batch.js";
import { RecordCursor } from "../record-cursor.js";
import type { GroupMember, PartitionBatch, Transport } from "../transport.js";
import { KafkaJsTransport } from "./transport.js";

// A broker of its own, since it is stopped, killed and started again. Requests give up after 2 s instead of 30.

const REQUEST_TIMEOUT_MS = 2_000;
/** One attempt may be under way when the time is over, and one fetch waits on top of it. */
const BOUND_MS = 3 * REQUEST_TIMEOUT_MS;

let kafka: LocalKafka;
let transport: Transport;

beforeAll(async () => {
  // A killed broker may come back when its session in the controller is over: 9 s by default.
  const properties = {
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "250",
    "group.min.session.timeout.ms": "1000",
  };
  kafka = await startLocalKafka({ properties });
  const client = { brokers: [...kafka.brokers], requestTimeout: REQUEST_TIMEOUT_MS };
  transport = new KafkaJsTransport({ client, logger: silentLogger });
  await transport.connect();
});

afterAll(async () => {
  await transport?.close();
  await kafka?.stop();
});

function batchOf(topic: string, value: string): PartitionBatch {
  const batch = new RecordBatch();
  batch.append(Date.now(), Buffer.from("key"), Buffer.from(value), []);
  return { topic, partition: 0, batch };
}

async function topic(name: string): Promise<string> {
  await transport.topics.create([{ topic: name, partitions: 1, replicationFactor: 1, configs: {} }]);
  return name;
}

async function valuesOf(name: string): Promise<string[]> {
  const fetcher = transport.openFetcher({ readCommitted: true, name: "reader" });
  const [end] = await transport.topics.offsets([{ topic: name, partition: 0 }], "latest");
  const values: string[] = [];
  for (let position = 0; position < (end?.offset ?? 0); ) {
    const parts = await fetcher.fetch({
      positions: [{ topic: name, partition: 0, offset: position }],
      maxWaitMs: 500,
      bytesMax: 1_000_000,
      partitionBytesMax: 1_000_000,
    });
    for (const part of parts) {
      const cursor = new RecordCursor(part);
      while (cursor.next()) values.push(String(cursor.value));
      position = cursor.nextOffset;
    }
  }
  await fetcher.close();
  return values;
}

async function untilAvailable<T>(act: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof UnavailableError) || attempt === 10) throw error;
    }
  }
}

async function tookMs(act: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await act();
  return performance.now() - startMs;
}

test("while no broker is there, everything gives up in bounded time, and goes on when it is back", async () => {
  const name = await topic("outage-all");
  const producer = transport.openProducer();
  const transactional = transport.openTransactionalProducer({
    transactionalId: "outage-all",
    transactionTimeoutMs: 60_000,
  });
  const fetcher = transport.openFetcher({ readCommitted: true, name: "outage" });
  const fetch = () =>
    fetcher.fetch({
      positions: [{ topic: name, partition: 0, offset: 0 }],
      maxWaitMs: 100,
      bytesMax: 1_000_000,
      partitionBytesMax: 1_000_000,
    });
  await transactional.initialize();
  await producer.produce([batchOf(name, "before")]);
  expect(await fetch()).toHaveLength(1);

  await kafka.kill();
  const acts: (() => Promise<unknown>)[] = [
    () => transport.topics.describe([name]),
    () => transport.topics.offsets([{ topic: name, partition: 0 }], "latest"),
    () => transport.topics.committedOffsets("outage", [{ topic: name, partition: 0 }], { requireStable: true }),
    () => producer.produce([batchOf(name, "during")]),
    () => transactional.initialize(),
    async () => {
      for (;;) await fetch();
    },
  ];
  const waits = acts.map((act) => tookMs(() => expect(act()).rejects.toThrow(UnavailableError)));
  for (const waited of await Promise.all(waits)) expect(waited).toBeLessThan(BOUND_MS);

  await kafka.restart();
  await untilAvailable(() => producer.produce([batchOf(name, "after")]));
  await untilAvailable(() => transactional.initialize());
  expect(await untilAvailable(fetch)).toHaveLength(1);
  expect((await valuesOf(name)).filter((value) => value !== "during")).toEqual(["before", "after"]);
  for (const closable of [producer, transactional, fetcher]) await closable.close();
});

test("a transaction that was open when its broker died leaves nothing, and its producer goes on after initialize", async () => {
  const name = await topic("outage-transaction");
  const producer = transport.openTransactionalProducer({ transactionalId: "outage-tx", transactionTimeoutMs: 60_000 });
  await producer.initialize();
  producer.begin();
  await producer.produce([batchOf(name, "lost")]);

  await kafka.kill();
  const failure = await producer.commit().catch((error: unknown) => error);
  expect([UnavailableError, AmbiguousCommitError, FencedError]).toContain((failure as Error).constructor);
  await kafka.restart();

  await untilAvailable(() => producer.initialize());
  producer.begin();
  await producer.produce([batchOf(name, "kept")]);
  await producer.commit();
  expect(await valuesOf(name)).toEqual(["kept"]);
  await producer.close();
});

test("a broker that restarts in order within the request timeout is not noticed by a producer", async () => {
  const patient = new KafkaJsTransport({ client: { brokers: [...kafka.brokers] }, logger: silentLogger });
  await patient.connect();
  const name = await topic("outage-restart");
  const producer = patient.openTransactionalProducer({
    transactionalId: "outage-restart",
    transactionTimeoutMs: 60_000,
  });
  await producer.initialize();
  const values = Array.from({ length: 40 }, (_, at) => `${at}`);
  const restarted = kafka.restart();
  for (const value of values) {
    producer.begin();
    await producer.produce([batchOf(name, value)]);
    await producer.commit();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await restarted;
  expect(await valuesOf(name)).toEqual(values);
  await patient.close();
});

test("a member keeps its generation over a restart of the broker that is shorter than its session", async () => {
  const patient = new KafkaJsTransport({ client: { brokers: [...kafka.brokers] }, logger: silentLogger });
  await patient.connect();
  const member = patient.openGroupMember({
    groupId: "outage-group",
    groupInstanceId: "one",
    sessionTimeoutMs: 30_000,
    rebalanceTimeoutMs: 10_000,
    heartbeatIntervalMs: 100,
  });
  const assign = () => new Map<string, Uint8Array>();
  const { generationId } = await member.join({ topics: ["t"], metadata: Buffer.from("m"), assign });
  await kafka.restart();
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(member.status).toBe("stable");
  const again = await member.join({ topics: ["t"], metadata: Buffer.from("m"), assign });
  expect(again.generationId).toBeGreaterThanOrEqual(generationId);
  await member.leave();
  await patient.close();
});

test("a member that cannot reach its coordinator for a whole session is unavailable", async () => {
  const member = transport.openGroupMember({
    groupId: "outage-session",
    groupInstanceId: "one",
    sessionTimeoutMs: 2_000,
    rebalanceTimeoutMs: 10_000,
    heartbeatIntervalMs: 200,
  });
  await member.join({ topics: ["t"], metadata: Buffer.from("m"), assign: () => new Map() });
  await kafka.kill();
  expect(await tookMs(() => member.changed())).toBeGreaterThan(1_500);
  expect(member.status).toBe("unavailable");
  expect(await tookMs(() => member.leave())).toBeLessThan(2_500);
  await kafka.restart();
  await member.close();
});

test("a broker that dies before a generation settled, and has forgotten who joined it, fences nobody", async () => {
  const patient = new KafkaJsTransport({ client: { brokers: [...kafka.brokers] }, logger: silentLogger });
  await patient.connect();
  const open = (groupInstanceId: string): GroupMember =>
    patient.openGroupMember({
      ...{ groupId: "outage-unsettled", groupInstanceId },
      ...{ sessionTimeoutMs: 20_000, rebalanceTimeoutMs: 5_000, heartbeatIntervalMs: 100 },
    });
  const request = { topics: ["t"], metadata: new Uint8Array(), assign: () => new Map<string, Uint8Array>() };
  const [leader, before] = [open("leader"), open("follower")];
  await leader.join(request);
  const both = before.join(request);
  await leader.changed();
  await Promise.all([leader.join(request), both]);
  // As by SIGKILL: the group has its member id in the log, and holds its place.
  await before.close();

  const third = open("third").join(request);
  await leader.changed();
  const steps = new EventEmitter();
  const [unsettled, brokerIsBack] = [once(steps, "unsettled"), once(steps, "brokerIsBack")];
  const leading = leader.join({
    ...request,
    assign: async (members) => {
      steps.emit("unsettled", ...members.map(({ groupInstanceId }) => groupInstanceId).sort());
      await brokerIsBack;
      return new Map();
    },
  });
  const follower = open("follower");
  const following = follower.join(request);
  expect(await unsettled).toEqual(["follower", "leader", "third"]);
  await kafka.kill();
  await kafka.restart();
  steps.emit("brokerIsBack");

  await Promise.all([leading, following, third]);
  expect(["stable", "rebalancing"]).toContain(follower.status);
  await patient.close();
});
