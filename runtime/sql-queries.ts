import { bytes, float64, int64, NotLoadedError, type Serde, string } from "../serdes/serde.js";
import type { PlainSerde, SqlResult, SqlTable } from "../stores/sql-query.js";
import type { CommittedRow } from "../stores/state-reader.js";
import type { StoreSpec } from "../topology/state-store.js";
import type { LocalState } from "./local-state.js";
import { QueryError, SqlProcess } from "./sql-process.js";

export interface SqlOptions {
  /** Values of `?` in their order, or of `:name`. */
  readonly parameters?: readonly unknown[] | Readonly<Record<string, unknown>>;
  /** Of rows that are given back, at most 10,000. Default 1,000. */
  readonly rowsMax?: number;
  /** At most 60,000. Default 5,000. */
  readonly timeoutMs?: number;
}

const ROWS_MAX = 1_000;
const ROWS_LIMIT = 10_000;
const TIMEOUT_MS = 5_000;
const TIMEOUT_LIMIT_MS = 60_000;
const RESULT_BYTES_MAX = 8 * 1024 * 1024;
const SQL_CHARACTERS_MAX = 16_384;
/** Of schemas that one row can wait for, one after the other. */
const LOADS_MAX = 8;

const PLAIN: Readonly<Record<PlainSerde, { readonly deserialize: unknown }>> = { string, int64, float64, bytes };
/** Aggregators whose state is their result. */
const PLAIN_AGGREGATORS = new Set(["count", "countIf", "sum", "min", "max", "first", "last"]);

/** SQL over the committed state of the tasks that this instance runs. */
export class SqlQueries {
  readonly #local: LocalState;
  readonly #process = new SqlProcess();

  constructor(local: LocalState) {
    this.#local = local;
  }

  /**
   * @throws QueryError
   * @throws StoreUnavailableError when the application does not run
   */
  async run(sql: string, options: SqlOptions = {}): Promise<SqlResult> {
    if (sql.length > SQL_CHARACTERS_MAX)
      throw new QueryError("QUERY_REFUSED", `a query has at most ${SQL_CHARACTERS_MAX} characters`);
    const rowsMax = within(options.rowsMax ?? ROWS_MAX, ROWS_LIMIT, "rowsMax");
    const timeoutMs = within(options.timeoutMs ?? TIMEOUT_MS, TIMEOUT_LIMIT_MS, "timeoutMs");
    const request = {
      sql,
      parameters: options.parameters ?? [],
      tables: this.tables(),
      rowsMax,
      bytesMax: RESULT_BYTES_MAX,
    };
    return this.#process.run(request, timeoutMs, (store, rows) => this.#decode(this.#local.find(store).spec, rows));
  }

  tables(): SqlTable[] {
    const files = this.#local.files();
    const names = this.#local.stores.map(({ spec }) => spec.name);
    return this.#local.stores.map(({ spec, subTopology }) => {
      const parts = files.filter((part) => part.subTopology.id === subTopology.id);
      return {
        store: spec.name,
        names: namesOf(spec.name, names),
        sizeMs: spec.kind === "window" ? spec.sizeMs : undefined,
        fields: spec.fields,
        plain: plainSerdes(spec),
        parts: parts.map(({ file, partition }) => ({ file, partition })),
      };
    });
  }

  close(): void {
    this.#process.close();
  }

  async #decode(spec: StoreSpec, rows: readonly CommittedRow[]) {
    const pairs: (readonly [unknown, unknown])[] = [];
    for (const { key, value } of rows) {
      const state = await loaded(spec.value, value);
      pairs.push([await loaded(spec.key, key), spec.result?.(state) ?? state]);
    }
    return pairs;
  }
}

function within(value: number, limit: number, name: string): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= limit) return value;
  throw new QueryError("QUERY_REFUSED", `${name}: ${value} must be a whole number from 1 to ${limit}`);
}

/** `purchases-per-user` needs quotes in SQL, so it is `purchases_per_user` as well, where that is nobody else's name. */
function namesOf(name: string, all: readonly string[]): string[] {
  const easy = (given: string): string => given.replace(/\W/g, "_");
  const isTaken = all.some((other) => other !== name && easy(other).toLowerCase() === easy(name).toLowerCase());
  return easy(name) === name || isTaken ? [name] : [name, easy(name)];
}

/** How a process without the topology can read a store; undefined where it cannot. */
function plainSerdes(spec: StoreSpec): SqlTable["plain"] {
  const key = plainSerde(spec.key);
  const value = spec.value.name === "json" ? "json" : plainSerde(spec.value);
  const isResult = Object.values(spec.fields ?? {}).every((aggregator) => PLAIN_AGGREGATORS.has(aggregator));
  return key === undefined || value === undefined || !isResult ? undefined : { key, value };
}

/** By what it does, not by its name: another serde may have the same. */
function plainSerde({ deserialize }: Serde<unknown>): PlainSerde | undefined {
  return (Object.keys(PLAIN) as PlainSerde[]).find((name) => PLAIN[name].deserialize === deserialize);
}

async function loaded(serde: Serde<unknown>, value: Uint8Array): Promise<unknown> {
  for (let loads = 0; ; loads++) {
    try {
      return serde.deserialize(value);
    } catch (error) {
      if (!(error instanceof NotLoadedError) || loads === LOADS_MAX) throw error;
      await error.load();
    }
  }
}
