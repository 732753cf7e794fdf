import type { StoreSpec } from "./state-store.js";
import { compareDefinitions, definitionOf, type StoreDefinition, WAYS_OUT } from "./store-definition.js";

/** How one store of a topology differs from the state that an earlier one left. */
export interface StoreChange {
  readonly store: string;
  readonly what: "same" | "changed" | "added" | "removed";
  /** Why the application must not start so, and the ways out; undefined where it may. */
  readonly refused: string | undefined;
  /** What becomes of the rows; "" where nothing does. */
  readonly consequence: string;
}

/** Stores of now in their order, then those that are gone. */
export function compareStores(
  before: ReadonlyMap<string, StoreDefinition>,
  now: readonly StoreSpec[],
): readonly StoreChange[] {
  const names = new Set(now.map(({ name }) => name));
  const added = now.filter(({ name }) => !before.has(name));
  const kept = now.map((spec): StoreChange => {
    const definition = before.get(spec.name);
    return definition === undefined ? newStore(spec.name) : knownStore(spec, definition);
  });
  const gone = [...before].filter(([name]) => !names.has(name));
  return [...kept, ...gone.map(([name, definition]) => goneStore(name, definition, added))];
}

function newStore(store: string): StoreChange {
  const consequence = "it is new and starts empty, with what is processed from now on";
  return { store, what: "added", refused: undefined, consequence };
}

function knownStore(spec: StoreSpec, before: StoreDefinition): StoreChange {
  const { refused, allowed } = compareDefinitions(before, definitionOf(spec));
  return {
    store: spec.name,
    what: refused.length + allowed.length === 0 ? "same" : "changed",
    refused:
      refused.length === 0 ? undefined : `${refused.join(", ")}. Its rows cannot be read as they are: ${WAYS_OUT}`,
    consequence: allowed.join("; "),
  };
}

/** A new store that could have read its rows makes it a renamed one: its rows would be left behind unnoticed. */
function goneStore(store: string, before: StoreDefinition, added: readonly StoreSpec[]): StoreChange {
  const heirs = added.filter((spec) => compareDefinitions(before, definitionOf(spec)).refused.length === 0);
  const heir = heirs.map(({ name }) => `"${name}"`).join(" or ");
  return {
    store,
    what: "removed",
    refused:
      heirs.length === 0
        ? undefined
        : `it is gone and ${heir} of the same kind is new: a renamed store would start empty. Give it its old name back; or, ` +
          "where it is meant to start empty, remove the one in one release and add the other in the next; or reset the application",
    consequence: "it is gone: its rows stay in its changelog topic, which nobody reads any more",
  };
}
