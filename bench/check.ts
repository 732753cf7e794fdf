import { RecordCursor } from "../runtime/record-cursor.js";
import type { Transport } from "../runtime/transport.js";
import type { Expected } from "./load.js";

export interface CheckResult {
  readonly outputRecords: number;
  readonly missing: number;
  readonly different: number;
  readonly unexpected: number;
}

interface UserWindow {
  readonly user_id: string;
  readonly window_start: string;
  readonly transaction_count: number;
  readonly late_transaction: number;
  readonly total_amount: number;
}

/** Reads the output topic to its end and compares the last value of each user and window with what must be there, to the cent. */
export async function check(transport: Transport, topic: string, expected: Expected): Promise<CheckResult> {
  const last = new Map<string, UserWindow>();
  let outputRecords = 0;
  for await (const value of values(transport, topic)) {
    outputRecords++;
    const row = JSON.parse(value) as UserWindow;
    last.set(`${row.user_id}@${Date.parse(row.window_start)}`, row);
  }
  let missing = 0;
  let different = 0;
  for (const [key, want] of expected) {
    const row = last.get(key);
    if (row === undefined) missing++;
    else if (
      row.transaction_count !== want.count ||
      row.late_transaction !== want.late ||
      Math.round(row.total_amount * 100) !== want.cents
    )
      different++;
  }
  const unexpected = [...last.keys()].filter((key) => !expected.has(key)).length;
  return { outputRecords, missing, different, unexpected };
}

async function* values(transport: Transport, topic: string): AsyncGenerator<string> {
  const [description] = await transport.topics.describe([topic]);
  const partitions = Array.from({ length: description?.partitions ?? 0 }, (_, partition) => ({ topic, partition }));
  const ends = await transport.topics.offsets(partitions, "latest");
  const open = new Map(
    ends.filter(({ offset }) => offset > 0).map(({ partition, offset }) => [partition, { at: 0, end: offset }]),
  );
  const fetcher = transport.openFetcher({ name: "check", readCommitted: true });
  while (open.size > 0) {
    const positions = [...open].map(([partition, { at }]) => ({ topic, partition, offset: at }));
    for (const fetched of await fetcher.fetch({
      positions,
      maxWaitMs: 500,
      bytesMax: 8 << 20,
      partitionBytesMax: 1 << 20,
    })) {
      const cursor = new RecordCursor(fetched);
      while (cursor.next()) yield (cursor.value ?? Buffer.alloc(0)).toString("utf8");
      const position = open.get(fetched.partition);
      if (position === undefined) continue;
      position.at = cursor.nextOffset;
      if (position.at >= position.end) open.delete(fetched.partition);
    }
  }
  await fetcher.close();
}
