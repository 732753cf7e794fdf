import Database from "better-sqlite3";
import { FatalError } from "../errors.js";

/** Marks a SQLite file as an embedded log ("mrlg"), so that another program's database is refused, not written into. */
const APPLICATION_ID = 0x6d726c67;
const FORMAT = 1;
const MEMORY = ":memory:";
/** A batch is many records, and large pages hold it with few steps. */
const PAGE_BYTES = 16_384;
/** In memory each write copies the pages that it changes for its rollback, and small ones took two thirds of the time. */
const PAGE_BYTES_IN_MEMORY = 4_096;

const SCHEMA = `
  CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE topics(topic TEXT PRIMARY KEY, topic_id TEXT NOT NULL, configs TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE partitions(
    key INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    log_start INTEGER NOT NULL DEFAULT 0, UNIQUE(topic, partition));
  CREATE TABLE batches(
    partition_key INTEGER NOT NULL, base_offset INTEGER NOT NULL, last_offset INTEGER NOT NULL,
    size INTEGER NOT NULL, bytes BLOB NOT NULL);
  -- Covers the question "how far do so many bytes reach", which must not load the bytes.
  CREATE UNIQUE INDEX batches_by_offset ON batches(partition_key, base_offset, last_offset, size);
  CREATE TABLE aborted(
    partition_key INTEGER NOT NULL, last_offset INTEGER NOT NULL, first_offset INTEGER NOT NULL,
    producer_id INTEGER NOT NULL, PRIMARY KEY(partition_key, last_offset)) WITHOUT ROWID;
  CREATE TABLE producers(
    transactional_id TEXT PRIMARY KEY, producer_id INTEGER NOT NULL, epoch INTEGER NOT NULL,
    timeout_ms INTEGER NOT NULL, started_ms INTEGER) WITHOUT ROWID;
  CREATE TABLE open_partitions(
    producer_id INTEGER NOT NULL, partition_key INTEGER NOT NULL, first_offset INTEGER,
    PRIMARY KEY(producer_id, partition_key)) WITHOUT ROWID;
  CREATE TABLE pending_offsets(
    producer_id INTEGER NOT NULL, group_id TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL, metadata TEXT NOT NULL,
    PRIMARY KEY(producer_id, group_id, topic, partition)) WITHOUT ROWID;
  CREATE TABLE committed_offsets(
    group_id TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL, metadata TEXT NOT NULL, PRIMARY KEY(group_id, topic, partition)) WITHOUT ROWID;
`;

/**
 * The SQLite file of an embedded log: its schema, its lock, and its prepared statements by name.
 *
 * The lock is SQLite's own exclusive one: the operating system frees it when the process dies, however it dies.
 */
export class LogDatabase {
  readonly sql: Statements;
  readonly #db: Database.Database;
  // Made once: better-sqlite3 builds four functions for each one that is made, which took as long as a small write.
  readonly #inTransaction: Database.Transaction<(work: () => unknown) => unknown>;

