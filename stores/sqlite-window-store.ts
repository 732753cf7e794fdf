import type { Statement } from "better-sqlite3";
import type { WindowStoreSpec } from "../topology/state-store.js";
import { FilterRoom, KnownRows } from "./known-rows.js";
import type { SqliteDatabase } from "./sqlite-database.js";
import { countSlices, type EncodedRow, SLICE_ROWS, type SqliteRows, type StoredRow } from "./sqlite-rows.js";

const SEGMENT_MS_MIN = 60_000;
/** One call for so many rows: 0.3 to 0.7 µs less for each than a call for every one. */
const ROWS_AT_ONCE = 16;
const COLUMNS = 4;
const ROW = "(?, ?, ?, ?)";
const ROWS = Array.from({ length: ROWS_AT_ONCE }, () => ROW).join(", ");
/** A question about one key looks for each window of a segment by itself, where the table has them by start. */
const STARTS_BY_START_MAX = 64;

/** As Kafka Streams has it: about three live segments, so that a key's windows lie in few tables and expiry is not too coarse. */
export function segmentIntervalMs(retentionMs: number): number {
  return Math.max(Math.floor(retentionMs / 2), SEGMENT_MS_MIN);
}

/**
 * Whether a segment's table has its rows by start, then key. So the rows of the newest window, which most records change, are near
 * to each other, and a commit writes far fewer pages. Windows that overlap have it by key, where the rows that one record changes are neighbours.
 */
function isByStart({ sizeMs, advanceMs, retentionMs }: WindowLayout): boolean {
  return advanceMs === sizeMs && segmentIntervalMs(retentionMs) / advanceMs <= STARTS_BY_START_MAX;
}

export type WindowLayout = Pick<WindowStoreSpec, "sizeMs" | "advanceMs" | "retentionMs">;

/** The window starts of a table that has its rows by start, `>= ?` and `< ?`: a search for each, where DISTINCT would read every row. */
export function startsByStart(table: string): string {
  return (
    `WITH RECURSIVE starts (w) AS (SELECT min(w) FROM ${table} WHERE w >= ? UNION ALL ` +
    `SELECT (SELECT min(w) FROM ${table} WHERE w > starts.w) FROM starts WHERE starts.w IS NOT NULL) ` +
    "SELECT w AS startMs FROM starts WHERE w < ?"
  );
}

/** One table: the rows whose window starts in `[id * interval, (id + 1) * interval)`. */
interface Segment {
  readonly id: number;
  readonly table: string;
  /** The first changelog offset that was written here: older ones hold nothing of it. */
  readonly firstOffset: number;
  readonly isByStart: boolean;
  readonly known: KnownRows;
  readonly read: Statement<unknown[]>;
  readonly write: Statement<unknown[]>;
  /** `ROWS_AT_ONCE` of them. */
  readonly writeMany: Statement<unknown[]>;
  /** The columns of rows that `writeMany` will write: one array for all of its calls, each of which SQLite has copied when it returns. */
  readonly waiting: unknown[];
  waitingRows: number;
  readonly remove: Statement<unknown[]>;
}

function keyOf({ isByStart }: Pick<Segment, "isByStart">): string {
  return isByStart ? "w, k" : "k, w";
}

function writeSoon(segment: Segment, key: Uint8Array, startMs: number, value: Uint8Array, timestampMs: number): void {
  const { waiting } = segment;
  const at = segment.waitingRows++ * COLUMNS;
  waiting[at] = key;
  waiting[at + 1] = startMs;
  waiting[at + 2] = value;
  waiting[at + 3] = timestampMs;
  if (segment.waitingRows < ROWS_AT_ONCE) return;
  segment.writeMany.run(waiting);
  segment.waitingRows = 0;
}

/** Fewer than make one call of them. */
function writeWaiting(segment: Segment): void {
  const { waiting, waitingRows, write } = segment;
  for (let at = 0; at < waitingRows * COLUMNS; at += COLUMNS) write.run(waiting.slice(at, at + COLUMNS));
  segment.waitingRows = 0;
}

/** A row of one key, found by `fetch`. */
export interface StoredWindow {
  readonly startMs: number;
  readonly value: Buffer;
  readonly timestampMs: number;
}

