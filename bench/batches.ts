import { RecordBatch } from "../runtime/record-batch.js";
import type { PartitionBatch } from "../runtime/transport.js";

/** Records on their way into one topic, as full batches. */
export class Batches {
  readonly #open = new Map<number, RecordBatch>();
  readonly #closed: PartitionBatch[] = [];

  constructor(readonly topic: string) {}

  append(partition: number, timestampMs: number, key: Uint8Array | null, value: Uint8Array | null): void {
    let batch = this.#open.get(partition);
    if (batch === undefined || !batch.hasRoomFor(key, value)) {
      if (batch !== undefined) this.#closed.push({ topic: this.topic, partition, batch });
      batch = new RecordBatch();
      this.#open.set(partition, batch);
    }
    batch.append(timestampMs, key, value, []);
  }

  get all(): readonly PartitionBatch[] {
    return [...this.#closed, ...[...this.#open].map(([partition, batch]) => ({ topic: this.topic, partition, batch }))];
  }
}
