import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { deserialize, serialize } from "node:v8";
import type { SqlCall, SqlMessage } from "../stores/sql-process.js";
import type { DecodeRows, SqlRequest, SqlResult } from "../stores/sql-query.js";
import { StreamsError } from "../topology/errors.js";

export type QueryErrorCode =
  | "QUERY_REFUSED"
  | "QUERY_INVALID"
  | "QUERY_TIMEOUT"
  | "QUERY_TOO_LARGE"
  | "QUERY_FAILED"
  | "QUERIES_BUSY";

/** A query that gave no result: `QUERIES_BUSY` can be asked again soon, the others will not go better. */
export class QueryError extends StreamsError {
  declare readonly code: QueryErrorCode;

  constructor(code: QueryErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(code, message, options);
  }
}

/** May wait, as for a schema: the other process stands still meanwhile, and its time goes on. */
export type AsyncDecodeRows = (
  ...given: Parameters<DecodeRows>
) => ReturnType<DecodeRows> | Promise<ReturnType<DecodeRows>>;

/** From source the compiled file is not there: then Node needs tsx to read it. */
const IS_SOURCE = import.meta.url.endsWith(".ts");
const ENTRY = fileURLToPath(new URL(`../stores/sql-process.${IS_SOURCE ? "ts" : "js"}`, import.meta.url));
const LOADER = IS_SOURCE ? ["--import", "tsx"] : [];

const IDLE_MS = 30_000;
/** Of queries that wait for the one that runs. */
const WAITING_MAX = 16;
/** The process keeps its limits by itself; past this it is ended from here. */
const PATIENCE_MS = 2_000;
/** Of the process, with everything: Node and SQLite take about 70 MiB of it. */
const MEMORY_BYTES_MAX = 384 * 1024 * 1024;
const STDERR_BYTES_MAX = 4_096;

/** One query after the other in a process of its own, which is started with the first and ended when there are none for a while. */
export class SqlProcess {
  #child: SqlChild | undefined;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @throws QueryError */
  async run(request: SqlRequest, timeoutMs: number, decode: AsyncDecodeRows): Promise<SqlResult> {
    if (this.#waiting > WAITING_MAX)
      throw new QueryError("QUERIES_BUSY", `${WAITING_MAX} queries wait already: ask again later`);
    this.#waiting++;
    const turn = this.#last.then(() => this.#runNow(request, timeoutMs, decode));
    // The next one goes on whatever became of this one.
    this.#last = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting--;
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#idle);
    this.#child?.end();
  }

  async #runNow(request: SqlRequest, timeoutMs: number, decode: AsyncDecodeRows): Promise<SqlResult> {
    if (this.#isClosed) throw new QueryError("QUERIES_BUSY", "the application is closing");
    clearTimeout(this.#idle);
    if (this.#child === undefined || this.#child.hasEnded) this.#child = new SqlChild();
    const child = this.#child;
    const result = await child.ask({ request, timeoutMs, memoryBytesMax: MEMORY_BYTES_MAX }, decode);
    this.#idle = setTimeout(() => child.end(), IDLE_MS).unref();
    return result;
  }
}

interface Asked {
  readonly timeoutMs: number;
  readonly decode: AsyncDecodeRows;
  readonly resolve: (result: SqlResult) => void;
  readonly reject: (error: Error) => void;
}

class SqlChild {
  readonly #process: ChildProcess;
  readonly #channel: Duplex;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #stderr = "";
  #asked: Asked | undefined;
  hasEnded = false;

  constructor() {
    // No variable of ours goes along: what runs there needs no password.
    this.#process = spawn(process.execPath, [...LOADER, "--max-old-space-size=256", ENTRY], {
      env: {},
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      windowsHide: true,
    });
    this.#channel = this.#process.stdio[3] as Duplex;
    this.#channel.on("data", (chunk: Buffer) => this.#received(chunk));
    // How the process ended says what became of the query.
    this.#channel.on("error", () => this.end());
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_BYTES_MAX);
    });
    this.#process.on("error", (error) => this.#ended(null, error.message));
    this.#process.on("exit", (_code, signal) => this.#ended(signal, this.#stderr));
    this.#hold(false);
  }

  async ask(call: SqlCall, decode: AsyncDecodeRows): Promise<SqlResult> {
    const patience = setTimeout(() => this.end(), call.timeoutMs + PATIENCE_MS);
    this.#hold(true);
    try {
      return await new Promise<SqlResult>((resolve, reject) => {
        this.#asked = { timeoutMs: call.timeoutMs, decode, resolve, reject };
        this.#send(call);
      });
    } finally {
      clearTimeout(patience);
      this.#asked = undefined;
      this.#hold(false);
    }
  }

  end(): void {
    this.#process.kill("SIGKILL");
  }

  /** An idle process must not keep this one alive. */
  #hold(isAsked: boolean): void {
    for (const handle of [this.#process, this.#channel, this.#process.stderr] as unknown as Holdable[])
      isAsked ? handle.ref() : handle.unref();
  }

  #send(message: unknown): void {
    const body = serialize(message);
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(body.byteLength, 0);
    this.#channel.write(length);
    this.#channel.write(body);
  }

  #received(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#bytes < 4) return;
    const first = this.#chunks[0] as Buffer;
    const head = first.byteLength >= 4 ? first : Buffer.concat(this.#chunks);
    const end = 4 + head.readUInt32BE(0);
    if (this.#bytes < end) return;
    // The process says one thing and waits, so a frame is all that there is.
    const frame = Buffer.concat(this.#chunks.splice(0));
    this.#bytes = 0;
    void this.#answer(deserialize(frame.subarray(4, end)) as SqlMessage);
  }

  async #answer(message: SqlMessage): Promise<void> {
    const asked = this.#asked;
    if (asked === undefined) return;
    if ("result" in message) return asked.resolve(message.result);
    if ("refusal" in message) {
      const { code, message: text } = message.refusal;
      return asked.reject(new QueryError(code as QueryErrorCode, text));
    }
    try {
      this.#send(await asked.decode(message.decode.store, message.decode.rows));
    } catch (cause) {
      const text = `a row of "${message.decode.store}" cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`;
      asked.reject(new QueryError("QUERY_FAILED", text, { cause }));
      // It waits for rows that will not come.
      this.end();
    }
  }

  #ended(signal: NodeJS.Signals | null, detail: string): void {
    this.hasEnded = true;
    const asked = this.#asked;
    if (asked === undefined) return;
    if (signal === "SIGKILL")
      asked.reject(new QueryError("QUERY_TIMEOUT", `the query took more than ${asked.timeoutMs} ms and was ended`));
    else if (signal === "SIGTERM")
      asked.reject(
        new QueryError("QUERY_TOO_LARGE", `the query took more than ${MEMORY_BYTES_MAX} bytes of memory and was ended`),
      );
    else asked.reject(new QueryError("QUERY_FAILED", `the process of the query ended: ${detail.trim()}`));
  }
}

interface Holdable {
  ref(): void;
  unref(): void;
}
