import type { Transport } from "../runtime/transport.js";
import type { Expected } from "./load.js";
import { readTopic } from "./read-topic.js";

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
  await readTopic(transport, topic, ({ value }) => {
    outputRecords++;
    const row = JSON.parse((value ?? Buffer.alloc(0)).toString("utf8")) as UserWindow;
    last.set(`${row.user_id}@${Date.parse(row.window_start)}`, row);
  });
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
