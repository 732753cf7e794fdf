import { RecordCursor } from "../runtime/record-cursor.js";
import type { Fetcher, Transport } from "../runtime/transport.js";
import type { Headers, TopicPartition } from "../topology/record.js";
import type { Column, Row } from "./messages.js";
import type { Panel, PanelRows } from "./panels.js";

/** A record at the end of a topic. Key and value are copies. */
export interface FeedRecord extends TopicPartition {
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Headers;
}

export interface TopicFeedOptions {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  readonly empty: string;
  readonly columns: readonly Column[];
  readonly topic: string;
  /** Connected by whoever made it, sooner or later; until then the feed says what it waits for. */
  readonly transport: Transport;
  /** A row of the feed; what it throws is shown in the row's place as the record's key. */
  toRow(record: FeedRecord): Row | Promise<Row>;
  /** Orders the feed, the newest first; by default the record's timestamp. */
  timeOf?(record: FeedRecord): number;
}

const ROWS_KEPT = 50;
/** Of each partition and read, and of all of them. Whatever else was written since the last one is not read at all: it is a feed, not a count. */
const RECORDS_READ = { min: 5, max: 20, ofAll: 2 * ROWS_KEPT } as const;
/** How wide the topic is and where it begins changes seldom: asked again after this long, and after each failure. */
const LAYOUT_MS = 15_000;
const EVERY_MS = 1_000;
const BYTES_MAX = 1024 * 1024;
const PARTITION_BYTES_MAX = 128 * 1024;

/**
 * The end of a topic as a read-committed reader sees it. It asks where the topic ends and reads the last few records
 * before that, so its cost does not grow with what is written, and nothing that a crash would take back is ever shown.
 */
export function topicFeed(options: TopicFeedOptions): Panel {
  const feed = new TopicFeed(options);
  const { name, title, note, empty, columns } = options;
  return { name, title, note, empty, columns, everyMs: EVERY_MS, read: () => feed.read(), close: () => feed.close() };
}

interface Kept {
  readonly timeMs: number;
  readonly row: Row;
}

/** A record that was read; its row is made when it is among those that are kept. */
interface Fresh {
  readonly timeMs: number;
  readonly record: FeedRecord;
}

interface TopicLayout {
  readonly partitions: readonly TopicPartition[];
  readonly starts: ReadonlyMap<number, number>;
  readonly readAtMs: number;
}

class TopicFeed {
  readonly #options: TopicFeedOptions;
  readonly #positions = new Map<number, number>();
  #fetcher: Fetcher | undefined;
  #kept: readonly Kept[] = [];
  #layout: TopicLayout | undefined;
  #isClosed = false;

  constructor(options: TopicFeedOptions) {
    this.#options = options;
  }

  async read(): Promise<PanelRows> {
    try {
      return await this.#readEnd();
    } catch (error) {
      this.#layout = undefined;
      throw error;
    }
  }

  async #readEnd(): Promise<PanelRows> {
    const { topic, transport } = this.#options;
    const layout = await this.#layoutNow();
    if (layout === undefined) return { rows: [], summary: `topic ${topic} is not there yet` };
    const { partitions, starts } = layout;
    const ends = await transport.topics.offsets(partitions, "latest");
    const { min, max, ofAll } = RECORDS_READ;
    const records = Math.min(max, Math.max(min, Math.ceil(ofAll / partitions.length)));
    const positions = ends
      .map(({ partition, offset: end }) => {
        const start = Math.max(starts.get(partition) ?? 0, end - records, this.#positions.get(partition) ?? 0);
        // A topic that was made anew ends before the place that was read last.
        return { topic, partition, offset: Math.min(start, end), end };
      })
      .filter(({ offset, end }) => offset < end);
    await this.#fetch(positions);
    const written = ends.reduce((sum, { partition, offset }) => sum + offset - (starts.get(partition) ?? 0), 0);
    const summary =
      this.#kept.length === 0 ? "" : `the last ${this.#kept.length} of about ${written.toLocaleString("en-US")}`;
    return { rows: this.#kept.map(({ row }) => row), summary };
  }

  async #layoutNow(): Promise<TopicLayout | undefined> {
    if (this.#layout !== undefined && performance.now() - this.#layout.readAtMs < LAYOUT_MS) return this.#layout;
    const { topic, transport } = this.#options;
    const [description] = await transport.topics.describe([topic], "Read");
    if (description === undefined) return undefined;
    const partitions = Array.from({ length: description.partitions }, (_, partition) => ({ topic, partition }));
    const starts = new Map(
      (await transport.topics.offsets(partitions, "earliest")).map(({ partition, offset }) => [partition, offset]),
    );
    this.#layout = { partitions, starts, readAtMs: performance.now() };
    return this.#layout;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#fetcher?.close();
  }

  async #fetch(positions: readonly { topic: string; partition: number; offset: number }[]): Promise<void> {
    if (positions.length === 0 || this.#isClosed) return;
    const { transport, toRow, timeOf, name } = this.#options;
    this.#fetcher ??= transport.openFetcher({ readCommitted: true, name: `dashboard-${name}` });
    const request = { positions, maxWaitMs: 50, bytesMax: BYTES_MAX, partitionBytesMax: PARTITION_BYTES_MAX };
    const fresh: Fresh[] = [];
    for (const part of await this.#fetcher.fetch(request)) {
      if (part.fault !== undefined) continue; // asked again at the next read, from where the topic ends then
      const cursor = new RecordCursor(part);
      while (cursor.next()) {
        const record = copyOf(cursor, part);
        fresh.push({ timeMs: timeOf?.(record) ?? record.timestampMs, record });
        if (fresh.length > ROWS_KEPT * 4) fresh.splice(0, ROWS_KEPT);
      }
      this.#positions.set(part.partition, cursor.nextOffset);
    }
    const newest = [...fresh, ...this.#kept].sort((a, b) => b.timeMs - a.timeMs).slice(0, ROWS_KEPT);
    this.#kept = await Promise.all(
      newest.map(async (one) => ("row" in one ? one : { timeMs: one.timeMs, row: await rowOf(one.record, toRow) })),
    );
  }
}

function copyOf(cursor: RecordCursor, { topic, partition }: TopicPartition): FeedRecord {
  const { offset, timestampMs, key, value, headers } = cursor;
  const copy = (bytes: Buffer | null): Buffer | null => (bytes === null ? null : Buffer.from(bytes));
  return { topic, partition, offset, timestampMs, key: copy(key), value: copy(value), headers };
}

/** One record that cannot be shown must not hide the others. */
async function rowOf(record: FeedRecord, toRow: TopicFeedOptions["toRow"]): Promise<Row> {
  try {
    return await toRow(record);
  } catch (error) {
    return [`${record.topic}-${record.partition}@${record.offset}: ${error instanceof Error ? error.message : error}`];
  }
}
