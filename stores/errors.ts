import { StreamsError } from "../topology/errors.js";

// Named by the reaction they call for. A mistake of the engine (a file opened twice) is an InvariantError.

/**
 * The state file is damaged: close it, wipe it, restore it from the changelogs. Nothing is lost, because the file holds
 * only what a committed transaction covers (protocol 18).
 */
export class CorruptStateError extends StreamsError {
  readonly file: string;

  constructor(file: string, detail: string, options?: { readonly cause?: unknown }) {
    super("STATE_CORRUPT", `${file} is damaged (${detail}): it is wiped and restored from its changelogs`, options);
    this.file = file;
  }
}

export type UnusableStateCode =
  | "STATE_DIRECTORY_UNUSABLE"
  | "STATE_DIRECTORY_LOCKED"
  | "STATE_FILE_UNUSABLE"
  | "STATE_FILE_FOREIGN"
  | "STATE_FORMAT_NEWER"
  | "STATE_DEFINITION_CHANGED"
  | "STATE_ROW_UNREADABLE"
  | "STATE_ROW_REFUSED"
  | "CHANGELOG_UNREADABLE"
  | "STATE_DISK_FULL"
  | "STATE_READ_ONLY";

/** The application must stop and somebody must decide: wiping would destroy what is not ours, or would not help. */
export class UnusableStateError extends StreamsError {
  declare readonly code: UnusableStateCode;

  constructor(code: UnusableStateCode, message: string, options?: { readonly cause?: unknown }) {
    super(code, message, options);
  }
}

/** The `code` of an error of Node's or of SQLite's; "" where there is none. */
export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** What SQLite reports, as the reaction it calls for. What is no trouble of the file stays as it is: it is a bug. */
export function stateError(error: unknown, file: string): unknown {
  if (!(error instanceof Error)) return error;
  const code = errorCode(error);
  const options = { cause: error };
  if (/^SQLITE_(CORRUPT|NOTADB|IOERR)/.test(code))
    return new CorruptStateError(file, `${code}: ${error.message}`, options);
  if (code === "SQLITE_FULL") {
    const message = `${file} cannot grow: the disk is full; make room and start again, the state is intact`;
    return new UnusableStateError("STATE_DISK_FULL", message, options);
  }
  if (code.startsWith("SQLITE_READONLY")) {
    const message = `${file} cannot be written (${error.message}): let this user write the file and its directory`;
    return new UnusableStateError("STATE_READ_ONLY", message, options);
  }
  if (/^SQLITE_(CANTOPEN|BUSY|LOCKED|PERM|AUTH)/.test(code)) {
    const message = `${file} cannot be used (${code}: ${error.message}): is its directory writable, and does another program hold it?`;
    return new UnusableStateError("STATE_FILE_UNUSABLE", message, options);
  }
  return error;
}
