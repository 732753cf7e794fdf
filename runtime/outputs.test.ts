import { expect, test } from "vitest";
import { StreamsMetrics } from "../metrics/metrics.js";
import type { RefusedRecord } from "./delivery.js";
import { Outputs } from "./outputs.js";
import { RecordBatch } from "./record-batch.js";
import type { OutputBatch } from "./record-collector.js";
import type { TopicDirectory } from "./topic-directory.js";

const PARTITIONS = 3;
const DIRECTORY = { lookUp: async () => undefined, partitionCount: () => PARTITIONS } as unknown as TopicDirectory;

function refused(partition: number, key: string): RefusedRecord<OutputBatch> {
  const destination = { node: "out", topic: "out", onError: () => ({ deadLetter: "dead" }) } as const;
  return {
    from: { destination, topic: "out", partition, batch: new RecordBatch() },
    record: { timestampMs: 1, key: Buffer.from(key), value: Buffer.from("v"), headers: [] },
    refusal: "unknown-topic",
    message: "gone",
  };
}

test("dead letters of one partition share their batches: a batch and a round trip for each would outlast the transaction", async () => {
  const metrics = new StreamsMetrics({ applicationId: "app" });
  const outputs = new Outputs({ directory: DIRECTORY, handlers: {} as never, metrics });
  const letters = await outputs.afterRefusal(Array.from({ length: 300 }, (_, at) => refused(at % 5, `key ${at}`)));

  expect(letters.map(({ topic, partition, batch }) => [topic, partition, batch.count])).toEqual([
    ["dead", 0, 120],
    ["dead", 1, 120],
    ["dead", 2, 60],
  ]);
});
