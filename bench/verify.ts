import type { Transport } from "../runtime/transport.js";
import type { Job } from "./contenders.js";
import { type AggregateRow, isRight, type Oracle } from "./oracle.js";
import { readTopic } from "./read-topic.js";

export interface Readers {
  /** Before the first value is read. */
  readonly prepare?: () => Promise<void>;
  readonly aggregate: (value: Buffer) => AggregateRow;
  readonly late: (value: Buffer) => { readonly transaction_id: string };
}

const JSON_READERS: Readers = {
  aggregate: (value) => JSON.parse(value.toString("utf8")) as AggregateRow,
  late: (value) => JSON.parse(value.toString("utf8")) as { readonly transaction_id: string },
};

/**
 * Reads what a run has written and compares it with the oracle, to the cent: the last aggregate of each user and window, each
 * late purchase once, and nothing expired or refused.
 *
 * @returns how many aggregates were written
 * @throws Error that says what is wrong, with all counts
 */
export async function verify(
  transport: Transport,
  job: Job,
  oracle: Oracle,
  readers: Readers = JSON_READERS,
): Promise<number> {
  await readers.prepare?.();
  let outputRecords = 0;
  const aggregates = oracle.checkAggregates();
  await readTopic(transport, job.output, ({ value }, partition) => {
    outputRecords++;
    aggregates.see(readers.aggregate(value as Buffer), partition);
  });
  const lates = oracle.checkLate();
  await readTopic(transport, job.late, ({ value }) => lates.see(readers.late(value as Buffer).transaction_id));
  let refused = 0;
  for (const topic of [job.expired, job.deadLetter]) await readTopic(transport, topic, () => refused++);
  const [rows, late] = [aggregates.verdict(), lates.verdict()];
  if (isRight(rows) && isRight(late) && refused === 0) return outputRecords;
  throw new Error(
    `${job.applicationId} has a wrong result: aggregates ${JSON.stringify(rows)}, late purchases ${JSON.stringify(late)}, ` +
      `${refused} expired or refused, of ${oracle.records} purchases in ${oracle.rows} rows`,
  );
}
