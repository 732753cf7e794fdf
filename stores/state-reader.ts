import { statSync } from "node:fs";
import Database from "better-sqlite3";
import { errorCode, stateError } from "./errors.js";
import { recognise } from "./sqlite-database.js";
import { type EncodedRow, SLICE_ROWS } from "./sqlite-rows.js";
import { startsByStart } from "./sqlite-window-store.js";

/** Which rows: keys `[fromKey, toKey)` by their bytes, or one key; window starts `[fromMs, toMs)`. */
export interface RowBounds {
  readonly key?: Uint8Array | undefined;
  readonly fromKey?: Uint8Array | undefined;
  readonly toKey?: Uint8Array | undefined;
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
}

export interface CommittedRow {
  readonly key: Buffer;
  /** 0 in a key-value store. */
  readonly startMs: number;
  readonly value: Buffer;
  readonly timestampMs: number;
}

interface StoreTables {
  readonly id: number;
  readonly isWindowed: boolean;
}

/** Prepared statements: one for each segment and form of question. More than this are of segments that are gone. */
const STATEMENTS_MAX = 64;

/**
 * The rows of one task's file as its last commit left them, through a connection of its own that cannot write. The file
 * may have an owner, in this thread or another: in WAL mode neither waits for the other.
 */
export class StateReader {
  readonly file: string;
  readonly #connection: Database.Database;
  readonly #inode: bigint;
  readonly #statements = new Map<string, Database.Statement<unknown[]>>();
  readonly #stores = new Map<string, StoreTables | undefined>();

  private constructor(file: string, connection: Database.Database, inode: bigint) {
    this.file = file;
    this.#connection = connection;
    this.#inode = inode;
  }

  /** @throws UnusableStateError or CorruptStateError; undefined when there is no such file */
  static open(file: string): StateReader | undefined {
    let connection: Database.Database | undefined;
    try {
      const inode = statSync(file, { bigint: true }).ino;
      connection = new Database(file, { readonly: true, fileMustExist: true, timeout: 1_000 });
      recognise(connection, file);
      return new StateReader(file, connection, inode);
    } catch (error) {
      connection?.close();
      if (errorCode(error) === "ENOENT") return undefined;
      throw stateError(error, file);
    }
  }

  /** False once another file has taken its place, as when a task's state was wiped and restored: what is read here is old. */
  get isCurrent(): boolean {
    return statSync(this.file, { bigint: true, throwIfNoEntry: false })?.ino === this.#inode;
  }

  get isClosed(): boolean {
    return !this.#connection.open;
  }

