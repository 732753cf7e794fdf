import { expect, test } from "vitest";
import { RecordBatch } from "../record-batch.js";
import type { FetchPosition } from "../transport.js";
import type { Cluster } from "./cluster.js";
import { KafkaJsFetcher } from "./fetcher.js";
import type { FetchAnswer } from "./requests.js";

const SIZES = { bytesMax: 1e6, partitionBytesMax: 1e6 };

/** A broker for each partition, which answers a poll when the test says so. */
class Brokers {
  readonly signal = new AbortController().signal;
  readonly requestTimeoutMs = 10_000;
  readonly polls: { readonly nodeId: number; answer(): void }[] = [];

  async findLeaders(): Promise<void> {}

  leaderOf({ partition }: { readonly partition: number }): number {
    return partition;
  }

  sendTo(nodeId: number): Promise<FetchAnswer> {
    return new Promise((resolve) => {
      this.polls.push({ nodeId, answer: () => resolve(oneRecordOf(nodeId)) });
    });
  }

  polled(nodeId: number): number {
    return this.polls.filter((poll) => poll.nodeId === nodeId).length;
  }

  answer(nodeId: number): void {
    this.polls.findLast((poll) => poll.nodeId === nodeId)?.answer();
  }
}

function oneRecordOf(partition: number): FetchAnswer {
  const batch = new RecordBatch();
  batch.append(1, null, Buffer.from("value"), []);
  const offsets = { highWatermark: 1, lastStableOffset: 1, logStartOffset: 0 };
  const records = Buffer.from(batch.seal());
  return {
    clientSideThrottleTime: 0,
    partitions: [{ topic: "in", partition, errorCode: 0, records, aborted: [], ...offsets }],
  };
}

function fetcherOf(brokers: Brokers): KafkaJsFetcher {
  return new KafkaJsFetcher(brokers as unknown as Cluster, { name: "test", readCommitted: true });
}

const at = (partition: number): FetchPosition => ({ topic: "in", partition, offset: 0 });

test("a poll that one broker keeps does not hold up a caller who wants to ask another", async () => {
  const brokers = new Brokers();
  const fetcher = fetcherOf(brokers);
  const first = fetcher.fetch({ positions: [at(0), at(1)], maxWaitMs: 10_000, ...SIZES });
  await expect.poll(() => brokers.polls.length).toBe(2);
  brokers.answer(1);
  expect((await first).map(({ partition }) => partition)).toEqual([1]);

  // Partition 1 has enough for now: the caller asks for the other one, and comes back in time to add it again.
  const beganMs = performance.now();
  expect(await fetcher.fetch({ positions: [at(0)], maxWaitMs: 20, ...SIZES })).toEqual([]);
  expect(performance.now() - beganMs).toBeLessThan(300);
  expect(brokers.polled(0)).toBe(1);

  const third = fetcher.fetch({ positions: [at(0), at(1)], maxWaitMs: 10_000, ...SIZES });
  await expect.poll(() => brokers.polled(1)).toBe(2);
  brokers.answer(0);
  expect((await third).map(({ partition }) => partition)).toEqual([0]);
});

test("an answer that comes after its time is still waited for", async () => {
  const brokers = new Brokers();
  const fetching = fetcherOf(brokers).fetch({ positions: [at(0)], maxWaitMs: 20, ...SIZES });
  await expect.poll(() => brokers.polls.length).toBe(1);
  setTimeout(() => brokers.answer(0), 150);
  expect((await fetching).map(({ partition }) => partition)).toEqual([0]);
});

test("a broker that does not answer is waited for once, and not again by each call", async () => {
  const brokers = new Brokers();
  const fetcher = fetcherOf(brokers);
  const request = { positions: [at(0)], maxWaitMs: 20, ...SIZES };
  expect(await fetcher.fetch(request)).toEqual([]);
  const beganMs = performance.now();
  expect(await fetcher.fetch(request)).toEqual([]);
  expect(performance.now() - beganMs).toBeLessThan(300);
  expect(brokers.polled(0)).toBe(1);
});
