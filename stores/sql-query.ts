import Database from "better-sqlite3";
import { bytes, float64, int64, string } from "../serdes/serde.js";
import { type CommittedRow, StateReader } from "./state-reader.js";

/** A store as SQL sees it: plain data, because the process that reads it has none of the topology. */
export interface SqlTable {
  readonly store: string;
  /** The store's name, and that with underscores for what would need quotes. */
  readonly names: readonly string[];
  /** Undefined: a store without windows. */
  readonly sizeMs: number | undefined;
  /** Aggregators by field, where the rows are named aggregates. */
  readonly fields: Readonly<Record<string, string>> | undefined;
  /** How the bytes are read; undefined: whoever asks does it, by its serdes. */
  readonly plain: { readonly key: PlainSerde; readonly value: PlainSerde | "json" } | undefined;
  readonly parts: readonly { readonly file: string; readonly partition: number }[];
}

export type PlainSerde = keyof typeof PLAIN;
const PLAIN = { string, int64, float64, bytes };

export interface SqlRequest {
  readonly sql: string;
  /** For `?` in order, or by name. */
  readonly parameters: readonly unknown[] | Readonly<Record<string, unknown>>;
  readonly tables: readonly SqlTable[];
  readonly rowsMax: number;
  readonly bytesMax: number;
}

export type SqlValue = string | number | bigint | Uint8Array | null;

export interface SqlResult {
  readonly columns: readonly string[];
  readonly rows: readonly Readonly<Record<string, SqlValue>>[];
  /** False when there are more rows than the limits let through. */
  readonly isComplete: boolean;
}

/** `QUERY_REFUSED`: no single SELECT. `QUERY_INVALID`: SQLite does not understand it, or it fails on a row. */
export class SqlRefusal extends Error {
  constructor(
    readonly code: "QUERY_REFUSED" | "QUERY_INVALID",
    message: string,
  ) {
    super(message);
  }
}

/** Key and value of rows whose serdes only the asker has, in their order; undefined for a row that is not in the table. */
export type DecodeRows = (store: string, rows: readonly CommittedRow[]) => readonly (DecodedPair | undefined)[];
export type DecodedPair = readonly [key: unknown, value: unknown];

/** Of each trip to whoever decodes. */
const DECODED_ROWS = 250;
/** An aggregator of these begins at 0: what a field that was added later is in the rows that were there before. */
const BEGIN_AT_ZERO: readonly (string | undefined)[] = ["count", "countIf", "sum"];

/**
 * Runs one SELECT over the committed rows of stores. The SQL is given to a database in memory that has no file: the
 * stores are in it as virtual tables, whose rows are read through connections that cannot write. So nothing it says can
 * reach a file.
 *
 * @throws SqlRefusal
 */
export function runSql(request: SqlRequest, decode: DecodeRows): SqlResult {
  const readers = new Readers();
  const database = new Database(":memory:");
  try {
    for (const table of request.tables) {
      for (const name of table.names) database.table(name, definitionOf(table, readers, decode));
    }
    // A sort that spills would fill the disk; in memory it meets the bound of the process.
    database.pragma("temp_store = MEMORY");
    database.pragma("query_only = ON");
    return select(database, request);
  } finally {
    database.close();
    readers.close();
  }
}

function select(database: Database.Database, { sql, parameters, rowsMax, bytesMax }: SqlRequest): SqlResult {
  const statement = prepare(database, sql);
  const columns = statement.columns().map(({ name }) => name);
  const twice = columns.find((name, at) => columns.indexOf(name) !== at);
  if (twice !== undefined)
    throw new SqlRefusal("QUERY_INVALID", `two columns are called "${twice}": give one of them another name with AS`);
  const rows: Record<string, SqlValue>[] = [];
  let bytesTaken = 0;
  try {
    const given = Array.isArray(parameters)
      ? (parameters as unknown[]).map(toSql)
      : [Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, toSql(value)]))];
    const bound = Array.isArray(parameters) || Object.keys(parameters).length > 0 ? given : [];
    for (const row of statement.iterate(...bound) as Iterable<Record<string, SqlValue>>) {
      const out: Record<string, SqlValue> = {};
      for (const name of columns) {
        out[name] = fromSql(row[name] as SqlValue);
        bytesTaken += sizeOf(out[name]);
      }
      if (rows.length === rowsMax || bytesTaken > bytesMax) return { columns, rows, isComplete: false };
      rows.push(out);
    }
  } catch (error) {
    throw refusal(error);
  }
  return { columns, rows, isComplete: true };
}

