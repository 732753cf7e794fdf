import type { StandardSchemaV1 } from "@standard-schema/spec";
import { fromText, type Serde, toText } from "./serde.js";

/** The JSON text was read but its schema refuses it. `issues` are the schema's own, for programs; the message has them for people. */
export class SchemaError extends TypeError {
  readonly issues: readonly StandardSchemaV1.Issue[];

  constructor(issues: readonly StandardSchemaV1.Issue[]) {
    super(describeIssues(issues));
    this.name = new.target.name;
    this.issues = issues;
  }
}

// A schema over a long array can give an issue per element, and the message goes into a log line and a dead-letter header.
const ISSUES_SHOWN_MAX = 8;

function describeIssues(issues: readonly StandardSchemaV1.Issue[]): string {
  const lines = issues.slice(0, ISSUES_SHOWN_MAX).map((issue) => {
    const path = describePath(issue.path ?? []);
    return path === "" ? issue.message : `${path}: ${issue.message}`;
  });
  const more = issues.length - lines.length;
  return lines.join("; ") + (more > 0 ? `; and ${more} more` : "");
}

function describePath(path: NonNullable<StandardSchemaV1.Issue["path"]>): string {
  let out = "";
  for (const segment of path) {
    const key = typeof segment === "object" ? segment.key : segment;
    out += typeof key === "number" ? `[${key}]` : out === "" ? String(key) : `.${String(key)}`;
  }
  return out;
}

/**
 * JSON text, validated by any Standard Schema (zod, valibot, arktype, ...) when it is read.
 *
 * It is not validated when it is written: there the type says what it is, and the schema would say something else, since
 * a schema checks what comes in, not what it gives out. So that written state can be read again, a schema whose
 * output it would not accept as input (a one-way transform) is refused by type: transform in `mapValues` instead.
 *
 * Reading throws SyntaxError for what is no JSON, SchemaError for what the schema refuses, TypeError for the text
 * `null` (a missing value is a null value on the wire) and for a schema that validates asynchronously.
 */
export function json<Input, Output extends Input & NonNullable<unknown>>(
  schema: StandardSchemaV1<Input, Output>,
): Serde<Output> {
  return { name: "json", serialize: toText(jsonText), deserialize: fromText(jsonReader(schema)) };
}

/** How `json` reads: text in, the validated value out. For a serde of your own that keeps the text beside the value. */
export function jsonReader<Input, Output extends Input & NonNullable<unknown>>(
  schema: StandardSchemaV1<Input, Output>,
): (text: string) => Output {
  const { validate, vendor } = schema["~standard"];
  return (text) => {
    const result = validate(JSON.parse(text));
    if (result instanceof Promise) {
      // Its outcome is of no use any more, but left alone a rejection would end the process.
      result.catch(() => undefined);
      throw new TypeError(
        `the ${vendor} schema validates asynchronously, records are read synchronously: remove its async checks`,
      );
    }
    if (result.issues !== undefined) throw new SchemaError(result.issues);
    return notNull(result.value);
  };
}

/** JSON text taken at its word: nothing checks that what is read is a `T`. For data of your own writing only. */
export function unvalidatedJson<T extends NonNullable<unknown>>(): Serde<T> {
  const deserialize = fromText((text) => notNull(JSON.parse(text) as T | null));
  return { name: "json", serialize: toText(jsonText), deserialize };
}

/**
 * `unvalidatedJson` for objects with just these fields in this order, which are mostly numbers, as the rows of a named
 * aggregate are. The same text, at 0.4 µs for three fields where `JSON.stringify` and a Buffer of its text take 0.7.
 */
export function unvalidatedFields(fields: readonly string[]): Serde<Readonly<Record<string, unknown>>> {
  const numbersText = compileNumbersText(fields);
  const serialize = toText((value: Readonly<Record<string, unknown>>) => numbersText(value) ?? jsonText(value));
  return { ...unvalidatedJson<Readonly<Record<string, unknown>>>(), serialize };
}

/**
 * A function that puts together the JSON text of an object whose fields are all finite numbers, and gives undefined for any other. Compiled with their
 * names in it: `value[name]` in a loop is looked up in a hash table each time.
 */
function compileNumbersText(
  fields: readonly string[],
): (value: Readonly<Record<string, unknown>>) => string | undefined {
  if (fields.length === 0) return () => "{}";
  const values = fields.map((field) => `value[${JSON.stringify(field)}]`);
  const areNumbers = values.map((value) => `Number.isFinite(${value})`).join(" && ");
  const parts = fields.map((field, at) => JSON.stringify(`${at === 0 ? "{" : ","}${JSON.stringify(field)}:`));
  const text = parts.map((part, at) => `${part} + ${values[at]}`).join(" + ");
  return new Function("value", `"use strict"; return ${areNumbers} ? ${text} + "}" : undefined;`) as never;
}

function jsonText(value: unknown): string {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined || text === "null")
    throw new TypeError(`${String(value)} has no JSON text that could be read again`);
  return text;
}

function notNull<T>(value: T | null | undefined): T & NonNullable<unknown> {
  if (value === null || value === undefined)
    throw new TypeError("the JSON text is null: a missing value is a null value, not this text");
  return value;
}
