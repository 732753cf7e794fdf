import { openOfflineState, QueryError, type SqlValue } from "millrace";
import type { CommandIo } from "./io.js";
import type { HTTP, INSTANCE, QUERY } from "./setting-table.js";
import { SettingsError, type Values } from "./settings.js";
import { tableOf } from "./table.js";
import { printable } from "./text.js";
import type { TopicNames } from "./topics.js";
import { purchaseTopology, STORE } from "./topology.js";

export type QuerySettings = TopicNames &
  Values<
    Pick<typeof INSTANCE, "applicationId" | "stateDir"> &
      Pick<typeof HTTP, "httpHost" | "httpPort" | "httpToken"> &
      typeof QUERY
  >;

const ANSWER_MS_MAX = 65_000;

interface Answer {
  readonly columns: readonly string[];
  readonly rows: readonly Readonly<Record<string, SqlValue>>[];
  readonly is_complete: boolean;
}

/** Gone wrong where it was asked: told in one line. */
class AskError extends Error {}

/** The `query` command: SQL, or the windows of one user, from a running instance or from a state directory. */
export async function query(sql: string | undefined, settings: QuerySettings, io: CommandIo): Promise<number> {
  const asked = askedSql(sql, settings);
  try {
    const answer = settings.offline ? await offline(asked, settings) : await overHttp(asked, settings);
    if (settings.json)
      io.stdout.write(
        `${JSON.stringify(answer, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value))}\n`,
      );
    else io.stdout.write(`${table(answer)}\n`);
    if (!answer.is_complete) io.stderr.write(`purchase: there are more rows; --limit takes up to 10000\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof AskError || error instanceof QueryError)) throw error;
    io.stderr.write(`purchase: ${error.message}\n`);
    return 1;
  }
}

interface AskedSql {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly limit: number;
}

/** @throws SettingsError for neither SQL nor user, or both */
function askedSql(sql: string | undefined, { user, from, to, limit }: QuerySettings): AskedSql {
  if ((sql === undefined) === (user === undefined))
    throw new SettingsError(['query: give it SQL ("select …") or --user, and not both']);
  if (sql !== undefined) return { sql, parameters: [], limit };
  const text = `select * from "${STORE}"(?) where window_start >= ? and window_start < ? order by window_start`;
  return { sql: text, parameters: [user, from ?? "", to ?? "~"], limit };
}

async function offline({ sql, parameters, limit }: AskedSql, settings: QuerySettings): Promise<Answer> {
  const state = openOfflineState(purchaseTopology({ ...settings, emit: "update" }).build(), settings);
  try {
    const { columns, rows, isComplete } = await state.sql(sql, { parameters, rowsMax: limit });
    return { columns, rows, is_complete: isComplete };
  } finally {
    state.close();
  }
}

async function overHttp(asked: AskedSql, { httpHost, httpPort, httpToken }: QuerySettings): Promise<Answer> {
  const host = httpHost === "0.0.0.0" || httpHost === "::" ? "127.0.0.1" : httpHost;
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${httpPort}/sql`;
  let text: string;
  let isOk: boolean;
  try {
    const answer = await fetch(url, {
      method: "POST",
      body: JSON.stringify(asked),
      headers: {
        "content-type": "application/json",
        ...(httpToken === undefined ? {} : { authorization: `Bearer ${httpToken}` }),
      },
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    isOk = answer.ok;
    text = await answer.text();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new AskError(
      `no instance answers at ${url} (${cause}): start one, set HTTP_HOST and HTTP_PORT, or use --offline`,
      { cause: error },
    );
  }
  const body = parsed(text, url);
  if (isOk) return body as Answer;
  const { error } = body as { readonly error?: { readonly code?: string; readonly message?: string } };
  throw new AskError(`${error?.message ?? text} [${error?.code ?? "?"}]`);
}

function parsed(text: string, url: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new AskError(`${url} is no instance of this pipeline: its answer is no JSON`, { cause });
  }
}

function table({ columns, rows }: Answer): string {
  const text = (value: SqlValue | undefined): string =>
    value === null || value === undefined ? "" : printable(String(value));
  const cells = rows.map((row) => columns.map((name) => text(row[name])));
  return `${tableOf(columns, cells)}\n${rows.length} row${rows.length === 1 ? "" : "s"}`;
}
