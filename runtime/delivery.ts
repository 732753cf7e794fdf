import { invariant } from "../topology/errors.js";
import type { NewRecord } from "./record-batch.js";
import { RecordBatch } from "./record-batch.js";
import { recordsOf } from "./record-cursor.js";
import type { PartitionBatch, ProduceResult, Refusal } from "./transport.js";

type Produce = (batches: readonly PartitionBatch[]) => Promise<readonly ProduceResult[]>;

export interface RefusedRecord<B extends PartitionBatch> {
  readonly from: B;
  readonly record: NewRecord;
  readonly refusal: Refusal;
  readonly message: string;
}

export interface Delivered<B extends PartitionBatch> {
  readonly batch: B;
  readonly baseOffset: number;
  readonly count: number;
}

/** A batch, or a part of one, that waits for its turn in its partition. */
interface Waiting<B extends PartitionBatch> {
  readonly from: B;
  readonly batch: RecordBatch;
}

/** Said of every record of a topic alike: with a second of patience for each half, 5,000 records would take hours. */
const OF_TOPIC: ReadonlySet<Refusal> = new Set(["unknown-topic", "not-authorized"]);

/**
 * Sends batches and finds the records a broker refuses: a refused batch is halved and sent again until the one record is
 * found (protocol 7). Each round sends the next batch of every partition, and the halves of a refused one go to the front
 * of their partition's queue, so that no record overtakes another. It ends: halving makes less each time, and a single
 * record is not sent twice.
 */
export async function deliver<B extends PartitionBatch>(
  produce: Produce,
  batches: readonly B[],
): Promise<{ readonly delivered: readonly Delivered<B>[]; readonly refused: readonly RefusedRecord<B>[] }> {
  const delivered: Delivered<B>[] = [];
  const refused: RefusedRecord<B>[] = [];
  const queues = queueByPartition(batches);
  while (queues.length > 0) {
    const round = queues.flatMap((queue) => queue.shift() ?? []);
    const results = await produce(
      round.map(({ from, batch }) => ({ topic: from.topic, partition: from.partition, batch })),
    );
    invariant(results.length === round.length, "a transport must answer for every batch");
    for (const [at, result] of results.entries()) {
      const waiting = round[at] as Waiting<B>;
      const { from, batch } = waiting;
      if ("baseOffset" in result) delivered.push({ batch: from, baseOffset: result.baseOffset, count: batch.count });
      else if (batch.count === 1 || OF_TOPIC.has(result.refusal)) {
        for (const record of recordsOf(batch)) refused.push({ from, record, ...result });
      } else (queues[at] as Waiting<B>[]).unshift(...halves(waiting));
    }
    for (let at = queues.length - 1; at >= 0; at--) if (queues[at]?.length === 0) queues.splice(at, 1);
  }
  return { delivered, refused };
}

function queueByPartition<B extends PartitionBatch>(batches: readonly B[]): Waiting<B>[][] {
  const queues = new Map<string, Waiting<B>[]>();
  for (const from of batches) {
    const name = `${from.partition} ${from.topic}`;
    const queue = queues.get(name) ?? [];
    queue.push({ from, batch: from.batch });
    queues.set(name, queue);
  }
  return [...queues.values()];
}

function halves<B extends PartitionBatch>({ from, batch }: Waiting<B>): Waiting<B>[] {
  const records = recordsOf(batch);
  const half = Math.ceil(records.length / 2);
  return [records.slice(0, half), records.slice(half)].map((part) => ({ from, batch: batchOf(part) }));
}

export function batchOf(records: readonly NewRecord[]): RecordBatch {
  const batch = new RecordBatch();
  for (const { timestampMs, key, value, headers } of records) batch.append(timestampMs, key, value, headers);
  return batch;
}
