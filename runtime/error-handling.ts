import type { ErrorAction, ErrorHandler, FailedRecord } from "../topology/processor-topology.js";
import type { Header } from "../topology/record.js";
import { FatalError } from "./errors.js";

/** The application's decisions where a source or sink has none of its own. */
export interface ErrorHandlers {
  readonly deserialization: ErrorHandler;
  readonly processing: ErrorHandler;
  readonly production: ErrorHandler;
}

export const FAIL: ErrorHandlers = { deserialization: "fail", processing: "fail", production: "fail" };

/** What the handler says about this record. A handler that throws has decided to fail. */
export function decide(handler: ErrorHandler, error: Error, record: FailedRecord): ErrorAction {
  if (typeof handler !== "function") return handler;
  try {
    return handler(error, record);
  } catch (thrown) {
    throw new FatalError(
      "HANDLER_FAILED",
      `the ${record.stage} error handler threw on ${describeRecord(record)}: ${String(thrown)}`,
      { cause: thrown },
    );
  }
}

export function unhandled(error: Error, record: FailedRecord): FatalError {
  return new FatalError(
    "RECORD_FAILED",
    `${record.stage} failed at node "${record.node}" on ${describeRecord(record)}: ${error.message}; ` +
      "fix the record or the topology, or give the source or sink an onError of continue or deadLetter",
    { cause: error },
  );
}

export function describeRecord(record: FailedRecord): string {
  return record.offset < 0 ? `a row for ${record.topic}` : `${record.topic}-${record.partition}@${record.offset}`;
}

/** The headers of a dead letter: the record's own, then where and why it failed, under KIP-1034's names. */
export function deadLetterHeaders(error: Error, record: FailedRecord): Header[] {
  const cause = error.cause instanceof Error ? error.cause : error;
  const text = (name: string, value: string): Header => [name, Buffer.from(value, "utf8")];
  return [
    ...record.headers,
    text("__streams.errors.topic", record.topic),
    text("__streams.errors.partition", String(record.partition)),
    text("__streams.errors.offset", String(record.offset)),
    text("__streams.errors.exception", cause.name),
    text("__streams.errors.message", cut(error.message)),
    text("millrace.stage", record.stage),
  ];
}

/** A schema's message may quote the whole record; the dead letter topic has room for 64 KiB of headers beside the source's largest record. */
const MESSAGE_CHARACTERS_MAX = 4_096;

function cut(message: string): string {
  return message.length <= MESSAGE_CHARACTERS_MAX ? message : `${message.slice(0, MESSAGE_CHARACTERS_MAX)}…`;
}
