import type { ChangelogRecord } from "../stores/task-state.js";
import { RecordCursor } from "./record-cursor.js";
import type { FetchedPartition } from "./transport.js";

/** One SQLite transaction of about 20 to 40 ms: between two of them the other tasks, heartbeats and sockets get their turn. */
const SLICE_RECORDS = 10_000;

export interface ChangelogSlice {
  readonly records: readonly ChangelogRecord[];
  /** Where the changelog goes on after them; behind the last one also past markers and compacted tails. */
  readonly nextOffset: number;
}

/** What one fetch brought of a changelog, in pieces that are small enough to be written in one go. */
export function* changelogSlices(fetched: FetchedPartition): Generator<ChangelogSlice> {
  const cursor = new RecordCursor(fetched);
  let records: ChangelogRecord[] = [];
  while (cursor.next()) {
    const { key, value, timestampMs, offset } = cursor;
    records.push({ key, value, timestampMs, offset });
    if (records.length < SLICE_RECORDS) continue;
    yield { records, nextOffset: offset + 1 };
    records = [];
  }
  yield { records, nextOffset: cursor.nextOffset };
}
