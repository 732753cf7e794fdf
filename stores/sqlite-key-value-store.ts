import type { Statement } from "better-sqlite3";
import type { SqliteDatabase } from "./sqlite-database.js";
import type { EncodedRow, SqliteRows, StoredRow } from "./sqlite-rows.js";
import { countSlices, SLICE_ROWS } from "./sqlite-rows.js";

/** The rows of a key-value store: one table. It has no windows: every row's start is 0. */
export class SqliteKeyValueStore implements SqliteRows {
  readonly #database: SqliteDatabase;
  readonly #table: string;
  readonly #read: Statement<unknown[]>;
  readonly #write: Statement<unknown[]>;
  readonly #remove: Statement<unknown[]>;

  constructor(database: SqliteDatabase, storeId: number) {
    this.#database = database;
    this.#table = `rows_${storeId}`;
    database.execute(
      `CREATE TABLE IF NOT EXISTS ${this.#table} (k BLOB PRIMARY KEY, v BLOB NOT NULL, t INTEGER NOT NULL) WITHOUT ROWID`,
    );
    this.#read = database.prepare(`SELECT v AS value, t AS timestampMs FROM ${this.#table} WHERE k = ?`);
    this.#write = database.prepare(`INSERT OR REPLACE INTO ${this.#table} VALUES (?, ?, ?)`);
    this.#remove = database.prepare(`DELETE FROM ${this.#table} WHERE k = ?`);
  }

  readonly filterBytes = 0;

  read(key: Uint8Array): EncodedRow | undefined {
    return this.#database.guard(() => this.#read.get(key) as EncodedRow | undefined);
  }

  mayHold(): boolean {
    return true;
  }

  write(key: Uint8Array, _startMs: number, value: Uint8Array | null, timestampMs: number): void {
    if (value === null) this.#remove.run(key);
    else this.#write.run(key, value, timestampMs);
  }

  *scan(): IterableIterator<StoredRow> {
    const columns = `SELECT k AS key, v AS value, t AS timestampMs FROM ${this.#table}`;
    const first = this.#database.prepare(`${columns} ORDER BY k LIMIT ${SLICE_ROWS}`);
    const next = this.#database.prepare(`${columns} WHERE k > ? ORDER BY k LIMIT ${SLICE_ROWS}`);
    let rows = this.#database.guard(() => first.all() as StoredRow[]);
    for (;;) {
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < SLICE_ROWS) return;
      rows = this.#database.guard(() => next.all(last.key) as StoredRow[]);
    }
  }

  countRows(): Generator<undefined, number> {
    return countSlices(this.#database, { table: this.#table, key: "k", isThere: () => true });
  }
}
