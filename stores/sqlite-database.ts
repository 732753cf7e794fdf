import { existsSync, renameSync, rmSync, statSync } from "node:fs";
import { resolve } from "node:path";
import Database from "better-sqlite3";
import { InvariantError, invariant } from "../topology/errors.js";
import { CorruptStateError, stateError, UnusableStateError } from "./errors.js";
import { claimFile, isFileOpen, releaseFile } from "./open-files.js";

/** "MILL": says that a SQLite file is ours before anything in it is read or changed. */
const APPLICATION_ID = 0x4d494c4c;
const FORMAT_VERSION = 3;
/** By the format that a file has: what makes the next one of it. A file of an older one is begun anew from its changelogs. */
const MIGRATIONS: Readonly<Record<number, string>> = {
  1: "ALTER TABLE millrace_task ADD COLUMN topology TEXT",
  // Segments that are there keep their key until they expire.
  2: "ALTER TABLE millrace_segments ADD COLUMN by_start INTEGER NOT NULL DEFAULT 0",
};

const SCHEMA = `
  CREATE TABLE millrace_task (id INTEGER PRIMARY KEY CHECK (id = 1), closed_cleanly INTEGER NOT NULL, checkpoint TEXT, topology TEXT);
  CREATE TABLE millrace_stores (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, definition TEXT NOT NULL,
    expired_before_ms INTEGER, newest_start_ms INTEGER
  );
  CREATE TABLE millrace_segments (
    store INTEGER NOT NULL, segment INTEGER NOT NULL, first_offset INTEGER NOT NULL, by_start INTEGER NOT NULL,
    PRIMARY KEY (store, segment)
  ) WITHOUT ROWID;
  INSERT INTO millrace_task VALUES (1, 0, NULL, NULL);
`;
const SCHEMA_TABLES = 3;

export const MEMORY = ":memory:";

const PAGE_BYTES = 8_192;
/**
 * Pages of the log at which a commit writes them into the file, and syncs both. 2 MiB for commits, not 4 or 8: the log of each task stays in the
 * directory, and there are many tasks. 16 MiB for a restore, which writes as fast as it can and waited for the disk: 3.88 s instead of 4.49 from process
 * start (452,000 records, nine tasks, five alternated rounds; 4.31 with 8 MiB).
 */
const LOG_PAGES_MAX = { commits: 256, restore: 2_048 } as const;

/** True until the owner has closed: whoever wants to open waits for that, bounded. */
export function isStateFileOpen(file: string): boolean {
  return isFileOpen(resolve(file));
}

/** Deletes a state file that could not be opened, with what SQLite keeps beside it. */
export function wipeStateFile(file: string): void {
  if (file === MEMORY) return;
  invariant(!isStateFileOpen(file), `${file} is still open in this process and must not be deleted below its owner`);
  for (const suffix of ["-wal", "-shm", "-journal", ""]) rmSync(file + suffix, { force: true });
}

/**
 * Gives a state file another name. Its log is written into it first: one that stayed behind would be read into the next
 * file of the old name. So a file that somebody is reading is left where it is, and the answer is false.
 *
 * @throws CorruptStateError when it is damaged
 */
export function moveStateFile(from: string, to: string): boolean {
  invariant(!isStateFileOpen(from) && !isStateFileOpen(to), `${from} is open in this process and must not be moved`);
  let connection: Database.Database | undefined;
  try {
    connection = connect(from);
    connection.pragma("wal_checkpoint(TRUNCATE)");
  } catch (error) {
    throw stateError(error, from);
  } finally {
    connection?.close();
  }
  // The last one to close deletes it.
  if (existsSync(`${from}-wal`)) return false;
  renameSync(from, to);
  return true;
}

/** One task's SQLite file: recognised, checked, and with errors that say what to do. Knows nothing of what is in it. */
export class SqliteDatabase {
  readonly file: string;
  readonly #connection: Database.Database;
  // Made once: better-sqlite3 builds four functions for each one that is made, which took as long as a small write.
  readonly #inTransaction: Database.Transaction<(work: () => unknown) => unknown>;
  /** Set by the first failure: after it nothing is known about what is in the file and what is only in memory. */
  #failure: unknown;
  #open = true;
  #logFor: keyof typeof LOG_PAGES_MAX = "commits";

  /** Of the file and its log; 0 in memory. */
  get diskBytes(): number {
    if (this.file === MEMORY) return 0;
    const bytesOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    return bytesOf(this.file) + bytesOf(`${this.file}-wal`);
  }

  private constructor(file: string, connection: Database.Database) {
    this.file = file;
    this.#connection = connection;
    this.#inTransaction = connection.transaction((work: () => unknown) => work());
  }

  /**
   * @throws InvariantError when the file is already open in this process
   * @throws CorruptStateError when the file is damaged
   * @throws UnusableStateError when it is not ours, is of a newer version, or cannot be opened
   */
  static open(file: string): SqliteDatabase {
    const path = resolve(file);
    if (file !== MEMORY) {
      if (!claimFile(path))
        throw new InvariantError(`${file} is already open in this process: its owner must close it first`);
    }
    let connection: Database.Database | undefined;
    try {
      connection = connect(file);
      const fresh = recognise(connection, file);
      configure(connection);
      if (fresh) create(connection);
      else {
        checkAfterCrash(connection, file);
        migrate(connection);
      }
      return new SqliteDatabase(file, connection);
    } catch (error) {
      connection?.close();
      releaseFile(path);
      throw stateError(error, file);
    }
  }