  get(store: string, key: Uint8Array, startMs: number): EncodedRow | undefined {
    return this.#read(() => {
      const tables = this.#tables(store);
      if (tables === undefined) return undefined;
      if (!tables.isWindowed) {
        const one = this.#prepare(`SELECT v AS value, t AS timestampMs FROM rows_${tables.id} WHERE k = ?`);
        return one.get(key) as EncodedRow | undefined;
      }
      for (const { table } of this.#segments(tables.id)) {
        const one = this.#prepare(`SELECT v AS value, t AS timestampMs FROM ${table} WHERE k = ? AND w = ?`);
        const row = one.get(key, startMs) as EncodedRow | undefined;
        if (row !== undefined) return row;
      }
      return undefined;
    });
  }

  /**
   * Rows in slices, each read at one moment: a key-value store by key; a window store segment by segment, and in one by key
   * and start. A segment that expires meanwhile is left out from then on.
   */
  *scan(store: string, bounds: RowBounds = {}): IterableIterator<CommittedRow> {
    for (let after: Position | undefined; ; ) {
      const slice = this.#read(() => this.#slice(store, bounds, after));
      yield* slice.rows;
      if (slice.next === undefined) return;
      after = slice.next;
    }
  }

  /** From its first read on until it is closed, everything is as it was then. It keeps the log of the file from being cut, so not for long. */
  holdSnapshot(): void {
    this.#connection.exec("BEGIN");
  }

  close(): void {
    this.#connection.close();
  }

  #slice(store: string, bounds: RowBounds, after: Position | undefined): Slice {
    const tables = this.#tables(store);
    if (tables === undefined) return { rows: [], next: undefined };
    if (!tables.isWindowed) return this.#sliceOf({ id: 0, table: `rows_${tables.id}`, order: "k" }, bounds, after);
    const segments = this.#segments(tables.id).filter(({ id }) => id >= (after?.segment ?? id));
    const [segment, following] = segments;
    if (segment === undefined) return { rows: [], next: undefined };
    const slice = this.#sliceOf(segment, bounds, after?.segment === segment.id ? after : undefined);
    if (slice.next !== undefined || following === undefined) return slice;
    return { rows: slice.rows, next: { segment: following.id, key: undefined, startMs: 0 } };
  }

  #sliceOf(segment: SegmentTable, bounds: RowBounds, after: Position | undefined): Slice {
    const { terms, values } = conditions(segment, bounds, after);
    const { table, order } = segment;
    const columns = `SELECT k AS key, ${order === "k" ? "0" : "w"} AS startMs, v AS value, t AS timestampMs FROM ${table}`;
    const end = `ORDER BY key, startMs LIMIT ${SLICE_ROWS}`;
    let rows: CommittedRow[];
    if (order === "w, k") {
      // SQLite merges the windows of the segment, each of which has its rows by key.
      const starts = this.#prepare(startsByStart(table)).all(bounds.fromMs ?? TIME_MS_MIN, bounds.toMs ?? TIME_MS_MAX);
      if (starts.length === 0) return { rows: [], next: undefined };
      const one = `${columns} WHERE ${["w = ?", ...terms].join(" AND ")}`;
      const given = (starts as { startMs: number }[]).flatMap(({ startMs }) => [startMs, ...values]);
      rows = this.#prepare(`${starts.map(() => one).join(" UNION ALL ")} ${end}`).all(...given) as CommittedRow[];
    } else {
      const where = terms.length === 0 ? "" : `WHERE ${terms.join(" AND ")}`;
      rows = this.#prepare(`${columns} ${where} ${end}`).all(...values) as CommittedRow[];
    }
    const last = rows.at(-1);
    const next = last === undefined || rows.length < SLICE_ROWS ? undefined : { segment: segment.id, ...last };
    return { rows, next };
  }

  /** By start; read each time, because they come and go. */
  #segments(storeId: number): SegmentTable[] {
    // All columns: a file of an older release, which nobody has opened for writing yet, has one less.
    const all = this.#prepare("SELECT * FROM millrace_segments WHERE store = ? ORDER BY segment").all(storeId);
    return (all as { segment: number; by_start?: number }[]).map(({ segment, by_start }) => ({
      id: segment,
      table: tableOf(storeId, segment),
      order: by_start === 1 ? "w, k" : "k, w",
    }));
  }

  #tables(store: string): StoreTables | undefined {
    if (this.#stores.has(store)) return this.#stores.get(store);
    const row = this.#prepare("SELECT id, definition FROM millrace_stores WHERE name = ?").get(store) as
      | { id: number; definition: string }
      | undefined;
    const tables = row && {
      id: row.id,
      isWindowed: (JSON.parse(row.definition) as { kind: string }).kind === "window",
    };
    this.#stores.set(store, tables);
    return tables;
  }

  #prepare(sql: string): Database.Statement<unknown[]> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      if (this.#statements.size >= STATEMENTS_MAX) this.#statements.clear();
      statement = this.#connection.prepare<unknown[]>(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** At one moment: the segments that are listed are there. */
  #read<T>(work: () => T): T {
    try {
      return this.#connection.transaction(work).deferred();
    } catch (error) {
      throw stateError(error, this.file);
    }
  }
}

/** Where the next slice begins: after this row, or with this segment. */
interface Position {
  readonly segment: number;
  readonly key: Buffer | undefined;
  readonly startMs: number;
}

interface Slice {
  readonly rows: readonly CommittedRow[];
  readonly next: Position | undefined;
}

/** A table, and the order of its rows in the file. */
interface SegmentTable {
  readonly id: number;
  readonly table: string;
  readonly order: "k" | "k, w" | "w, k";
}

/** Further than any time in milliseconds: a window start is a safe integer. */
const TIME_MS_MIN = Number.MIN_SAFE_INTEGER;
const TIME_MS_MAX = Number.MAX_SAFE_INTEGER;

/** What a row must be to stand in the slice after `after`, without what `w = ?` says already where each start is asked by itself. */
function conditions({ order }: SegmentTable, bounds: RowBounds, after: Position | undefined) {
  const terms: string[] = [];
  const values: unknown[] = [];
  const add = (term: string, ...given: unknown[]): void => {
    terms.push(term);
    values.push(...given);
  };
  if (after?.key !== undefined) {
    if (order === "k") add("k > ?", after.key);
    else add("(k, w) > (?, ?)", after.key, after.startMs);
  }
  if (bounds.key !== undefined) add("k = ?", bounds.key);
  if (bounds.fromKey !== undefined) add("k >= ?", bounds.fromKey);
  if (bounds.toKey !== undefined) add("k < ?", bounds.toKey);
  if (order === "k, w" && bounds.fromMs !== undefined) add("w >= ?", bounds.fromMs);
  if (order === "k, w" && bounds.toMs !== undefined) add("w < ?", bounds.toMs);
  return { terms, values };
}

/** As `SqliteWindowStore` names them. */
function tableOf(storeId: number, segment: number): string {
  return `"rows_${storeId}_${segment}"`;
}
