import * as storeErrors from "../../stores/errors.js";
import * as topologyErrors from "../../topology/errors.js";
import * as runtimeErrors from "../errors.js";

/** An error as plain data: what is copied between threads keeps neither class nor fields of an error. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** `code` and whatever else its class has. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly cause: PlainError | undefined;
}

const CLASSES: ReadonlyMap<string, unknown> = new Map(
  Object.entries({ Error, TypeError, RangeError, SyntaxError, ...topologyErrors, ...storeErrors, ...runtimeErrors }),
);
/** A cause that is its own cause must not go on for ever. */
const CAUSES_MAX = 10;

export function toPlainError(error: unknown, depth = 0): PlainError {
  if (!(error instanceof Error))
    return { name: "Error", message: String(error), stack: undefined, fields: {}, cause: undefined };
  const { name, message, stack, cause, ...fields } = error;
  const hasCause = cause !== undefined && depth < CAUSES_MAX;
  return {
    name,
    message,
    stack,
    fields: copyable(fields),
    cause: hasCause ? toPlainError(cause, depth + 1) : undefined,
  };
}

/** The same error for a program: class where it is one of ours or the language's, code, fields, stack and causes. */
export function fromPlainError({ name, message, stack, fields, cause }: PlainError): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause: fromPlainError(cause) });
  const known = CLASSES.get(name);
  if (typeof known === "function") Object.setPrototypeOf(error, known.prototype as object);
  if (error.name !== name) Object.defineProperty(error, "name", { value: name, configurable: true, writable: true });
  Object.assign(error, fields);
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** What cannot be copied to another thread is told as text. */
export function copyable(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      try {
        return [name, structuredClone(value)];
      } catch {
        return [name, String(value)];
      }
    }),
  );
}