  prepare(sql: string): Database.Statement<unknown[]> {
    return this.guard(() => this.#connection.prepare<unknown[]>(sql));
  }

  execute(sql: string): void {
    this.guard(() => this.#connection.exec(sql));
  }

  /** Runs what touches the file, with errors told as in `errors.ts`. */
  guard<T>(work: () => T): T {
    if (this.#failure !== undefined) throw this.#failure;
    invariant(this.#open, `${this.file} is used after it was closed`);
    try {
      return work();
    } catch (error) {
      this.#failure = stateError(error, this.file);
      throw this.#failure;
    }
  }

  /** How far the log may grow from now on. What a restore made it is given back with the commits that come after it. */
  sizeLogFor(work: keyof typeof LOG_PAGES_MAX): void {
    if (work === this.#logFor) return;
    this.#logFor = work;
    this.execute(`PRAGMA wal_autocheckpoint = ${LOG_PAGES_MAX[work]}`);
  }

  /** All or nothing. After an error the database refuses every further use: memory and file may differ. */
  transaction<T>(work: () => T): T {
    return this.guard(() => this.#inTransaction.immediate(work) as T);
  }

  close(): void {
    if (!this.#open) return;
    try {
      if (this.#failure === undefined) this.#connection.exec("UPDATE millrace_task SET closed_cleanly = 1");
    } catch (error) {
      // The flag stays 0, so the next open checks the whole file: nothing is hidden by going on.
      this.#failure = error;
    } finally {
      this.#open = false;
      this.#connection.close();
      releaseFile(resolve(this.file));
    }
  }

  wipe(): void {
    this.close();
    wipeStateFile(this.file);
  }
}

function connect(file: string): Database.Database {
  try {
    // Only readers from outside can be in the way, and in WAL mode for no longer than a checkpoint.
    return new Database(file, { timeout: 1_000 });
  } catch (error) {
    // better-sqlite3 has no code for a directory that is not there.
    if (!(error instanceof TypeError)) throw error;
    const message = `${file} cannot be opened: ${error.message}`;
    throw new UnusableStateError("STATE_FILE_UNUSABLE", message, { cause: error });
  }
}

/** True for a new file. Reads only: a file that is not ours must stay as it is. */
export function recognise(connection: Database.Database, file: string): boolean {
  const tables = connection.prepare<[], number>("SELECT count(*) FROM sqlite_master").pluck().get();
  const applicationId = connection.pragma("application_id", { simple: true });
  const version = Number(connection.pragma("user_version", { simple: true }));
  if (tables === 0) return true;
  if (applicationId !== APPLICATION_ID) {
    const message = `${file} is a SQLite file of another program: move it away, or set another state directory`;
    throw new UnusableStateError("STATE_FILE_FOREIGN", message);
  }
  if (version > FORMAT_VERSION) {
    const message =
      `${file} has format ${version}, written by a newer Millrace; this one knows format ${FORMAT_VERSION}: ` +
      "run the newer one, or delete the file and its state is restored from the changelogs";
    throw new UnusableStateError("STATE_FORMAT_NEWER", message);
  }
  const own =
    "SELECT count(*) FROM sqlite_master WHERE name IN ('millrace_task', 'millrace_stores', 'millrace_segments')";
  if (version < FORMAT_VERSION && MIGRATIONS[version] === undefined)
    throw new CorruptStateError(file, `format ${version} is too old for this release`);
  if (connection.prepare<[], number>(own).pluck().get() !== SCHEMA_TABLES) {
    throw new CorruptStateError(file, "its own tables are missing");
  }
  return false;
}

// Measured on 300,000 rows: synchronous=NORMAL syncs at checkpoints only and is never torn by a power loss; what it may
// lose is the newest commits, which a restart replays. Pages of 8 KiB wrote fastest; mmap gained nothing.
function configure(connection: Database.Database): void {
  connection.pragma(`page_size = ${PAGE_BYTES}`);
  connection.pragma("journal_mode = WAL");
  connection.pragma("synchronous = NORMAL");
  // 1 MB a task. What is written lies together (ADR 009), and the rows that are read again are in the write buffer's cache: 4 MB took 18 MB more for nine
  // tasks, and gained nothing with 10,000 users, with 100,000, or in a restore.
  connection.pragma("cache_size = -1000");
  connection.pragma("temp_store = MEMORY");
  connection.pragma(`wal_autocheckpoint = ${LOG_PAGES_MAX.commits}`);
  connection.pragma(`journal_size_limit = ${LOG_PAGES_MAX.commits * PAGE_BYTES}`);
}

function create(connection: Database.Database): void {
  connection
    .transaction(() => {
      connection.pragma(`application_id = ${APPLICATION_ID}`);
      connection.pragma(`user_version = ${FORMAT_VERSION}`);
      connection.exec(SCHEMA);
    })
    .immediate();
}

/** Each step with the number of the format that it makes, so that a crash between two steps goes on where it was. */
function migrate(connection: Database.Database): void {
  for (let version = Number(connection.pragma("user_version", { simple: true })); version < FORMAT_VERSION; version++) {
    const step = MIGRATIONS[version] as string;
    connection.transaction(() => connection.exec(`${step}; PRAGMA user_version = ${version + 1}`)).immediate();
  }
}

function checkAfterCrash(connection: Database.Database, file: string): void {
  const clean = connection.prepare<[], number>("SELECT closed_cleanly FROM millrace_task").pluck().get();
  if (clean !== 1) {
    const found = connection.pragma("quick_check(1)", { simple: true });
    if (found !== "ok") throw new CorruptStateError(file, `quick_check: ${String(found).replaceAll("\n", " ")}`);
  }
  connection.exec("UPDATE millrace_task SET closed_cleanly = 0");
  // The flag must be in the file itself: a log that is lost together with its flag would make a torn file look clean.
  connection.pragma("wal_checkpoint(PASSIVE)");
}
