import type { StoreSpec } from "../topology/state-store.js";
import { compareDefinitions, definitionOf, type StoreDefinition, WAYS_OUT } from "../topology/store-definition.js";
import { UnusableStateError } from "./errors.js";
import type { SqliteDatabase } from "./sqlite-database.js";

/**
 * Notes new stores in the file and compares known ones; a change that leaves their rows good is noted as well. Answers with
 * the number each store has there: it stays when the order of the stores changes. Inside a transaction.
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
  const update = database.prepare("UPDATE millrace_stores SET definition = ? WHERE id = ?");
  for (const spec of specs) {
    const definition = definitionOf(spec);
    const text = JSON.stringify(definition);
    const before = known.find(({ name }) => name === spec.name);
    if (before === undefined) ids.set(spec.name, Number(insert.run(spec.name, text).lastInsertRowid));
    else if (before.definition !== text) {
      expectReadable(database.file, spec.name, JSON.parse(before.definition) as StoreDefinition, definition);
      update.run(text, before.id);
    }
  }
  return ids;
}

function expectReadable(file: string, store: string, before: StoreDefinition, now: StoreDefinition): void {
  const { refused } = compareDefinitions(before, now);
  if (refused.length === 0) return;
  const message = `store "${store}" is not the one in ${file}: ${refused.join(", ")}. Its rows cannot be read as they are: ${WAYS_OUT}`;
  throw new UnusableStateError("STATE_DEFINITION_CHANGED", message);
}
