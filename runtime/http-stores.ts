import type { ServerResponse } from "node:http";
import { NotLoadedError } from "../serdes/serde.js";
import { columnsOf, type SqlValue } from "../stores/sql-query.js";
import { StreamsError } from "../topology/errors.js";
import type { KeyValueEntry, ReadOnlyStore, WindowEntry, WindowTimes } from "../topology/read-only-store.js";
import { StoreUnavailableError } from "./errors.js";
import { forwarded } from "./http-forward.js";
import { HttpError, type HttpRequest, type HttpRoute } from "./http-router.js";
import { sendJson } from "./http-server.js";
import { QueryError } from "./sql-process.js";
import type { SqlOptions } from "./sql-queries.js";
import type { KafkaStreams, StoreInfo } from "./streams.js";

const LIMIT = 1_000;
const LIMIT_MAX = 10_000;
/** Of reading rows for one request; the event loop turns after every slice. */
const READ_MS_MAX = 2_000;
const SLICE_ROWS = 250;
/** Of schemas that one request can wait for. */
const LOADS_MAX = 8;

const STATUS: Readonly<Record<string, number>> = {
  UNKNOWN_STORE: 404,
  NOT_RUNNING: 503,
  STORE_RESTORING: 503,
  STORE_MOVED: 503,
  QUERY_REFUSED: 400,
  QUERY_INVALID: 400,
  QUERY_TIMEOUT: 504,
  QUERY_TOO_LARGE: 413,
  QUERIES_BUSY: 429,
};

/** What is asked of the stores; `token` goes along with what is passed on to another instance. */
export function storeRoutes(streams: KafkaStreams, token: string | undefined): HttpRoute[] {
  const route = (
    path: string,
    answer: (request: HttpRequest) => unknown,
    { method = "GET" }: Partial<Pick<HttpRoute, "method">> = {},
  ): HttpRoute => ({
    method,
    path,
    handle: (request, response) => told(response, () => answer(request)),
  });
  return [
    route("/stores", () => ({ stores: streams.stores().map(described) })),
    route("/stores/:store", ({ parameters }) => described(infoOf(streams, parameters.store))),
    route("/stores/:store/rows", (request) => rowsOf(streams, request)),
    {
      method: "GET",
      path: "/stores/:store/keys/:key",
      handle: async (request, response) => {
        if (await forwarded(streams, request, response, { token, key: keyOf(streams, request) })) return;
        await told(response, () => keyRows(streams, request));
      },
    },
    route("/stores/:store/keys/:key/owner", (request) => ownerOf(streams, request)),
    route("/sql", ({ query }) => sql(streams, { sql: query.get("q") ?? "", options: sqlOptions(query) })),
    route("/sql", async (request) => sql(streams, await posted(request)), { method: "POST" }),
  ];
}

/** Sends the answer, or what it failed with; what waits for a schema is asked again when it is there. */
async function told(response: ServerResponse, answer: () => unknown): Promise<void> {
  for (let loads = 0; ; loads++) {
    try {
      return sendJson(response, 200, plain(await answer()));
    } catch (error) {
      if (!(error instanceof NotLoadedError) || loads === LOADS_MAX) throw statusOf(error);
      await error.load();
    }
  }
}

export function statusOf(error: unknown): unknown {
  const isKnown =
    error instanceof StoreUnavailableError || error instanceof QueryError || error instanceof StreamsError;
  const status = isKnown ? STATUS[error.code] : undefined;
  if (status === undefined) return error;
  const headers = status === 503 || status === 429 ? { "retry-after": "1" } : {};
  return new HttpError(status, (error as StreamsError).code, (error as Error).message, headers);
}

function described(info: StoreInfo) {
  return {
    name: info.name,
    kind: info.kind,
    key: info.key,
    value: info.value,
    ...(info.sizeMs === undefined ? {} : { window_size_ms: info.sizeMs, retention_ms: info.retentionMs }),
    ...(info.fields === undefined ? {} : { fields: info.fields }),
    sql_columns: columnsOf(info),
    partitions: info.partitions,
    partition_count: info.partitionCount ?? null,
  };
}

function infoOf(streams: KafkaStreams, name = ""): StoreInfo {
  const info = streams.stores().find((store) => store.name === name);
  if (info !== undefined) return info;
  throw statusOf(new StreamsError("UNKNOWN_STORE", `there is no store "${name}"; /stores lists them`));
}

function ownerOf(streams: KafkaStreams, request: HttpRequest) {
  const owner = streams.ownerOf(request.parameters.store ?? "", keyOf(streams, request));
  return { partition: owner.partition ?? null, is_here: owner.isHere, instance: owner.server ?? null };
}

/** The row of a key, or one of its windows with `window`, or all of them. */
async function keyRows(streams: KafkaStreams, request: HttpRequest) {
  const key = keyOf(streams, request);
  const store = streams.store(request.parameters.store ?? "");
  const start = request.query.get("window");
  if (store.kind === "window" && start === null) {
    const { rows, isComplete } = await collected(store.fetch(key, timesOf(request.query)), limitOf(request.query));
    return { rows, is_complete: isComplete };
  }
  const [entry] = entriesOf(store, key, start);
  if (entry === undefined) throw new HttpError(404, "ROW_NOT_FOUND", "there is no such row");
  return rowOf(entry);
}

