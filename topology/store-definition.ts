import type { StoreSpec } from "./state-store.js";

/** What a store is, in words that outlive the process: two releases of an application are compared by it. */
export interface StoreDefinition {
  readonly kind: StoreSpec["kind"];
  /** Names of serdes. */
  readonly key: string;
  readonly value: string;
  readonly changelog: boolean;
  readonly sizeMs?: number;
  readonly retentionMs?: number;
  /** Aggregators by field; null where the rows are no named aggregates, undefined where it was never noted. */
  readonly fields?: Readonly<Record<string, string>> | null;
}

/** How a store differs from what it was. */
export interface DefinitionChanges {
  /** The rows that are there cannot be read as rows of the new store. */
  readonly refused: readonly string[];
  /** The rows stay good; what becomes of them. */
  readonly allowed: readonly string[];
}

export function definitionOf(spec: StoreSpec): StoreDefinition {
  const { kind, changelog } = spec;
  const windows = spec.kind === "window" ? { sizeMs: spec.sizeMs, retentionMs: spec.retentionMs } : {};
  return { kind, key: spec.key.name, value: spec.value.name, changelog, ...windows, fields: spec.fields ?? null };
}

/** In this order, so that the cause stands before what follows from it. */
const FIXED = ["kind", "sizeMs", "retentionMs", "key", "value", "changelog"] as const;

export function compareDefinitions(before: StoreDefinition, now: StoreDefinition): DefinitionChanges {
  const fixed = FIXED.filter((part) => before[part] !== now[part]).map(
    (part) => `${part} was ${before[part] ?? "not there"} and is ${now[part] ?? "not there"}`,
  );
  const fields = compareFields(before.fields, now.fields);
  return { refused: [...fixed, ...fields.refused], allowed: fields.allowed };
}

function compareFields(before: StoreDefinition["fields"], now: StoreDefinition["fields"]): DefinitionChanges {
  if (before === undefined || now === undefined || before === now) return { refused: [], allowed: [] };
  if (before === null || now === null) {
    const what = (fields: object | null): string => (fields === null ? "one state" : "an aggregate of named fields");
    return { refused: [`a row was ${what(before)} and is ${what(now)}`], allowed: [] };
  }
  const refused = Object.keys(now)
    .filter((field) => before[field] !== undefined && before[field] !== now[field])
    .map((field) => `field ${field} was ${before[field]} and is ${now[field]}`);
  const added = Object.keys(now).filter((field) => before[field] === undefined);
  const removed = Object.keys(before).filter((field) => now[field] === undefined);
  const allowed: string[] = [];
  if (added.length > 0)
    allowed.push(`${plural("field", added)} added: in rows that are there already it begins at its initial value`);
  if (removed.length > 0) allowed.push(`${plural("field", removed)} removed: a row loses it with its next change`);
  return { refused, allowed };
}

function plural(what: string, names: readonly string[]): string {
  return `${what}${names.length === 1 ? "" : "s"} ${names.join(", ")}`;
}

/** What one can do instead of a change that is refused. */
export const WAYS_OUT =
  "change it back, give the store a new name (it then starts empty), or reset the application (its state directories, changelog topics and committed offsets)";
