import type { SqliteDatabase } from "./sqlite-database.js";

/** A row as SQLite and the changelog have it; a null value is a deletion on its way to them. */
export interface EncodedRow {
  readonly value: Uint8Array | null;
  readonly timestampMs: number;
}

export interface StoredRow {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly timestampMs: number;
}

/** What the write buffer and the commit need of a store in SQLite. `write` is called inside a transaction only. */
export interface SqliteRows {
  read(key: Uint8Array, startMs: number): EncodedRow | undefined;
  /** False when there is surely no row that starts then: nobody needs to look for one. */
  mayHold(startMs: number): boolean;
  /** `offset`: the lowest changelog offset this write can have, for the cuts of window stores. */
  write(key: Uint8Array, startMs: number, value: Uint8Array | null, timestampMs: number, offset: number): void;
  /** Counts the rows, and stops after each slice: between two of them rows may come and go. */
  countRows(): Generator<undefined, number>;
  readonly filterBytes: number;
}

/** An open SQLite iterator blocks every write on its connection, so large reads come in slices of this many rows. */
export const SLICE_ROWS = 1_000;

/** About 0.8 ms of counting. */
const COUNTED_AT_ONCE = 5_000;

/**
 * Counts the rows of a table, a slice at each step; ends early, with what it has, once the table is dropped.
 * `key`: the columns of its primary key.
 */
export function* countSlices(
  database: SqliteDatabase,
  { table, key, isThere }: { readonly table: string; readonly key: string; isThere(): boolean },
): Generator<undefined, number> {
  const columns = key.split(", ");
  const after = `(${key}) > (${columns.map(() => "?").join(", ")})`;
  const lastOfSlice = (where: string): string =>
    `SELECT ${key} FROM ${table} ${where} ORDER BY ${key} LIMIT 1 OFFSET ${COUNTED_AT_ONCE - 1}`;
  const rest = (where: string): string => `SELECT count(*) AS count FROM ${table} ${where}`;
  const first = database.prepare(lastOfSlice(""));
  const next = database.prepare(lastOfSlice(`WHERE ${after}`));
  let rows = 0;
  let at: unknown[] = [];
  while (isThere()) {
    const last = (rows === 0 ? first : next).get(...at) as Record<string, unknown> | undefined;
    if (last === undefined) {
      const { count } = database.prepare(rest(rows === 0 ? "" : `WHERE ${after}`)).get(...at) as { count: number };
      return rows + count;
    }
    rows += COUNTED_AT_ONCE;
    at = columns.map((column) => last[column]);
    yield;
  }
  return rows;
}
