import { randomUUID } from "node:crypto";
import { CompressionTypes, Kafka, type KafkaConfig, logLevel, Partitioners } from "kafkajs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../../testing/kafka/free-port.js";
import { type LocalKafka, startLocalKafka } from "../../testing/kafka/local-kafka.js";
import { ConfigError, FatalError } from "../errors.js";
import { silentLogger } from "../logger.js";
import { BATCH, RecordBatch } from "../record-batch.js";
import { RecordCursor } from "../record-cursor.js";
import type { FetchedPartition, PartitionBatch, Transport } from "../transport.js";
import { KafkaJsTransport } from "./transport.js";

// A broker of its own: it authenticates on a second listener, cleans its logs at once, and bounds transactions.

const SESSION_MS = 1_500;
/** A connection is replaced this long before its session ends. */
const REAUTHENTICATION_THRESHOLD_MS = 1_000;

let kafka: LocalKafka;
let secured: string;
let transport: Transport;

beforeAll(async () => {
  const port = await freePort();
  secured = `127.0.0.1:${port}`;
  const plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
  const bearer = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
  kafka = await startLocalKafka({
    listeners: { SASL_PLAINTEXT: port },
    properties: {
      "sasl.enabled.mechanisms": "PLAIN,OAUTHBEARER",
      "listener.name.sasl_plaintext.plain.sasl.jaas.config": `${plain} required user_ann="secret";`,
      "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config": `${bearer} required unsecuredLoginStringClaim_sub="broker";`,
      "listener.name.sasl_plaintext.oauthbearer.connections.max.reauth.ms": String(SESSION_MS),
      "log.cleaner.backoff.ms": "100",
      "transaction.max.timeout.ms": "60000",
    },
  });
  transport = await connected({ brokers: [...kafka.brokers] });
});

afterAll(async () => {
  await transport?.close();
  await kafka?.stop();
});

async function connected(client: KafkaConfig): Promise<Transport> {
  const opened = new KafkaJsTransport({ client, logger: silentLogger });
  await opened.connect();
  return opened;
}

async function newTopic(configs: Readonly<Record<string, string>> = {}): Promise<string> {
  const topic = `settings-${randomUUID()}`;
  await transport.topics.create([{ topic, partitions: 1, replicationFactor: 1, configs }]);
  return topic;
}

function batchOf(topic: string, records: readonly (readonly [key: string, value: string | null])[]): PartitionBatch {
  const batch = new RecordBatch();
  for (const [key, value] of records)
    batch.append(Date.now(), Buffer.from(key), value === null ? null : Buffer.from(value), []);
  return { topic, partition: 0, batch };
}

async function fetchOnce(topic: string, offset: number, from: Transport = transport): Promise<FetchedPartition> {
  const fetcher = from.openFetcher({ readCommitted: true, name: "settings" });
  try {
    for (;;) {
      const positions = [{ topic, partition: 0, offset }];
      const [part] = await fetcher.fetch({
        positions,
        maxWaitMs: 500,
        bytesMax: 10_000_000,
        partitionBytesMax: 10_000_000,
      });
      if (part !== undefined) return part;
    }
  } finally {
    await fetcher.close();
  }
}

function valuesOf(part: FetchedPartition): (string | null)[] {
  const cursor = new RecordCursor(part);
  const values: (string | null)[] = [];
  while (cursor.next()) values.push(cursor.value === null ? null : cursor.value.toString());
  return values;
}

function unsecuredToken(): string {
  const part = (data: object): string => Buffer.from(JSON.stringify(data)).toString("base64url");
  const nowSeconds = Math.floor(Date.now() / 1_000);
  return `${part({ alg: "none" })}.${part({ sub: "ann", iat: nowSeconds - 1, exp: nowSeconds + 3_600 })}.`;
}

test("a password is passed through to KafkaJS", async () => {
  const topic = await newTopic();
  const sasl = { mechanism: "plain", username: "ann", password: "secret" } as const;
  const ann = await connected({ brokers: [secured], sasl });
  const producer = ann.openProducer();
  expect(await producer.produce([batchOf(topic, [["k", "v"]])])).toEqual([{ baseOffset: 0 }]);
  expect(valuesOf(await fetchOnce(topic, 0, ann))).toEqual(["v"]);
  await ann.close();
});

test("a wrong password is fatal at once, not retried until the time is over", async () => {
  const sasl = { mechanism: "plain", username: "ann", password: "wrong" } as const;
  const startMs = performance.now();
  await expect(connected({ brokers: [secured], sasl })).rejects.toThrow(FatalError);
  expect(performance.now() - startMs).toBeLessThan(5_000);
});

