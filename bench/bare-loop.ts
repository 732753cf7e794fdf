// node .cache/bench/bench/bare-loop.js BROKERS APPLICATION_ID INPUT OUTPUT LATE STATE_DIR PARTITIONS
// The purchase job by hand, over the parts that the engine stands on: its fetcher, batch codec and transactional producer,
// and SQLite. No topology, no error handling, no restore, one thread, exactly-once every 100 ms. It is the limit that the
// engine is measured against, and no way to write an application.
import { join } from "node:path";
import Database from "better-sqlite3";
import { KafkaJsTransport } from "../runtime/kafkajs/transport.js";
import { silentLogger } from "../runtime/logger.js";
import { BATCH } from "../runtime/record-batch.js";
import { RecordCursor } from "../runtime/record-cursor.js";
import type { FetchedPartition, GroupMetadata, TransactionalProducer } from "../runtime/transport.js";
import { windowChangelogKey } from "../stores/changelog.js";
import { Batches } from "./batches.js";

const COMMIT_INTERVAL_MS = 100;
const WINDOW_MS = 300_000;
const GRACE_MS = 3_600_000;
const LATE_AFTER_MS = 1_800_000;
/** Of a windowed changelog key: the sequence, which an output key has not. */
const SEQUENCE_BYTES = 4;
const DIRTY_ROWS_MAX = 40_000;
const FETCH = { maxWaitMs: 100, bytesMax: 8 << 20, partitionBytesMax: 2 << 20 };

const [brokers = "", applicationId = "", input = "", output = "", late = "", stateDir = "", partitionCount = ""] =
  process.argv.slice(2);
const changelog = `${applicationId}-changelog`;
const partitions = Array.from({ length: Number(partitionCount) }, (_, partition) => partition);

interface Purchase {
  readonly user_id: string;
  readonly amount: number;
  readonly timestamp: string;
}

interface Row {
  readonly user: string;
  readonly startMs: number;
  readonly partition: number;
  readonly key: Buffer;
  count: number;
  late: number;
  cents: number;
  timestampMs: number;
  isDirty: boolean;
}

/** What one commit takes: the same bytes go to the changelog and to SQLite. */
interface Taken {
  readonly rows: readonly { readonly key: Buffer; readonly value: Buffer }[];
  readonly batches: Batches[];
  readonly offsets: readonly { topic: string; partition: number; offset: number; metadata: string }[];
}

/** The rows of one partition: how far event time is differs between partitions, and with it what has expired. */
class Rows {
  readonly partition: number;
  readonly #windows = new Map<number, Map<string, Row>>();

  constructor(partition: number) {
    this.partition = partition;
  }

