import { type Producer, RecordBatch } from "millrace";
import type { SimulatedRecord } from "./simulator.js";

/** Kafka did not take what the simulator made. */
export class SendError extends Error {
  override readonly name = "SendError";
}

/**
 * Sends simulated records to one topic, in order within each partition.
 *
 * @throws SendError when a batch is refused, naming topic, partition and reason
 */
export async function send(producer: Producer, topic: string, records: readonly SimulatedRecord[]): Promise<void> {
  const batches: { readonly topic: string; readonly partition: number; readonly batch: RecordBatch }[] = [];
  const open = new Map<number, RecordBatch>();
  for (const { partition, ingestionTimeMs, key, value } of records) {
    let batch = open.get(partition);
    if (batch === undefined || !batch.hasRoomFor(key, value)) {
      batch = new RecordBatch();
      open.set(partition, batch);
      batches.push({ topic, partition, batch });
    }
    batch.append(ingestionTimeMs, key, value, []);
  }
  const results = await producer.produce(batches);
  for (const [index, result] of results.entries()) {
    if (!("refusal" in result)) continue;
    const partition = batches[index]?.partition;
    const advice =
      result.refusal === "invalid-timestamp"
        ? `; set message.timestamp.after.max.ms of topic "${topic}" higher, or --time-scale 1`
        : "";
    throw new SendError(
      `topic "${topic}", partition ${partition}: refused, ${result.refusal}: ${result.message}${advice}`,
    );
  }
}
