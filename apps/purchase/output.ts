import { string, windowed } from "millrace/serdes";
import { WINDOW_MS } from "./model.js";
import type { ReadRecord } from "./reader.js";

/** One user's window as an aggregate record has it. Money in cents. */
export interface AggregateRow {
  readonly userId: string;
  readonly windowStartMs: number;
  readonly count: number;
  readonly late: number;
  readonly cents: number;
}

const windowedKey = windowed(string, { sizeMs: WINDOW_MS });

/** The value as a JSON object; undefined when it is none. */
export function objectOf(value: Uint8Array | null): Readonly<Record<string, unknown>> | undefined {
  if (value === null) return undefined;
  try {
    const parsed: unknown = JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8"));
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // the pipeline sends it to the dead letters; readers show it as what it is
  }
}

/** Undefined for a record that is no aggregate. */
export function aggregateOf({ key, value }: Pick<ReadRecord, "key" | "value">): AggregateRow | undefined {
  const row = objectOf(value);
  if (key === null || key.byteLength < 8 || row === undefined) return undefined;
  const { key: userId, window } = windowedKey.deserialize(key);
  const number = (field: string): number => Number(row[field] ?? 0);
  const cents = Math.round(number("total_amount") * 100);
  return {
    userId,
    windowStartMs: window.startMs,
    count: number("transaction_count"),
    late: number("late_transaction"),
    cents,
  };
}