  of(user: string, startMs: number): Row {
    let window = this.#windows.get(startMs);
    if (window === undefined) {
      window = new Map();
      this.#windows.set(startMs, window);
      for (const start of this.#windows.keys()) if (start < startMs - 2 * GRACE_MS) this.#windows.delete(start);
    }
    let row = window.get(user);
    if (row === undefined) {
      const key = windowChangelogKey(Buffer.from(user, "latin1"), startMs);
      const stored = read.get(key);
      const sums = stored === undefined ? { count: 0, late: 0, cents: 0 } : JSON.parse(stored.toString("latin1"));
      row = { user, startMs, partition: this.partition, key, ...sums, timestampMs: 0, isDirty: false } as Row;
      window.set(user, row);
    }
    return row;
  }
}

function apply({ rows }: Taken): void {
  database.exec("BEGIN");
  for (const { key, value } of rows) write.run(key, value);
  database.exec("COMMIT");
}

const database = new Database(join(stateDir, "bare-loop.db"));
database.pragma("journal_mode = WAL");
database.pragma("synchronous = NORMAL");
database.exec("CREATE TABLE rows (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID");
const read = database.prepare<[Buffer], Buffer>("SELECT v FROM rows WHERE k = ?").pluck();
const write = database.prepare("INSERT INTO rows VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v");

const rows = partitions.map((partition) => new Rows(partition));
let dirty: Row[] = [];
const positions = new Map(partitions.map((partition) => [partition, 0]));
const processed = new Map<number, number>();
let lates = new Batches(late);
let day = "";
let dayMs = 0;

/** Of the one layout that the load has. */
function eventTimeMs(text: string): number {
  if (!text.startsWith(day) || day === "") {
    day = text.slice(0, 10);
    dayMs = Date.parse(day);
  }
  const digit = (at: number): number => text.charCodeAt(at) - 48;
  const seconds = (digit(11) * 10 + digit(12)) * 3_600 + (digit(14) * 10 + digit(15)) * 60 + digit(17) * 10 + digit(18);
  return dayMs + seconds * 1_000 + digit(20) * 100 + digit(21) * 10 + digit(22);
}

function processAll(fetched: FetchedPartition): void {
  const cursor = new RecordCursor(fetched);
  const own = rows[fetched.partition] as Rows;
  while (cursor.next()) {
    const value = cursor.value as Buffer;
    const text = value.toString("latin1");
    const purchase = JSON.parse(text) as Purchase;
    const eventMs = eventTimeMs(purchase.timestamp);
    const row = own.of(purchase.user_id, eventMs - (eventMs % WINDOW_MS));
    if (!row.isDirty) {
      row.isDirty = true;
      dirty.push(row);
    }
    row.count++;
    row.cents += Math.round(purchase.amount * 100);
    if (eventMs > row.timestampMs) row.timestampMs = eventMs;
    if (eventMs >= cursor.timestampMs - LATE_AFTER_MS) continue;
    row.late++;
    const times = `"event_time":"${purchase.timestamp}","ingestion_time":"${new Date(cursor.timestampMs).toISOString()}"`;
    lates.append(
      fetched.partition,
      eventMs,
      cursor.key,
      Buffer.from(`${text.slice(0, -1)},${times},"is_late":1}`, "latin1"),
    );
  }
  processed.set(fetched.partition, cursor.nextOffset);
}

const isoTimes = new Map<number, string>();
function isoTime(timeMs: number): string {
  let text = isoTimes.get(timeMs);
  if (text === undefined) {
    text = new Date(timeMs).toISOString();
    isoTimes.set(timeMs, text);
  }
  return text;
}

function take(): Taken {
  const outputs = new Batches(output);
  const changes = new Batches(changelog);
  const taken: { key: Buffer; value: Buffer }[] = [];
  for (const row of dirty) {
    const { user, startMs, partition, key, timestampMs, count, late: lateCount, cents } = row;
    row.isDirty = false;
    const value = Buffer.from(`{"count":${count},"late":${lateCount},"cents":${cents}}`, "latin1");
    taken.push({ key, value });
    changes.append(partition, timestampMs, key, value);
    const text =
      `{"window_start":"${isoTime(startMs)}","window_end":"${isoTime(startMs + WINDOW_MS)}","user_id":"${user}",` +
      `"transaction_count":${count},"late_transaction":${lateCount},"total_amount":${cents / 100}}`;
    const outputKey = key.subarray(0, key.length - SEQUENCE_BYTES);
    outputs.append(partition, timestampMs, outputKey, Buffer.from(text, "latin1"));
  }
  dirty = [];
  const offsets = [...processed].map(([partition, offset]) => ({ topic: input, partition, offset, metadata: "" }));
  processed.clear();
  const batches = [outputs, changes, lates];
  lates = new Batches(late);
  return { rows: taken, batches, offsets };
}

async function commit(producer: TransactionalProducer, group: GroupMetadata): Promise<void> {
  const taken = take();
  if (taken.offsets.length === 0) return;
  producer.begin();
  const results = await producer.produce(taken.batches.flatMap(({ all }) => all));
  const refused = results.find((result) => "refusal" in result);
  if (refused !== undefined) throw new Error(`refused: ${JSON.stringify(refused)}`);
  await producer.sendOffsets(group, taken.offsets);
  await producer.commit();
  apply(taken);
}

/** The offset behind the last whole batch, read from the batch headers: the next fetch is sent before this one is processed. */
function nextOffset({ records, offset }: FetchedPartition): number {
  let next = offset;
  for (let at = 0; at + BATCH.records <= records.length; ) {
    const end = at + BATCH.overhead + records.readInt32BE(at + BATCH.length);
    if (end > records.length) break;
    next = Number(records.readBigInt64BE(at)) + records.readInt32BE(at + BATCH.lastOffsetDelta) + 1;
    at = end;
  }
  return next;
}

async function main(): Promise<void> {
  const transport = new KafkaJsTransport({ client: { brokers: brokers.split(",") }, logger: silentLogger });
  await transport.connect();
  const producer = transport.openTransactionalProducer({
    transactionalId: applicationId,
    transactionTimeoutMs: 60_000,
  });
  await producer.initialize();
  const identity = { groupId: applicationId, groupInstanceId: applicationId };
  const timing = { sessionTimeoutMs: 45_000, rebalanceTimeoutMs: 45_000, heartbeatIntervalMs: 3_000 };
  const member = transport.openGroupMember({ ...identity, ...timing });
  const generation = await member.join({
    topics: [input],
    metadata: new Uint8Array(0),
    assign: (members) => new Map(members.map(({ memberId }) => [memberId, new Uint8Array(0)])),
  });
  const group = { ...identity, ...generation };
  const fetcher = transport.openFetcher({ name: applicationId, readCommitted: true });
  const fetch = () => {
    const all = [...positions].map(([partition, offset]) => ({ topic: input, partition, offset }));
    return fetcher.fetch({ positions: all, ...FETCH });
  };
  let isEnding = false;
  process.once("SIGTERM", () => {
    isEnding = true;
  });
  console.log("RUNNING");
  let committing: Promise<void> = Promise.resolve();
  let lastCommitMs = performance.now();
  for (let next = fetch(); !isEnding; ) {
    const fetched = await next;
    for (const one of fetched) positions.set(one.partition, nextOffset(one));
    next = fetch();
    for (const one of fetched) processAll(one);
    if (performance.now() - lastCommitMs < COMMIT_INTERVAL_MS && dirty.length < DIRTY_ROWS_MAX) continue;
    lastCommitMs = performance.now();
    await committing;
    committing = commit(producer, group);
  }
  await committing;
  await commit(producer, group);
  await member.leave();
  await transport.close();
  process.exit(0);
}

await main();
