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
  rowCount(): number;
  readonly filterBytes: number;
}

/** An open SQLite iterator blocks every write on its connection, so large reads come in slices of this many rows. */
export const SLICE_ROWS = 1_000;