/** Comments and blanks, then one of the words that a reading statement begins with. PRAGMA, EXPLAIN and ATTACH are none. */
const READING = /^(?:\s|--[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)*(?:select|with|values)\b/i;

function prepare(database: Database.Database, sql: string): Database.Statement<unknown[]> {
  const refused = new SqlRefusal("QUERY_REFUSED", "only a single SELECT (or WITH … SELECT, or VALUES) can be run here");
  if (!READING.test(sql)) throw refused;
  let statement: Database.Statement<unknown[]>;
  try {
    statement = database.prepare<unknown[]>(sql).safeIntegers();
  } catch (error) {
    if (error instanceof RangeError) throw refused;
    throw refusal(error);
  }
  if (!statement.reader || !statement.readonly) throw refused;
  return statement;
}

function refusal(error: unknown): unknown {
  if (error instanceof SqlRefusal) return error;
  return new SqlRefusal("QUERY_INVALID", error instanceof Error ? error.message : String(error));
}

// ---- stores as tables ----

type TableOptions = Parameters<Database.Database["table"]>[1];

function definitionOf(table: SqlTable, readers: Readers, decode: DecodeRows): TableOptions {
  const fields = fieldColumns(table);
  const columns = columnsOf(table);
  const rowOf = (row: CommittedRow, partition: number, key: unknown, value: unknown): unknown[] => {
    const windows = table.sizeMs === undefined ? [] : [isoTime(row.startMs), isoTime(row.startMs + table.sizeMs)];
    const values = fields === undefined ? [value] : fields.map((field) => fieldOf(table, value, field));
    return [key, ...windows, ...values, isoTime(row.timestampMs), partition].map(toSql);
  };
  return {
    columns,
    parameters: ["only_key"],
    *rows(onlyKey?: unknown) {
      const { plain } = table;
      const key = onlyKey === undefined ? undefined : keyBytes(table, onlyKey);
      for (const { file, partition } of table.parts) {
        const rows = readers.open(file)?.scan(table.store, { key }) ?? [];
        if (plain !== undefined) {
          for (const row of rows)
            yield rowOf(row, partition, PLAIN[plain.key].deserialize(row.key), plainValue(plain.value, row.value));
          continue;
        }
        for (const chunk of chunksOf(rows, DECODED_ROWS)) {
          const decoded = decode(table.store, chunk);
          for (const [at, row] of chunk.entries()) {
            const pair = decoded[at];
            if (pair !== undefined) yield rowOf(row, partition, pair[0], pair[1]);
          }
        }
      }
    },
  } as TableOptions;
}

/** The columns of a store, in their order. */
export function columnsOf(table: Pick<SqlTable, "sizeMs" | "fields">): string[] {
  const windows = table.sizeMs === undefined ? [] : ["window_start", "window_end"];
  return ["key", ...windows, ...(fieldColumns(table) ?? ["value"]), "timestamp", "partition"];
}

const OWN_COLUMNS = new Set(["key", "window_start", "window_end", "timestamp", "partition", "only_key"]);

/** A field whose name is that of a column of ours is left out; SQLite takes "A" and "a" for one. */
function fieldColumns({ fields }: Pick<SqlTable, "fields">): string[] | undefined {
  if (fields === undefined) return undefined;
  const seen = new Set(OWN_COLUMNS);
  return Object.keys(fields).filter((field) => {
    const isNew = !seen.has(field.toLowerCase());
    seen.add(field.toLowerCase());
    return isNew;
  });
}

function fieldOf(table: SqlTable, value: unknown, field: string): unknown {
  const held = (value as Readonly<Record<string, unknown>> | null)?.[field];
  return held === undefined && BEGIN_AT_ZERO.includes(table.fields?.[field]) ? 0 : held;
}

function keyBytes({ plain, store }: SqlTable, key: unknown): Uint8Array {
  if (plain === undefined) throw new SqlRefusal("QUERY_INVALID", `"${store}" cannot be asked for one key in brackets`);
  return (PLAIN[plain.key] as { serialize(value: unknown): Uint8Array }).serialize(key);
}

function plainValue(kind: PlainSerde | "json", value: Uint8Array): unknown {
  return kind === "json" ? JSON.parse(string.deserialize(value)) : PLAIN[kind].deserialize(value);
}

function* chunksOf<T>(rows: Iterable<T>, size: number): Iterable<T[]> {
  let chunk: T[] = [];
  for (const row of rows) {
    chunk.push(row);
    if (chunk.length < size) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}

/** Each file as it was when the query first asked for it, however often it asks. */
class Readers {
  readonly #open = new Map<string, StateReader | undefined>();

  open(file: string): StateReader | undefined {
    if (this.#open.has(file)) return this.#open.get(file);
    const reader = StateReader.open(file);
    reader?.holdSnapshot();
    this.#open.set(file, reader);
    return reader;
  }

  close(): void {
    for (const reader of this.#open.values()) reader?.close();
  }
}

// ---- values ----

/** What SQLite can hold of a value of JavaScript: objects as JSON, whole numbers as integers. */
function toSql(value: unknown): unknown {
  if (value === undefined || value === null) return null;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number") return Number.isSafeInteger(value) && (value | 0) !== value ? BigInt(value) : value;
  if (typeof value === "bigint" || typeof value === "string") return value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof Date) return value.toISOString();
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) ?? null;
}

function fromSql(value: SqlValue): SqlValue {
  const isNumber = typeof value === "bigint" && BigInt(Number(value)) === value && Number.isSafeInteger(Number(value));
  return isNumber ? Number(value) : value;
}

function sizeOf(value: SqlValue | undefined): number {
  if (typeof value === "string") return 2 * value.length;
  return value instanceof Uint8Array ? value.byteLength : 8;
}

function isoTime(timeMs: number): string | number {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? timeMs : date.toISOString();
}
