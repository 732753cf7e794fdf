import { RecordCursor } from "../../runtime/record-cursor.js";
import type { Transport } from "../../runtime/transport.js";
import type { LoggedRecord } from "./log-reader.js";

const PLACES_MAX = 20;
const VALUE_SHOWN = 160;
const READ_TIMEOUT_MS = 60_000;

type Reading = "committed" | "everything";

/**
 * Where the log has what differs: each record of an id, in input and outputs, with offset, time and value, and whether a
 * read-committed reader sees it. For people who have nothing but the output of a run that is over.
 *
 * @param idsOf what a record is about
 * @param ids few: every topic is read twice for them
 * @throws Error when the log cannot be read to its end
 */
export async function whereabouts(
  transport: Transport,
  topics: readonly string[],
  idsOf: (record: LoggedRecord) => readonly string[],
  ids: ReadonlySet<string>,
): Promise<string[]> {
  const committed = new Set<string>();
  const places = new Map([...ids].map((id) => [id, [] as string[]]));
  for (const topic of topics) {
    for await (const record of scan(transport, topic, "committed"))
      if (idsOf(record).some((id) => ids.has(id))) committed.add(placeOf(record));
    for await (const record of scan(transport, topic, "everything")) {
      for (const id of idsOf(record)) {
        const what = committed.has(placeOf(record))
          ? "committed"
          : record.isStable
            ? "ABORTED"
            : "IN AN OPEN TRANSACTION";
        places.get(id)?.push(`  ${placeOf(record)} ${what}, ${timeOf(record)}: ${shown(record)}`);
      }
    }
  }
  return [...places].flatMap(([id, found]) => [
    `in the log of ${id.slice(0, VALUE_SHOWN)}:`,
    ...(found.length > 0 ? found.slice(0, PLACES_MAX) : ["  nothing"]),
    ...(found.length > PLACES_MAX
      ? [`  and ${found.length - PLACES_MAX} more, the last: ${found.at(-1)?.trim()}`]
      : []),
  ]);
}

function placeOf({ topic, partition, offset }: LoggedRecord): string {
  return `${topic}-${partition}@${offset}`;
}

function timeOf({ timestampMs }: LoggedRecord): string {
  return new Date(timestampMs).toISOString();
}

function shown({ value }: LoggedRecord): string {
  return value === null ? "null" : value.toString("utf8").slice(0, VALUE_SHOWN);
}

/** Each partition in its order, up to its end as of now, or to its first open transaction. `isStable`: no transaction before it is open. */
async function* scan(
  transport: Transport,
  topic: string,
  reading: Reading,
): AsyncGenerator<LoggedRecord & { readonly isStable: boolean }> {
  const [description] = await transport.topics.describe([topic]);
  const partitions = Array.from({ length: description?.partitions ?? 0 }, (_, partition) => ({ topic, partition }));
  const [low, high] = await Promise.all([
    transport.topics.offsets(partitions, "earliest"),
    transport.topics.offsets(partitions, "latest"),
  ]);
  const ends = new Map(high.map(({ partition, offset }) => [partition, offset]));
  const open = new Map(low.map(({ partition, offset }) => [partition, offset]));
  const isAtEnd = (partition: number): boolean => (open.get(partition) ?? 0) >= (ends.get(partition) ?? 0);
  for (const partition of [...open.keys()]) if (isAtEnd(partition)) open.delete(partition);
  const fetcher = transport.openFetcher({ name: "whereabouts", readCommitted: reading === "committed" });
  const deadlineMs = performance.now() + READ_TIMEOUT_MS;
  try {
    while (open.size > 0) {
      if (performance.now() > deadlineMs) throw new Error(`${topic} cannot be read to its end`);
      const positions = [...open].map(([partition, offset]) => ({ topic, partition, offset }));
      const answer = await fetcher.fetch({ positions, maxWaitMs: 500, bytesMax: 8 << 20, partitionBytesMax: 1 << 20 });
      // Nothing at all: what is left lies behind an open transaction.
      if (answer.length === 0) return;
      for (const fetched of answer) {
        const { partition, lastStableOffset } = fetched;
        const cursor = new RecordCursor(fetched);
        while (cursor.next()) {
          const { offset, timestampMs, key, value } = cursor;
          const headers = new Map(
            cursor.headers.map(([name, bytes]) => [name, Buffer.from(bytes ?? []).toString()] as const),
          );
          const isStable = offset < lastStableOffset;
          yield { topic, partition, offset, timestampMs, key: copy(key), value: copy(value), headers, isStable };
        }
        open.set(partition, cursor.nextOffset);
        if (isAtEnd(partition)) open.delete(partition);
      }
    }
  } finally {
    await fetcher.close();
  }
}

function copy(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes);
}
