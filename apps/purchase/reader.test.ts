import { EmbeddedLog, EmbeddedTransport, partitionOf } from "millrace";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { pause, TopicReader } from "./reader.js";
import { send } from "./sender.js";
import { Simulator } from "./simulator.js";

const START = Date.UTC(2026, 10, 22, 12);

let log: EmbeddedLog;
let transport: EmbeddedTransport;
let end: AbortController;
let simulator: Simulator;

beforeEach(async () => {
  log = new EmbeddedLog({ file: ":memory:", now: () => START });
  transport = new EmbeddedTransport({ log });
  await transport.connect();
  end = new AbortController();
  const lateByMs = { from: 1_800_000, to: 3_600_000 };
  simulator = new Simulator({
    seed: 1,
    users: 20,
    late: 0.1,
    lateByMs,
    expired: 0,
    invalid: 0.1,
    partitions: 3,
    partitionOf,
  });
});
afterEach(async () => {
  end.abort();
  await transport.close();
  log.close();
});

const makeTopic = () => transport.topics.create([{ topic: "in", partitions: 3, replicationFactor: -1, configs: {} }]);
const some = (count: number) => Array.from({ length: count }, () => simulator.next(START));

function open(from: "earliest" | "latest", seen: string[], waited: string[] = []): TopicReader {
  return new TopicReader(transport, {
    topics: ["in"],
    from,
    onRecord: ({ partition, key, value, timestampMs }) => void seen.push(`${partition} ${timestampMs} ${key} ${value}`),
    onWaiting: (topic) => waited.push(topic),
    onTrouble: (message) => waited.push(message),
    signal: end.signal,
  });
}

const written = (records: ReturnType<typeof some>): string[] =>
  records.map((r) => `${r.partition} ${r.ingestionTimeMs} ${r.key} ${r.value}`).sort();

test("what is sent is read: partition, time, key and value, nulls included", async () => {
  await makeTopic();
  const records = some(500);
  await send(transport.openProducer(), "in", records);
  const seen: string[] = [];
  const reader = open("earliest", seen);
  await reader.start();
  const reading = reader.run();
  await vi.waitFor(() => expect(seen).toHaveLength(500));
  end.abort();
  await reading;
  expect([...seen].sort()).toEqual(written(records));
});

test("a reader from the end sees what comes after its start", async () => {
  await makeTopic();
  const producer = transport.openProducer();
  await send(producer, "in", some(10));
  const seen: string[] = [];
  const reader = open("latest", seen);
  await reader.start();
  const later = some(5);
  await send(producer, "in", later);
  const reading = reader.run();
  await vi.waitFor(() => expect(seen).toHaveLength(5));
  end.abort();
  await reading;
  expect([...seen].sort()).toEqual(written(later));
});

test("a topic that does not exist yet is said once, and read from its beginning when it comes", async () => {
  const seen: string[] = [];
  const waited: string[] = [];
  const reader = open("latest", seen, waited);
  await reader.start();
  const reading = reader.run();
  await makeTopic();
  const records = some(3);
  await send(transport.openProducer(), "in", records);
  await vi.waitFor(() => expect(seen).toHaveLength(3), { timeout: 10_000 });
  end.abort();
  await reading;
  expect(waited).toEqual(["in"]);
});

test("a refused batch names topic, partition and what to do", async () => {
  await makeTopic();
  const farAhead = [simulator.next(START + 10 * 3_600_000)];
  await expect(send(transport.openProducer(), "in", farAhead)).rejects.toThrow(
    /topic "in", partition \d: refused, invalid-timestamp: .*; set message.timestamp.after.max.ms/,
  );
});

test("a pause ends as soon as it is aborted", async () => {
  const waiting = pause(60_000, end.signal);
  end.abort();
  await waiting;
  await pause(60_000, end.signal);
});