function entriesOf(store: ReadOnlyStore, key: unknown, start: string | null): Iterable<Entry> {
  if (store.kind === "window") {
    const startMs = timeOf("window", start ?? "");
    return store.fetch(key, { fromMs: startMs, toMs: startMs + 1 });
  }
  return store.entries(key);
}

/** Rows of all keys, or of a range, that are here; `partitions` says of which. */
async function rowsOf(streams: KafkaStreams, request: HttpRequest) {
  const { query, parameters } = request;
  const info = infoOf(streams, parameters.store);
  const store = streams.store(info.name);
  const bound = (name: string): unknown => {
    const text = query.get(name);
    return text === null ? undefined : parsedKey(info, text);
  };
  const [from, to] = [bound("from_key"), bound("to_key")];
  const keys = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
  const found = store.kind === "window" ? store.range(keys, timesOf(query)) : store.range(keys);
  const { rows, isComplete } = await collected(found, limitOf(query));
  return { rows, is_complete: isComplete, partitions: info.partitions, partition_count: info.partitionCount ?? null };
}

type Entry = KeyValueEntry<unknown, unknown> | WindowEntry<unknown, unknown>;

async function collected(entries: Iterable<Entry>, limit: number) {
  const deadlineMs = performance.now() + READ_MS_MAX;
  const rows: unknown[] = [];
  for (const entry of entries) {
    if (rows.length === limit) return { rows, isComplete: false };
    rows.push(rowOf(entry));
    if (rows.length % SLICE_ROWS !== 0) continue;
    if (performance.now() > deadlineMs)
      throw new HttpError(504, "QUERY_TIMEOUT", `reading took more than ${READ_MS_MAX} ms: ask for fewer rows`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { rows, isComplete: true };
}

function rowOf(entry: Entry) {
  const { key, value, timestampMs } = entry;
  const window =
    "window" in entry ? { window_start: isoTime(entry.window.startMs), window_end: isoTime(entry.window.endMs) } : {};
  return { key, ...window, value, timestamp: isoTime(timestampMs) };
}

// ---- what is asked ----

function keyOf(streams: KafkaStreams, { parameters }: HttpRequest): unknown {
  return parsedKey(infoOf(streams, parameters.store), parameters.key ?? "");
}

/** Text as it is, numbers as they are written, bytes in base64, anything else in JSON. */
function parsedKey({ key: serde }: StoreInfo, text: string): unknown {
  if (serde === "string") return text;
  if (serde === "bytes") return Buffer.from(text, "base64");
  if (serde === "int64" || serde === "float64") {
    const number = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(number)) return number;
    throw new HttpError(400, "BAD_KEY", `${JSON.stringify(text)} is no number, and the keys of this store are`);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new HttpError(400, "BAD_KEY", "the key is no JSON text, and the keys of this store are written in it");
  }
}

function timesOf(query: URLSearchParams): WindowTimes {
  const [from, to] = [query.get("from"), query.get("to")];
  return {
    ...(from === null ? {} : { fromMs: timeOf("from", from) }),
    ...(to === null ? {} : { toMs: timeOf("to", to) }),
  };
}

function timeOf(name: string, text: string): number {
  const timeMs = /^-?\d+$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isSafeInteger(timeMs)) return timeMs;
  throw new HttpError(400, "BAD_TIME", `${name}: ${JSON.stringify(text)} is neither an ISO time nor milliseconds`);
}

function limitOf(query: URLSearchParams): number {
  const text = query.get("limit");
  if (text === null) return LIMIT;
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= LIMIT_MAX) return limit;
  throw new HttpError(400, "BAD_LIMIT", `limit: must be a whole number from 1 to ${LIMIT_MAX}`);
}

// ---- SQL ----

interface AskedSql {
  readonly sql: string;
  readonly options: SqlOptions;
}

function sqlOptions(query: URLSearchParams): SqlOptions {
  return query.has("limit") ? { rowsMax: limitOf(query) } : {};
}

/** `{"sql": …, "parameters": […], "limit": …}`. */
async function posted(request: HttpRequest): Promise<AskedSql> {
  const text = await request.body();
  let body: { readonly sql?: unknown; readonly parameters?: unknown; readonly limit?: unknown } | null;
  try {
    body = JSON.parse(text) as typeof body;
  } catch {
    throw new HttpError(400, "BAD_BODY", 'the body is no JSON; it is {"sql": "select …", "parameters": […]}');
  }
  if (typeof body?.sql !== "string")
    throw new HttpError(400, "BAD_BODY", 'the body has no "sql"; it is {"sql": "select …", "parameters": […]}');
  const { parameters, limit } = body;
  const isGiven = parameters !== undefined && parameters !== null;
  if (isGiven && typeof parameters !== "object")
    throw new HttpError(400, "BAD_BODY", '"parameters" is neither a list nor an object');
  return {
    sql: body.sql,
    options: {
      ...(isGiven ? { parameters: parameters as NonNullable<SqlOptions["parameters"]> } : {}),
      ...(limit === undefined ? {} : { rowsMax: Number(limit) }),
    },
  };
}

async function sql(streams: KafkaStreams, { sql: text, options }: AskedSql) {
  const { columns, rows, isComplete } = await streams.sql(text, options);
  return { columns, rows, is_complete: isComplete };
}

// ---- JSON ----

function isoTime(timeMs: number): string | number {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? timeMs : date.toISOString();
}

/** What JSON has no form for: whole numbers beyond 2^53 become text, bytes base64. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value as Readonly<Record<string, SqlValue>>).map(([k, v]) => [k, plain(v)]));
}
