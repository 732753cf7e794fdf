import type { StoreSpec } from "../topology/state-store.js";
import { UnusableStateError } from "./errors.js";
import type { SqliteDatabase } from "./sqlite-database.js";

/** What must be the same for a file's rows to be read again, by the names an error shows. */
type Definition = Readonly<Record<string, string | number | boolean>>;

function definitionOf(spec: StoreSpec): Definition {
  const common = { kind: spec.kind, key: spec.key.name, value: spec.value.name, changelog: spec.changelog };
  return spec.kind === "window" ? { ...common, sizeMs: spec.sizeMs, retentionMs: spec.retentionMs } : common;
}

/**
 * Notes new stores in the file and compares known ones. Answers with the number each store has there: it stays when the
 * order of the stores changes. Inside a transaction.
 *
 * @throws UnusableStateError when a store is not what it was
 */
export function registerStores(database: SqliteDatabase, specs: readonly StoreSpec[]): ReadonlyMap<string, number> {
  const known = database.prepare("SELECT id, name, definition FROM millrace_stores ORDER BY id").all() as {
    id: number;
    name: string;
    definition: string;
  }[];
  const ids = new Map(known.map(({ name, id }) => [name, id]));
  const insert = database.prepare("INSERT INTO millrace_stores (name, definition) VALUES (?, ?)");
  for (const spec of specs) {
    const definition = definitionOf(spec);
    const before = known.find(({ name }) => name === spec.name);
    if (before !== undefined)
      expectSame(database.file, spec.name, JSON.parse(before.definition) as Definition, definition);
    else ids.set(spec.name, Number(insert.run(spec.name, JSON.stringify(definition)).lastInsertRowid));
  }
  return ids;
}

function expectSame(file: string, store: string, before: Definition, now: Definition): void {
  const changed = [...new Set([...Object.keys(before), ...Object.keys(now)])]
    .filter((field) => before[field] !== now[field])
    .map((field) => `${field} was ${before[field] ?? "not there"} and is ${now[field] ?? "not there"}`);
  if (changed.length === 0) return;
  const message =
    `store "${store}" is not the one in ${file}: ${changed.join(", ")}. Its rows cannot be read as they are: ` +
    "change it back, give the store a new name, or reset the application (its state directory and its changelog)";
  throw new UnusableStateError("STATE_DEFINITION_CHANGED", message);
}
