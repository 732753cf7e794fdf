import { EmbeddedLog, EmbeddedTransport, RecordBatch } from "millrace";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Row } from "./messages.js";
import type { Panel } from "./panels.js";
import { topicFeed } from "./topic-feed.js";

const PARTITIONS = 3;
let log: EmbeddedLog;
let transport: EmbeddedTransport;
let made: string[];
let feed: Panel;

beforeEach(async () => {
  log = new EmbeddedLog({ file: ":memory:" });
  transport = new EmbeddedTransport({ log });
  await transport.connect();
  made = [];
  const toRow = ({ value }: { readonly value: Buffer | null }): Row => {
    made.push(String(value));
    return [String(value)];
  };
  feed = topicFeed({ name: "feed", title: "", note: "", empty: "", columns: [], topic: "orders", transport, toRow });
});
afterEach(async () => {
  await feed.close?.();
  await transport.close();
  log.close();
});

const makeTopic = () =>
  transport.topics.create([{ topic: "orders", partitions: PARTITIONS, replicationFactor: -1, configs: {} }]);

/** `from` up to `to`, one after the other by time, each in the next partition. */
async function write(from: number, to: number): Promise<void> {
  const batches = Array.from({ length: PARTITIONS }, () => new RecordBatch());
  for (let at = from; at < to; at++) batches[at % PARTITIONS]?.append(at, null, Buffer.from(String(at)), []);
  const written = batches.map((batch, partition) => ({ topic: "orders", partition, batch }));
  await transport.openProducer().produce(written);
}

/** The numbers before `end`, the newest first. */
const newest = (end: number, count: number): Row[] => Array.from({ length: count }, (_, at) => [String(end - 1 - at)]);

test("shows the newest records of all partitions, and makes rows of no others", async () => {
  await makeTopic();
  await write(0, 300);
  expect(await feed.read()).toMatchObject({ rows: newest(300, 50), summary: "the last 50 of about 300" });
  expect(made.length).toBe(50);

  await write(300, 306);
  expect((await feed.read()).rows).toEqual(newest(306, 50));
  expect(made.slice(50).sort()).toEqual(["300", "301", "302", "303", "304", "305"]);
});

test("says so while its topic is not there, and reads it as soon as it is", async () => {
  expect(await feed.read()).toEqual({ rows: [], summary: "topic orders is not there yet" });
  await makeTopic();
  await write(0, 2);
  expect((await feed.read()).rows).toEqual([["1"], ["0"]]);
});