test("connections are replaced before their sessions end, and no request is lost by it", async () => {
  const topic = await newTopic();
  let authentications = 0;
  const oauthBearerProvider = async (): Promise<{ value: string }> => {
    authentications++;
    return { value: unsecuredToken() };
  };
  const ann = await connected({
    brokers: [secured],
    sasl: { mechanism: "oauthbearer", oauthBearerProvider },
    reauthenticationThreshold: REAUTHENTICATION_THRESHOLD_MS,
  });
  const producer = ann.openProducer();
  const fetcher = ann.openFetcher({ readCommitted: true, name: "sessions" });
  let position = 0;
  let written = 0;
  let isWriting = true;
  const endMs = performance.now() + 2 * SESSION_MS;
  const writing = (async () => {
    while (performance.now() < endMs) {
      await producer.produce([batchOf(topic, [["k", String(written)]])]);
      written++;
    }
    isWriting = false;
  })();
  const read: (string | null)[] = [];
  while (isWriting || position < written) {
    const positions = [{ topic, partition: 0, offset: position }];
    for (const part of await fetcher.fetch({
      positions,
      maxWaitMs: 200,
      bytesMax: 1_000_000,
      partitionBytesMax: 1_000_000,
    })) {
      read.push(...valuesOf(part));
      position = read.length;
    }
  }
  await writing;
  expect(read).toEqual(Array.from({ length: written }, (_, at) => String(at)));
  // The shared connection, the producer's and the fetcher's authenticate once each, and the latter two again and again.
  expect(authentications).toBeGreaterThan(6);
  await ann.close();
});

test("a transaction timeout above the brokers' maximum is a wrong setting, named", async () => {
  const producer = transport.openTransactionalProducer({ transactionalId: randomUUID(), transactionTimeoutMs: 60_001 });
  await expect(producer.initialize()).rejects.toThrow(ConfigError);
  await producer.close();
});

test("a session timeout below the brokers' minimum is a wrong setting, named", async () => {
  const member = transport.openGroupMember({
    groupId: randomUUID(),
    groupInstanceId: "one",
    sessionTimeoutMs: 100,
    rebalanceTimeoutMs: 100,
    heartbeatIntervalMs: 10,
  });
  const joining = member.join({ topics: [], metadata: new Uint8Array(), assign: () => new Map() });
  await expect(joining).rejects.toThrow(/^SESSION_TIMEOUT_MS/);
  await member.close();
});

test("a fetch at a tail that compaction has emptied moves on in one step", async () => {
  const topic = await newTopic({
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0",
    "segment.ms": "100",
    "max.compaction.lag.ms": "100",
  });
  const producer = transport.openProducer();
  const keys = Array.from({ length: 100 }, (_, at) => `k${at}`);
  await producer.produce([
    batchOf(
      topic,
      keys.map((key) => [key, "old"] as const),
    ),
  ]);
  await producer.produce([
    batchOf(
      topic,
      keys.slice(1).map((key) => [key, "new"] as const),
    ),
  ]);
  // A log is only cleaned up to its newest segment: go on writing until the first batch has lost all but its first record.
  let first: FetchedPartition;
  do {
    await producer.produce([batchOf(topic, [["later", "x"]])]);
    first = await fetchOnce(topic, 0);
  } while (first.records.readInt32BE(BATCH.count) > 1);
  expect(first.records.readInt32BE(BATCH.lastOffsetDelta)).toBe(99);

  const part = await fetchOnce(topic, 50);
  const cursor = new RecordCursor(part);
  expect(cursor.next()).toBe(true);
  expect(cursor.offset).toBe(100);
  expect(String(cursor.value)).toBe("new");
  await producer.close();
});

test("a record with the key 00 00 00 00 in an aborted transaction ends nothing, what is committed is read", async () => {
  const topic = await newTopic();
  const producer = transport.openTransactionalProducer({ transactionalId: randomUUID(), transactionTimeoutMs: 60_000 });
  await producer.initialize();
  producer.begin();
  await producer.produce([batchOf(topic, [["\0\0\0\0", "aborted"]]), batchOf(topic, [["k", "aborted too"]])]);
  await producer.abort();
  producer.begin();
  await producer.produce([batchOf(topic, [["\0\0\0\0", "committed"]])]);
  await producer.commit();
  let values: (string | null)[] = [];
  while (values.length === 0) values = valuesOf(await fetchOnce(topic, 0));
  expect(values).toEqual(["committed"]);
  await producer.close();
});

test("what KafkaJS's own producer wrote, with gzip and headers, is read", async () => {
  const topic = await newTopic();
  const foreign = new Kafka({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING }).producer({
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await foreign.connect();
  const messages = Array.from({ length: 50 }, (_, at) => ({
    key: "k",
    value: `v${at}`,
    headers: { h: "1" },
    timestamp: "5",
  }));
  await foreign.send({ topic, messages, compression: CompressionTypes.GZIP });
  await foreign.disconnect();
  const part = await fetchOnce(topic, 0);
  expect(valuesOf(part)).toEqual(messages.map(({ value }) => value));
  const cursor = new RecordCursor(part);
  cursor.next();
  expect(cursor.timestampMs).toBe(5);
  expect(cursor.headers.map(([name, value]) => [name, String(value)])).toEqual([["h", "1"]]);
});