  /** @throws FatalError LOG_IN_USE, LOG_UNREADABLE */
  constructor(file: string) {
    this.#db = open(file);
    this.sql = prepare(this.#db);
    this.#inTransaction = this.#db.transaction((work: () => unknown) => work());
  }

  /** Everything `work` writes, or nothing of it. */
  transaction<T>(work: () => T): T {
    return this.#inTransaction.immediate(work) as T;
  }

  /** The next value of a counter that never goes back; the first is 1. */
  count(name: string): number {
    return this.sql.count.get(name)?.value as number;
  }

  close(): void {
    this.#db.close();
  }
}

export function isStorageError(error: unknown): boolean {
  return error instanceof Database.SqliteError;
}

function open(file: string): Database.Database {
  let db: Database.Database | undefined;
  try {
    db = new Database(file, { timeout: 0 });
    db.pragma("locking_mode = EXCLUSIVE");
    const applicationId = db.pragma("application_id", { simple: true });
    const format = db.pragma("user_version", { simple: true });
    const tables = statement<[], { n: number }>(db, "SELECT count(*) AS n FROM sqlite_master").get()?.n ?? 0;
    if (tables > 0 && (applicationId !== APPLICATION_ID || format !== FORMAT)) {
      throw new FatalError("LOG_UNREADABLE", `${file} is not an embedded log of format ${FORMAT}; name another file`);
    }
    if (tables === 0) db.pragma(`page_size = ${file === MEMORY ? PAGE_BYTES_IN_MEMORY : PAGE_BYTES}`);
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = NORMAL");
    db.pragma("cache_size = -32000");
    const fresh = db;
    // A write takes the lock now: a reader alone would hold only a shared one, and let a second process in.
    db.transaction(() => {
      if (tables === 0) fresh.exec(SCHEMA);
      fresh.pragma(`application_id = ${APPLICATION_ID}`);
      fresh.pragma(`user_version = ${FORMAT}`);
    }).immediate();
    return db;
  } catch (cause) {
    db?.close();
    throw opening(file, cause);
  }
}

function opening(file: string, cause: unknown): unknown {
  if (!(cause instanceof Database.SqliteError)) return cause;
  if (cause.code.startsWith("SQLITE_BUSY")) {
    const message = `the embedded log ${file} is in use; it belongs to one process at a time: close the other, or name another file`;
    return new FatalError("LOG_IN_USE", message, { cause });
  }
  return new FatalError("LOG_UNREADABLE", `the embedded log ${file} cannot be opened: ${cause.message}`, { cause });
}

export interface OffsetRow {
  readonly group_id: string;
  readonly topic: string;
  readonly partition: number;
  readonly next_offset: number;
  readonly metadata: string;
}

interface ProducerRow {
  readonly transactional_id: string;
  readonly producer_id: number;
  readonly epoch: number;
  readonly timeout_ms: number;
  readonly started_ms: number | null;
}

/** What is used of a prepared statement: the declarations of a build cannot name better-sqlite3's own type of it. */
export interface PreparedStatement<Parameters extends unknown[], Result> {
  get(...parameters: Parameters): Result | undefined;
  all(...parameters: Parameters): Result[];
  iterate(...parameters: Parameters): IterableIterator<Result>;
  run(...parameters: Parameters): { readonly changes: number; readonly lastInsertRowid: number | bigint };
}

function statement<Parameters extends unknown[], Result = unknown>(
  db: Database.Database,
  sql: string,
): PreparedStatement<Parameters, Result> {
  return db.prepare<Parameters, Result>(sql);
}

type Statements = ReturnType<typeof prepare>;

function prepare(db: Database.Database) {
  return { ...counterStatements(db), ...topicStatements(db), ...batchStatements(db), ...producerStatements(db) };
}

function counterStatements(db: Database.Database) {
  return {
    count: statement<[string], { value: number }>(
      db,
      "INSERT INTO counters VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value",
    ),
  };
}

function topicStatements(db: Database.Database) {
  return {
    topics: statement<[], { topic: string; topic_id: string; configs: string }>(db, "SELECT * FROM topics"),
    partitions: statement<[string], { key: number; partition: number; log_start: number }>(
      db,
      "SELECT key, partition, log_start FROM partitions WHERE topic = ? ORDER BY partition",
    ),
    addTopic: statement<[string, string, string]>(db, "INSERT INTO topics VALUES (?, ?, ?)"),
    addPartition: statement<[string, number]>(db, "INSERT INTO partitions(topic, partition) VALUES (?, ?)"),
    dropTopic: statement<[string]>(db, "DELETE FROM topics WHERE topic = ?"),
    dropPartitions: statement<[string]>(db, "DELETE FROM partitions WHERE topic = ?"),
    dropCommitted: statement<[string]>(db, "DELETE FROM committed_offsets WHERE topic = ?"),
    dropCommittedOf: statement<[string]>(db, "DELETE FROM committed_offsets WHERE group_id = ?"),
    dropPending: statement<[string]>(db, "DELETE FROM pending_offsets WHERE topic = ?"),
  };
}

function batchStatements(db: Database.Database) {
  return {
    addBatch: statement<[number, number, number, number, Buffer]>(db, "INSERT INTO batches VALUES (?, ?, ?, ?, ?)"),
    lastOffset: statement<[number], { last_offset: number }>(
      db,
      "SELECT last_offset FROM batches WHERE partition_key = ? ORDER BY base_offset DESC LIMIT 1",
    ),
    batchAt: statement<[number, number], { base_offset: number }>(
      db,
      "SELECT base_offset FROM batches WHERE partition_key = ? AND base_offset <= ? ORDER BY base_offset DESC LIMIT 1",
    ),
    sizes: statement<[number, number, number], { base_offset: number; last_offset: number; size: number }>(
      db,
      "SELECT base_offset, last_offset, size FROM batches WHERE partition_key = ? AND base_offset >= ? AND base_offset < ? ORDER BY base_offset",
    ),
    bytes: statement<[number, number, number], { bytes: Buffer }>(
      db,
      "SELECT bytes FROM batches WHERE partition_key = ? AND base_offset BETWEEN ? AND ? ORDER BY base_offset",
    ),
    setLogStart: statement<[number, number]>(db, "UPDATE partitions SET log_start = ? WHERE key = ?"),
    // The first condition bounds the scan of the index, the second decides.
    cutBatches: statement<[number, number, number]>(
      db,
      "DELETE FROM batches WHERE partition_key = ? AND base_offset < ? AND last_offset < ?",
    ),
    cutAborted: statement<[number, number]>(db, "DELETE FROM aborted WHERE partition_key = ? AND last_offset < ?"),
    addAborted: statement<[number, number, number, number]>(db, "INSERT INTO aborted VALUES (?, ?, ?, ?)"),
    lastAborted: statement<[number], { offset: number | null }>(
      db,
      "SELECT max(last_offset) AS offset FROM aborted WHERE partition_key = ?",
    ),
    aborted: statement<[number, number, number], { producer_id: number; first_offset: number }>(
      db,
      "SELECT producer_id, first_offset FROM aborted WHERE partition_key = ? AND last_offset >= ? AND first_offset < ? ORDER BY last_offset",
    ),
  };
}

function producerStatements(db: Database.Database) {
  return {
    producers: statement<[], ProducerRow>(db, "SELECT * FROM producers"),
    setProducer: statement<[string, number, number, number, number | null]>(
      db,
      "INSERT OR REPLACE INTO producers VALUES (?, ?, ?, ?, ?)",
    ),
    openPartitions: statement<[number], { partition_key: number; first_offset: number | null }>(
      db,
      "SELECT partition_key, first_offset FROM open_partitions WHERE producer_id = ?",
    ),
    setOpenPartition: statement<[number, number, number | null]>(
      db,
      "INSERT OR REPLACE INTO open_partitions VALUES (?, ?, ?)",
    ),
    dropOpenPartitions: statement<[number]>(db, "DELETE FROM open_partitions WHERE producer_id = ?"),
    forgetPartition: statement<[number]>(db, "DELETE FROM open_partitions WHERE partition_key = ?"),
    pendingOffsets: statement<[number], OffsetRow>(db, "SELECT * FROM pending_offsets WHERE producer_id = ?"),
    setPendingOffset: statement<[number, string, string, number, number, string]>(
      db,
      "INSERT OR REPLACE INTO pending_offsets VALUES (?, ?, ?, ?, ?, ?)",
    ),
    commitPending: statement<[number]>(
      db,
      "INSERT OR REPLACE INTO committed_offsets SELECT group_id, topic, partition, next_offset, metadata FROM pending_offsets WHERE producer_id = ?",
    ),
    dropPendingOf: statement<[number]>(db, "DELETE FROM pending_offsets WHERE producer_id = ?"),
    isPending: statement<[string, string, number], { one: number }>(
      db,
      "SELECT 1 AS one FROM pending_offsets WHERE group_id = ? AND topic = ? AND partition = ? LIMIT 1",
    ),
    committedOffset: statement<[string, string, number], OffsetRow>(
      db,
      "SELECT * FROM committed_offsets WHERE group_id = ? AND topic = ? AND partition = ?",
    ),
  };
}