/** The rows of a window store, segmented by window start, so that expiry is a DROP and not a search. */
export class SqliteWindowStore implements SqliteRows {
  readonly #database: SqliteDatabase;
  readonly #storeId: number;
  readonly #retentionMs: number;
  readonly #intervalMs: number;
  readonly #isByStart: boolean;
  readonly #filterRoom: FilterRoom;
  readonly #saveState: Statement<unknown[]>;
  readonly #segments = new Map<number, Segment>();
  /** What operators have said; `#takenExpiryMs` is what the commit in flight covers of it, and all that SQLite follows. */
  #expiredBeforeMs = Number.NEGATIVE_INFINITY;
  #takenExpiryMs = Number.NEGATIVE_INFINITY;
  #liveFromMs = Number.NEGATIVE_INFINITY;
  #newestStartMs: number | undefined;
  #saved = "";

  constructor(
    database: SqliteDatabase,
    storeId: number,
    options: { readonly layout: WindowLayout; readonly filterBytesMax: number },
  ) {
    this.#database = database;
    this.#storeId = storeId;
    this.#retentionMs = options.layout.retentionMs;
    this.#intervalMs = segmentIntervalMs(this.#retentionMs);
    this.#isByStart = isByStart(options.layout);
    this.#filterRoom = new FilterRoom(options.filterBytesMax);
    this.#saveState = database.prepare(
      "UPDATE millrace_stores SET expired_before_ms = ?, newest_start_ms = ? WHERE id = ?",
    );
    const state = database
      .prepare("SELECT expired_before_ms AS expired, newest_start_ms AS newest FROM millrace_stores WHERE id = ?")
      .get(storeId) as { expired: number | null; newest: number | null };
    this.expire(state.expired ?? Number.NEGATIVE_INFINITY);
    this.takeExpiry();
    this.#newestStartMs = state.newest ?? undefined;
    const segments = database
      .prepare(
        "SELECT segment AS id, first_offset AS firstOffset, by_start AS byStart FROM millrace_segments WHERE store = ?",
      )
      .all(storeId) as { id: number; firstOffset: number; byStart: number }[];
    // Rows of later windows can only be written from now on.
    const sinceMs = this.#newestStartMs === undefined ? undefined : this.#newestStartMs + 1;
    for (const { id, firstOffset, byStart } of segments)
      this.#openSegment({ id, firstOffset, isByStart: byStart === 1, known: new KnownRows(this.#filterRoom, sinceMs) });
  }

  /** What is kept in memory to know which rows are not there. */
  get filterBytes(): number {
    return this.#filterRoom.bytes;
  }

  /** The largest window start that was ever written here. */
  get newestStartMs(): number | undefined {
    return this.#newestStartMs;
  }

  /** Rows that start before this belong to expired segments, whether or not their tables are dropped already. */
  get liveFromMs(): number {
    return this.#liveFromMs;
  }

  read(key: Uint8Array, startMs: number): EncodedRow | undefined {
    const segment = this.#segments.get(Math.floor(startMs / this.#intervalMs));
    if (segment === undefined || !segment.known.mayHold(key, startMs)) return undefined;
    return this.#database.guard(() => segment.read.get(key, startMs) as EncodedRow | undefined);
  }

  mayHold(startMs: number): boolean {
    const segment = this.#segments.get(Math.floor(startMs / this.#intervalMs));
    if (segment === undefined || this.#newestStartMs === undefined || startMs > this.#newestStartMs) return false;
    return segment.known.mayHoldStart(startMs);
  }

  write(key: Uint8Array, startMs: number, value: Uint8Array | null, timestampMs: number, offset: number): void {
    if (startMs < this.#takenLiveFromMs) return;
    const known = this.#segments.get(Math.floor(startMs / this.#intervalMs));
    if (value === null) {
      // What waits may be an earlier value of this row.
      if (known !== undefined) writeWaiting(known);
      known?.remove.run(key, startMs);
      return;
    }
    const segment = known ?? this.#createSegment(startMs, offset);
    writeSoon(segment, key, startMs, value, timestampMs);
    segment.known.add(key, startMs);
    this.#reach(startMs);
  }

  /** Ahead of the drop: from now on what is expired is neither read nor written. Never goes back. */
  expire(beforeMs: number): void {
    if (beforeMs <= this.#expiredBeforeMs) return;
    this.#expiredBeforeMs = beforeMs;
    this.#liveFromMs = this.#segmentStartMs(beforeMs);
  }

  /** What the last taking covers: expired rows are still here until their whole segment is. */
  get takenExpiry(): { readonly liveFromMs: number; readonly expiredBeforeMs: number } {
    return { liveFromMs: this.#takenLiveFromMs, expiredBeforeMs: this.#takenExpiryMs };
  }

  /** The commit that begins covers the expiry known now. */
  takeExpiry(): void {
    this.#takenExpiryMs = this.#expiredBeforeMs;
  }

  /** What restore knows without a clock: stream time has reached the newest window, so what that outdates has expired. */
  expireByNewest(): void {
    if (this.#newestStartMs === undefined) return;
    this.expire(this.#newestStartMs - this.#retentionMs);
    this.takeExpiry();
  }

  /** Inside a transaction, after its writes: the last of them, which may wait for more, then drops the expired tables and saves what the next open must know. */
  finishWrites(): void {
    const liveFromMs = this.#takenLiveFromMs;
    for (const segment of this.#segments.values()) {
      writeWaiting(segment);
      // The views in it would keep the takings whose bytes they show.
      segment.waiting.fill(undefined);
      if (segment.id * this.#intervalMs < liveFromMs) this.#dropSegment(segment);
    }
    const state = `${this.#takenExpiryMs} ${this.#newestStartMs}`;
    if (state === this.#saved) return;
    this.#saved = state;
    const expiry = Number.isFinite(this.#takenExpiryMs) ? this.#takenExpiryMs : null;
    this.#saveState.run(expiry, this.#newestStartMs ?? null, this.#storeId);
  }

  /** The first changelog offset that a live segment needs; undefined when there is none. */
  firstLiveOffset(): number | undefined {
    let first: number | undefined;
    for (const { firstOffset } of this.#segments.values()) {
      if (first === undefined || firstOffset < first) first = firstOffset;
    }
    return first;
  }

  /** The window starts that have rows, ascending, with `fromMs <= start < toMs`. */
  starts(fromMs: number, toMs: number): number[] {
    return this.#segmentsIn(fromMs, toMs).flatMap((segment) => this.#startsOf(segment, fromMs, toMs));
  }

  #startsOf({ isByStart, table }: Segment, fromMs: number, toMs: number): number[] {
    const distinct = `SELECT DISTINCT w AS startMs FROM ${table} WHERE w >= ? AND w < ? ORDER BY w`;
    const statement = this.#database.prepare(isByStart ? startsByStart(table) : distinct);
    const rows = this.#database.guard(() => statement.all(fromMs, toMs) as { startMs: number }[]);
    return rows.map((row) => row.startMs);
  }

  /** The rows of one window start, by key. */
  *scan(startMs: number): IterableIterator<StoredRow> {
    const segment = this.#segments.get(Math.floor(startMs / this.#intervalMs));
    if (segment === undefined) return;
    const columns = `SELECT k AS key, v AS value, t AS timestampMs FROM ${segment.table} WHERE w = ?`;
    const first = this.#database.prepare(`${columns} ORDER BY k LIMIT ${SLICE_ROWS}`);
    const next = this.#database.prepare(`${columns} AND k > ? ORDER BY k LIMIT ${SLICE_ROWS}`);
    let rows = this.#database.guard(() => first.all(startMs) as StoredRow[]);
    for (;;) {
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < SLICE_ROWS) return;
      rows = this.#database.guard(() => next.all(startMs, last.key) as StoredRow[]);
    }
  }

  /** The windows of one key, by start: at most as many as fit into the retention. */
  fetch(key: Uint8Array, fromMs: number, toMs: number): StoredWindow[] {
    return this.#segmentsIn(fromMs, toMs).flatMap((segment) => {
      if (segment.isByStart) return this.#fetchByStart(segment, key, fromMs, toMs);
      const statement = this.#database.prepare(
        `SELECT w AS startMs, v AS value, t AS timestampMs FROM ${segment.table} WHERE k = ? AND w >= ? AND w < ? ORDER BY w`,
      );
      return this.#database.guard(() => statement.all(key, fromMs, toMs) as StoredWindow[]);
    });
  }

  #fetchByStart(segment: Segment, key: Uint8Array, fromMs: number, toMs: number): StoredWindow[] {
    return this.#startsOf(segment, fromMs, toMs).flatMap((startMs) => {
      const row = this.read(key, startMs);
      return row === undefined ? [] : [{ startMs, ...(row as { value: Buffer; timestampMs: number }) }];
    });
  }

  *countRows(): Generator<undefined, number> {
    let rows = 0;
    for (const segment of [...this.#segments.values()]) {
      const isThere = (): boolean => this.#segments.get(segment.id) === segment;
      rows += yield* countSlices(this.#database, { table: segment.table, key: keyOf(segment), isThere });
    }
    return rows;
  }

  #reach(startMs: number): void {
    if (this.#newestStartMs === undefined || startMs > this.#newestStartMs) this.#newestStartMs = startMs;
  }

  /** As `liveFromMs`, as far as the last taking covers it. */
  get #takenLiveFromMs(): number {
    return this.#segmentStartMs(this.#takenExpiryMs);
  }

  #segmentStartMs(startMs: number): number {
    return Math.floor(startMs / this.#intervalMs) * this.#intervalMs;
  }

  #segmentsIn(fromMs: number, toMs: number): Segment[] {
    return [...this.#segments.values()]
      .filter(({ id }) => id * this.#intervalMs < toMs && (id + 1) * this.#intervalMs > fromMs)
      .sort((a, b) => a.id - b.id);
  }

  #createSegment(startMs: number, firstOffset: number): Segment {
    const id = Math.floor(startMs / this.#intervalMs);
    const key = keyOf({ isByStart: this.#isByStart });
    this.#database.execute(
      `CREATE TABLE ${this.#tableOf(id)} (k BLOB, w INTEGER, v BLOB NOT NULL, t INTEGER NOT NULL, PRIMARY KEY (${key})) WITHOUT ROWID`,
    );
    this.#database
      .prepare("INSERT INTO millrace_segments (store, segment, first_offset, by_start) VALUES (?, ?, ?, ?)")
      .run(this.#storeId, id, firstOffset, this.#isByStart ? 1 : 0);
    return this.#openSegment({ id, firstOffset, isByStart: this.#isByStart, known: new KnownRows(this.#filterRoom) });
  }

  #openSegment(noted: Pick<Segment, "id" | "firstOffset" | "isByStart" | "known">): Segment {
    const table = this.#tableOf(noted.id);
    // Named one by one: the shapes of objects that are spread here differ, and V8 compiled the writing of rows nine times in a million purchases.
    const segment: Segment = {
      id: noted.id,
      firstOffset: noted.firstOffset,
      isByStart: noted.isByStart,
      known: noted.known,
      table,
      read: this.#database.prepare(`SELECT v AS value, t AS timestampMs FROM ${table} WHERE k = ? AND w = ?`),
      write: this.#database.prepare(`INSERT OR REPLACE INTO ${table} VALUES ${ROW}`),
      writeMany: this.#database.prepare(`INSERT OR REPLACE INTO ${table} VALUES ${ROWS}`),
      waiting: new Array(ROWS_AT_ONCE * COLUMNS).fill(undefined),
      waitingRows: 0,
      remove: this.#database.prepare(`DELETE FROM ${table} WHERE k = ? AND w = ?`),
    };
    this.#segments.set(noted.id, segment);
    return segment;
  }

  #dropSegment(segment: Segment): void {
    // The statements go with the segment: one that outlived its table would fail at its next use.
    this.#segments.delete(segment.id);
    segment.known.forget();
    this.#database.execute(`DROP TABLE ${segment.table}`);
    this.#database
      .prepare("DELETE FROM millrace_segments WHERE store = ? AND segment = ?")
      .run(this.#storeId, segment.id);
  }

  // The store's number, not its name: SQLite takes "A" and "a" for one table. A window before 1970 has a negative segment.
  #tableOf(segment: number): string {
    return `"rows_${this.#storeId}_${segment}"`;
  }
}
