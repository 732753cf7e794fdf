import { RecordCursor } from "../runtime/record-cursor.js";
import type { Transport } from "../runtime/transport.js";

const BYTES_MAX = 16 << 20;

/**
 * Reads what is committed in a topic to its end; `visit` sees the cursor at each record. The broker leaves out what is not
 * committed, so a transaction that never ended shows as missing records.
 */
export async function readTopic(
  transport: Transport,
  topic: string,
  visit: (record: RecordCursor, partition: number) => void,
): Promise<void> {
  const [description] = await transport.topics.describe([topic]);
  const partitions = Array.from({ length: description?.partitions ?? 0 }, (_, partition) => ({ topic, partition }));
  const ends = await transport.topics.offsets(partitions, "latest");
  const open = new Map(
    ends.filter(({ offset }) => offset > 0).map(({ partition, offset }) => [partition, { at: 0, end: offset }]),
  );
  const fetcher = transport.openFetcher({ name: "check", readCommitted: true });
  while (open.size > 0) {
    const fetched = await fetcher.fetch({
      positions: [...open].map(([partition, { at }]) => ({ topic, partition, offset: at })),
      maxWaitMs: 500,
      bytesMax: BYTES_MAX,
      partitionBytesMax: BYTES_MAX / 8,
    });
    for (const one of fetched) {
      const cursor = new RecordCursor(one);
      while (cursor.next()) visit(cursor, one.partition);
      const position = open.get(one.partition);
      if (position === undefined) continue;
      position.at = cursor.nextOffset;
      if (position.at >= position.end) open.delete(one.partition);
    }
  }
  await fetcher.close();
}
