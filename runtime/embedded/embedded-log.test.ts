import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { FatalError, FencedError, UnavailableError, UnstableOffsetsError } from "../errors.js";
import { BATCH, RecordBatch } from "../record-batch.js";
import { RecordCursor } from "../record-cursor.js";
import type { ProduceResult } from "../transport.js";
import { baseOffset, batchOf, join as joinGroup, metadataOf, text } from "../transport-suite/fixture.suite.js";
import { EmbeddedLog } from "./embedded-log.js";
import { sequenceAfter } from "./transactions.js";
import { EmbeddedTransport } from "./transport.js";

const AT = { topic: "t", partition: 0 };

function freshFile(): string {
  const directory = mkdtempSync(join(tmpdir(), "embedded-log-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return join(directory, "log.db");
}

async function open(file: string, now?: () => number): Promise<EmbeddedTransport> {
  const transport = new EmbeddedTransport(now === undefined ? { file } : { file, now });
  await transport.connect();
  onTestFinished(() => transport.close());
  return transport;
}

function create(transport: EmbeddedTransport, configs: Readonly<Record<string, string>> = {}): Promise<void> {
  return transport.topics.create([{ topic: AT.topic, partitions: 1, replicationFactor: 1, configs }]);
}

async function latest(transport: EmbeddedTransport): Promise<number | undefined> {
  return (await transport.topics.offsets([AT], "latest"))[0]?.offset;
}

async function fetchAll(transport: EmbeddedTransport, readCommitted = true): Promise<RecordCursor> {
  const fetcher = transport.openFetcher({ readCommitted, name: "test" });
  const request = { positions: [{ ...AT, offset: 0 }], maxWaitMs: 0, bytesMax: 1e6, partitionBytesMax: 1e6 };
  const [part] = await fetcher.fetch(request);
  await fetcher.close();
  return new RecordCursor(part ?? { records: Buffer.alloc(0), aborted: [], offset: 0 });
}

async function valuesOf(transport: EmbeddedTransport, readCommitted = true): Promise<(string | null)[]> {
  const cursor = await fetchAll(transport, readCommitted);
  const values: (string | null)[] = [];
  while (cursor.next()) values.push(text(cursor.value));
  return values;
}

function transactional(transport: EmbeddedTransport, transactionTimeoutMs = 60_000) {
  return transport.openTransactionalProducer({ transactionalId: "tx", transactionTimeoutMs });
}

function member(transport: EmbeddedTransport, groupInstanceId = "i", rebalanceTimeoutMs = 5_000) {
  const times = { sessionTimeoutMs: 5_000, rebalanceTimeoutMs, heartbeatIntervalMs: 1_000 };
  return transport.openGroupMember({ groupId: "g", groupInstanceId, ...times });
}

test("records, offsets, topic ids, committed offsets and epochs survive closing and opening the file", async () => {
  const file = freshFile();
  const first = await open(file);
  await create(first, { "retention.ms": "-1" });
  const described = await first.topics.describe(["t"]);
  const generation = await joinGroup(member(first));
  const producer = transactional(first);
  await producer.initialize();
  producer.begin();
  await producer.produce([batchOf(AT, "a", "b")]);
  await producer.sendOffsets(metadataOf("g", "i", generation), [{ ...AT, offset: 7, metadata: "seven" }]);
  await producer.commit();
  producer.begin();
  await producer.produce([batchOf(AT, "aborted")]);
  await producer.abort();
  await first.topics.deleteRecords([{ ...AT, offset: 1 }]);
  await first.close();

  const second = await open(file);
  expect(await second.topics.describe(["t"])).toEqual(described);
  expect((await second.topics.configs(["t"])).get("t")?.["retention.ms"]).toBe("-1");
  expect((await second.topics.offsets([AT], "earliest"))[0]?.offset).toBe(1);
  expect(await latest(second)).toBe(5);
  const cursor = new RecordCursor(await onlyPart(second, 1));
  expect([cursor.next(), text(cursor.value), cursor.next(), cursor.nextOffset]).toEqual([true, "b", false, 5]);
  const [committed] = await second.topics.committedOffsets("g", [AT], { requireStable: true });
  expect(committed).toEqual({ ...AT, offset: 7, metadata: "seven" });
  expect(await nextEpoch(second)).toBe(1);
});

async function onlyPart(transport: EmbeddedTransport, offset: number) {
  const fetcher = transport.openFetcher({ readCommitted: true, name: "test" });
  const request = { positions: [{ ...AT, offset }], maxWaitMs: 0, bytesMax: 1e6, partitionBytesMax: 1e6 };
  const [part] = await fetcher.fetch(request);
  if (part === undefined) throw new Error("nothing was fetched");
  return part;
}

/** Takes the next epoch of "tx", as the batches that it writes carry it. */
async function nextEpoch(transport: EmbeddedTransport): Promise<number> {
  const producer = transactional(transport);
  await producer.initialize();
  producer.begin();
  const [result] = await producer.produce([batchOf(AT, "x")]);
  await producer.abort();
  const fetcher = transport.openFetcher({ readCommitted: false, name: "test" });
  const positions = [{ ...AT, offset: baseOffset(result) }];
  const [part] = await fetcher.fetch({ positions, maxWaitMs: 0, bytesMax: 1e6, partitionBytesMax: 1e6 });
  return part?.records.readInt16BE(BATCH.producerEpoch) ?? -1;
}

test("what a process left open when it died holds readers and offsets back until its id is initialised", async () => {
  const file = freshFile();
  const first = await open(file);
  await create(first);
  const generation = await joinGroup(member(first));
  const dying = transactional(first);
  await dying.initialize();
  dying.begin();
  await dying.produce([batchOf(AT, "left open")]);
  await dying.sendOffsets(metadataOf("g", "i", generation), [{ ...AT, offset: 7, metadata: "" }]);
  await first.close(); // closes no transaction

  const second = await open(file);
  expect(await valuesOf(second, true)).toEqual([]);
  expect(await valuesOf(second, false)).toEqual(["left open"]);
  const committed = () => second.topics.committedOffsets("g", [AT], { requireStable: true });
  await expect(committed()).rejects.toThrow(UnstableOffsetsError);

  await transactional(second).initialize();

  expect((await committed())[0]?.offset).toBeUndefined();
  expect(await latest(second)).toBe(2);
  expect((await fetchAll(second)).next()).toBe(false);
});

test("a process that is killed keeps what it committed, and its lock goes with it", async () => {
  const file = freshFile();
  const module = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
  const script = `
    import { EmbeddedTransport } from ${module("./transport.ts")};
    import { RecordBatch } from ${module("../record-batch.ts")};
    const transport = new EmbeddedTransport({ file: ${JSON.stringify(file)} });
    await transport.connect();
    await transport.topics.create([{ topic: "t", partitions: 1, replicationFactor: 1, configs: {} }]);
    const producer = transport.openTransactionalProducer({ transactionalId: "tx", transactionTimeoutMs: 60000 });
    await producer.initialize();
    for (const value of ["committed", "left open"]) {
      const batch = new RecordBatch();
      batch.append(0, null, Buffer.from(value), []);
      producer.begin();
      await producer.produce([{ topic: "t", partition: 0, batch }]);
      if (value === "committed") await producer.commit();
    }
    process.kill(process.pid, "SIGKILL");`;
  const child = spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  expect(child.signal, child.stderr).toBe("SIGKILL");

  const transport = await open(file);
  expect(await valuesOf(transport, false)).toEqual(["committed", "left open"]);
  expect(await valuesOf(transport)).toEqual(["committed"]);
  await transactional(transport).initialize();
  expect(await latest(transport)).toBe(4);
  expect(await valuesOf(transport)).toEqual(["committed"]);
});

test("a second process on the file is refused with what to do, and can open it when the first is gone", async () => {
  const file = freshFile();
  const first = await open(file);
  await create(first);
  expect(() => new EmbeddedLog({ file })).toThrow(FatalError);

  const script = `
    const Database = require("better-sqlite3");
    try { const db = new Database(process.argv[1], { timeout: 0 }); db.prepare("SELECT count(*) FROM topics").get(); console.log("opened"); }
    catch (error) { console.log(error.code); }`;
  const other = () => spawnSync(process.execPath, ["-e", script, file], { encoding: "utf8" }).stdout.trim();
  expect(other()).toBe("SQLITE_BUSY");
  await expect(new EmbeddedTransport({ file }).connect()).rejects.toThrow(/is in use; .* close the other/);

  await first.close();
  expect(other()).toBe("opened");
});

test("a file that is no embedded log is refused and left as it was", async () => {
  const file = freshFile();
  writeFileSync(
    file,
    "not a database, but long enough to be read as the header of one, which takes a hundred bytes. Yes.",
  );
  expect(() => new EmbeddedLog({ file })).toThrow(/cannot be opened|not an embedded log/);
});

test("a SQLite database of another program is refused", async () => {
  const file = freshFile();
  const { default: Database } = await import("better-sqlite3");
  const foreign = new Database(file);
  foreign.exec("CREATE TABLE theirs(x)");
  foreign.close();
  expect(() => new EmbeddedLog({ file })).toThrow(/is not an embedded log/);
});

test("a transaction that is open for longer than its timeout is aborted, and its producer fenced", async () => {
  let nowMs = 1_000;
  const transport = await open(":memory:", () => nowMs);
  await create(transport);
  const producer = transactional(transport, 10_000);
  await producer.initialize();
  producer.begin();
  await producer.produce([recordAt("slow", 0)]);

  nowMs = 10_999;
  expect(await valuesOf(transport)).toEqual([]);
  expect(await latest(transport)).toBe(1);
  nowMs = 11_000;
  expect(await latest(transport)).toBe(2);
  await expect(producer.commit()).rejects.toThrow(FencedError);
  expect(await valuesOf(transport, false)).toEqual(["slow"]);

  await producer.initialize();
  producer.begin();
  await producer.produce([recordAt("again", 0)]);
  await producer.commit();
  expect(await valuesOf(transport)).toEqual(["again"]);
});

test("the timeout of an orphaned transaction needs nobody to ask: a waiting reader goes on by itself", async () => {
  const transport = await open(":memory:");
  await create(transport);
  const producer = transactional(transport, 50);
  await producer.initialize();
  producer.begin();
  await producer.produce([batchOf(AT, "orphaned")]);
  await transport.openProducer().produce([batchOf(AT, "behind")]);
  const fetcher = transport.openFetcher({ readCommitted: true, name: "test" });
  const request = { positions: [{ ...AT, offset: 0 }], maxWaitMs: 10_000, bytesMax: 1e6, partitionBytesMax: 1e6 };
  const cursor = new RecordCursor((await fetcher.fetch(request))[0]!);
  expect([cursor.next(), text(cursor.value)]).toEqual([true, "behind"]);
});

function recordAt(value: string, timestampMs: number) {
  const batch = new RecordBatch();
  batch.append(timestampMs, null, Buffer.from(value), []);
  return { ...AT, batch };
}

/** Appends as a client would that numbers its batches wrongly. */
function appendRaw(
  log: EmbeddedLog,
  producerId: bigint,
  producerEpoch: number,
  baseSequence: number,
  count = 1,
): ProduceResult {
  const batch = new RecordBatch();
  for (let i = 0; i < count; i++) batch.append(0, null, Buffer.from("x"), []);
  const topic = log.topics.get("t")!;
  const stamp = { producerId, producerEpoch, baseSequence, transactional: false };
  return log.write(() => log.transactions.append(topic.partitions[0]!, topic.configs, batch.seal(stamp)));
}

function logWithTopic(): EmbeddedLog {
  const log = new EmbeddedLog({ file: ":memory:" });
  onTestFinished(() => log.close());
  log.write(() => log.topics.create([{ topic: "t", partitions: 1, replicationFactor: 1, configs: {} }]));
  return log;
}

test("a batch that is sent again is known by its sequence and gets the same offset, five batches back", () => {
  const log = logWithTopic();
  const { producerId } = log.write(() => log.transactions.openIdempotent());
  for (let i = 0; i < 6; i++) expect(appendRaw(log, producerId, 0, i * 2, 2)).toEqual({ baseOffset: i * 2 });
  expect(appendRaw(log, producerId, 0, 10, 2)).toEqual({ baseOffset: 10 });
  expect(appendRaw(log, producerId, 0, 2, 2)).toEqual({ baseOffset: 2 });
  expect(() => appendRaw(log, producerId, 0, 0, 2)).toThrow(FencedError);
  expect(log.topics.find(AT)?.highWatermark).toBe(12);
});

test("a batch behind a gap, of an unknown producer or of an old epoch is refused", () => {
  const log = logWithTopic();
  const { producerId } = log.write(() => log.transactions.openIdempotent());
  appendRaw(log, producerId, 0, 0);
  expect(() => appendRaw(log, producerId, 0, 2)).toThrow(/waits for 1/);
  expect(() => appendRaw(log, 999n, 0, 0)).toThrow(FencedError);
  expect(() => appendRaw(log, producerId, 1, 1)).toThrow(FencedError);
  expect(log.topics.find(AT)?.highWatermark).toBe(1);
});

test("after the largest sequence comes 0", () => {
  expect(sequenceAfter(2 ** 31 - 1, 1)).toBe(0);
  expect(sequenceAfter(2 ** 31 - 3, 5)).toBe(2);
  expect(sequenceAfter(-1, 1)).toBe(0);
});

test("an id whose epochs are used up goes on under a new producer id", () => {
  const log = logWithTopic();
  const initialize = () => log.transactions.initialize("tx", 1_000);
  const [first, last] = log.write(() => {
    const first = initialize();
    while (initialize().epoch < 32_766);
    return [first, initialize()];
  });
  expect(last.epoch).toBe(0);
  expect(last.producerId).not.toBe(first.producerId);
});

test("a topic with append time stamps the clock into its batches, checksum and all", async () => {
  const transport = await open(":memory:", () => 1_700_000_000_000);
  await create(transport, { "message.timestamp.type": "LogAppendTime" });
  await transport.openProducer().produce([recordAt("x", 5)]);
  const cursor = await fetchAll(transport);
  expect([cursor.next(), cursor.timestampMs]).toEqual([true, 1_700_000_000_000]);
});

test("metadata larger than a broker keeps is refused by name", async () => {
  const transport = await open(":memory:");
  await create(transport);
  const generation = await joinGroup(member(transport));
  const producer = transactional(transport);
  await producer.initialize();
  producer.begin();
  const offset = { ...AT, offset: 1, metadata: "m".repeat(4_097) };
  const group = metadataOf("g", "i", generation);
  await expect(producer.sendOffsets(group, [offset])).rejects.toThrow(/4097 characters, at most 4096/);
  await expect(producer.sendOffsets({ ...group, memberId: "" }, [offset])).rejects.toThrow(/group's metadata/);
});

test("what a topic held is gone with it: records, committed offsets, its part of open transactions", async () => {
  const transport = await open(":memory:");
  await create(transport);
  const generation = await joinGroup(member(transport));
  const producer = transactional(transport);
  await producer.initialize();
  producer.begin();
  await producer.sendOffsets(metadataOf("g", "i", generation), [{ ...AT, offset: 1, metadata: "" }]);
  await producer.commit();
  producer.begin();
  await producer.produce([batchOf(AT, "x")]);
  await transport.topics.delete(["t"]);
  await create(transport);
  await producer.commit();

  expect(await latest(transport)).toBe(0);
  expect((await transport.topics.committedOffsets("g", [AT], { requireStable: true }))[0]?.offset).toBeUndefined();
  producer.begin();
  expect(await producer.produce([batchOf(AT, "in the new one")])).toEqual([{ baseOffset: 0 }]);
  await producer.commit();
});

test("a write that fails leaves the log as it was, and it goes on", async () => {
  const log = logWithTopic();
  const shared = new EmbeddedTransport({ log });
  await shared.connect();
  const producer = transactional(shared);
  await producer.initialize();
  producer.begin();
  await producer.produce([batchOf(AT, "a")]);

  expect(() =>
    log.write(() => {
      log.topics.find(AT)?.append(batchOf(AT, "lost").batch.seal());
      throw new TypeError("in the middle");
    }),
  ).toThrow(TypeError);

  expect(log.topics.find(AT)?.highWatermark).toBe(1);
  expect(await producer.produce([batchOf(AT, "b")])).toEqual([{ baseOffset: 1 }]);
  await producer.commit();
  expect(await valuesOf(shared)).toEqual(["a", "b"]);
  await shared.close();
});

test("a static member that misses a round stays in the group, and the round ends at its timeout", async () => {
  const transport = await open(":memory:");
  const silent = member(transport, "silent", 100);
  await joinGroup(silent, "s");
  const other = member(transport, "other", 100);
  const generation = await joinGroup(other, "o");
  expect(text(generation.assignment)).toBe("other of other:o,silent:s");
  await vi.waitFor(() => expect(silent.status).toBe("lost"));
  expect(other.status).toBe("stable");
});

test("a leader whose assign function throws hears it from join, and the others go on without it", async () => {
  const transport = await open(":memory:");
  const failing = member(transport, "failing");
  const other = member(transport, "other");
  const broken = failing.join({
    topics: [],
    metadata: Buffer.alloc(0),
    assign: () => {
      throw new TypeError("cannot assign");
    },
  });
  const generation = joinGroup(other, "o");
  await expect(broken).rejects.toThrow("cannot assign");
  expect(text((await generation).assignment)).toBe("other of other:o");
  expect(failing.status).toBe("lost");
});

test("members that start in one turn share their first generation", async () => {
  const transport = await open(":memory:");
  const generations = await Promise.all(["a", "b", "c"].map((name) => joinGroup(member(transport, name))));
  expect(new Set(generations.map((one) => one.generationId)).size).toBe(1);
});

test("closing the transport ends waiting fetches and joins", async () => {
  const transport = await open(":memory:");
  await create(transport);
  const fetcher = transport.openFetcher({ readCommitted: true, name: "test" });
  const fetched = fetcher.fetch({
    positions: [{ ...AT, offset: 0 }],
    maxWaitMs: 60_000,
    bytesMax: 1,
    partitionBytesMax: 1,
  });
  await joinGroup(member(transport, "first"));
  const joining = joinGroup(member(transport, "second")); // in vain: the first does not join again
  const refused = expect(joining).rejects.toThrow(UnavailableError);
  await new Promise(setImmediate);
  await transport.close();
  expect(await fetched).toEqual([]);
  await refused;
  await expect(transport.topics.describe([])).rejects.toThrow(UnavailableError);
});

test("closing a member ends its own join at once, though the log lives on", async () => {
  const transport = await open(":memory:");
  await joinGroup(member(transport, "first"));
  const second = member(transport, "second");
  const refused = expect(joinGroup(second)).rejects.toThrow(UnavailableError);
  await new Promise(setImmediate);
  await second.close();
  await refused;
  expect(second.status).toBe("unavailable");
});
