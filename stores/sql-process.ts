// The process in which SQL runs: started by runtime/sql-queries.ts, imported by nobody. A statement can take any time
// and memory, nothing in Node can stop one from outside, and a thread would take the pipeline down with it. It waits
// for a request, answers it, and ends when the other side has gone.
import { readSync, writeSync } from "node:fs";
import { deserialize, serialize } from "node:v8";
import { Worker } from "node:worker_threads";
import { runSql, SqlRefusal, type SqlRequest } from "./sql-query.js";

/** A stream in both directions, of frames: the length as uint32 BE, then that many bytes. */
const CHANNEL = 3;
const MEMORY_CHECK_MS = 20;

/** What this process is asked for; `limits` are its own to keep, as its parent may be gone. */
export type SqlCall = { readonly request: SqlRequest; readonly timeoutMs: number; readonly memoryBytesMax: number };
export type SqlMessage =
  | { readonly result: import("./sql-query.js").SqlResult }
  | { readonly refusal: { readonly code: string; readonly message: string } }
  | { readonly decode: { readonly store: string; readonly rows: readonly import("./state-reader.js").CommittedRow[] } };

/** Deadline, milliseconds since the epoch, and bound of memory; read by the thread that watches while a statement holds this one. */
const limits = new Float64Array(new SharedArrayBuffer(16));
limits.fill(Number.POSITIVE_INFINITY);

const WATCH = `
  const { workerData } = require("node:worker_threads");
  const { limits, parent, everyMs } = workerData;
  setInterval(() => {
    if (Date.now() > limits[0] || process.ppid !== parent) process.kill(process.pid, "SIGKILL");
    if (process.memoryUsage.rss() > limits[1]) process.kill(process.pid, "SIGTERM");
  }, everyMs);
`;
new Worker(WATCH, { eval: true, workerData: { limits, parent: process.ppid, everyMs: MEMORY_CHECK_MS } }).unref();

function readBytes(length: number): Buffer | undefined {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; ) {
    const read = readSync(CHANNEL, bytes, at, length - at, null);
    if (read === 0) return undefined;
    at += read;
  }
  return bytes;
}

function receive(): unknown {
  const length = readBytes(4)?.readUInt32BE(0);
  const bytes = length === undefined ? undefined : readBytes(length);
  // The other side has gone.
  if (bytes === undefined) process.exit(0);
  return deserialize(bytes);
}

function send(message: SqlMessage): void {
  const body = serialize(message);
  const frame = Buffer.allocUnsafe(4 + body.byteLength);
  frame.writeUInt32BE(body.byteLength, 0);
  body.copy(frame, 4);
  for (let at = 0; at < frame.byteLength; ) at += writeSync(CHANNEL, frame, at);
}

function answer({ request, timeoutMs, memoryBytesMax }: SqlCall): SqlMessage {
  limits[0] = Date.now() + timeoutMs;
  limits[1] = memoryBytesMax;
  try {
    return {
      result: runSql(request, (store, rows) => {
        send({ decode: { store, rows } });
        return receive() as ReturnType<import("./sql-query.js").DecodeRows>;
      }),
    };
  } catch (error) {
    const code = error instanceof SqlRefusal ? error.code : "QUERY_FAILED";
    return { refusal: { code, message: error instanceof Error ? error.message : String(error) } };
  } finally {
    limits.fill(Number.POSITIVE_INFINITY);
  }
}

for (;;) send(answer(receive() as SqlCall));
