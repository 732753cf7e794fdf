import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { int64, type Serde, string } from "../serdes/serde.js";
import type { KeyValueStore, StoreSpec } from "../topology/state-store.js";
import { StateFiles } from "./state-files.js";
import type { Checkpoint, TaskState } from "./task-state.js";

const counts: StoreSpec = {
  kind: "key-value",
  name: "counts",
  key: string as Serde<unknown>,
  value: int64 as Serde<unknown>,
  changelog: true,
};
const checkpoint: Checkpoint = {
  commitNumber: 1,
  sourceOffsets: [],
  changelogOffsets: { counts: 1 },
  clocks: {},
  topicIds: {},
  wallClockMs: 0,
};

let stateDir: string;
let files: StateFiles;

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "millrace-files-"));
  files = StateFiles.lock({ stateDir, applicationId: "app" });
});

afterEach(() => {
  files.unlock();
  rmSync(stateDir, { recursive: true, force: true });
});

function store(state: TaskState): KeyValueStore {
  return state.store("counts") as KeyValueStore;
}

function writeOne(): void {
  const { state } = files.open([counts], 3);
  store(state).put("ann", 7, 1);
  state.take();
  state.apply(checkpoint, { counts: 0 });
  state.close();
}

describe("a task that a new topology gives one store more", () => {
  const more: StoreSpec = { ...counts, name: "more" };

  test("goes on with the file of those it had: their rows are not restored", () => {
    writeOne();
    expect([files.has([counts, more], 3), files.has([counts, more], 4)]).toEqual([true, false]);
    const { state } = files.open([more, counts], 3);
    expect(store(state).get("ann")?.value).toBe(7);
    expect(state.checkpoint()).toEqual(checkpoint);
    state.close();
    expect(readdirSync(join(stateDir, "app")).filter((name) => name.startsWith("counts"))).toEqual([
      "counts+more-3.db",
    ]);
  });

  test("begins a new file where the stores come from two tasks, or the old file is being read", () => {
    writeOne();
    files.open([more], 3).state.close();
    const merged = files.open([counts, more], 3);
    expect(merged.state.checkpoint()).toBeUndefined();
    merged.state.wipe();

    const other: StoreSpec = { ...counts, name: "other" };
    const reader = new Database(join(stateDir, "app", "counts-3.db"), { readonly: true });
    reader.prepare("SELECT count(*) FROM millrace_stores").get();
    const read = files.open([counts, other], 3);
    expect(read.state.checkpoint()).toBeUndefined();
    read.state.close();
    reader.close();
  });

  test("begins a new file where the old one is damaged", () => {
    writeOne();
    writeFileSync(join(stateDir, "app", "counts-3.db"), "this was a database once ".repeat(2_000));
    const { state, wipedBecause } = files.open([counts, more], 3);
    expect([state.checkpoint(), wipedBecause]).toEqual([undefined, undefined]);
    state.close();
  });
});

describe("StateFiles", () => {
  test("state is found again by its stores and its partition", () => {
    writeOne();
    const { state, wipedBecause } = files.open([counts], 3);
    expect(store(state).get("ann")?.value).toBe(7);
    expect(wipedBecause).toBeUndefined();
    state.close();
    expect(files.has([counts], 3)).toBe(true);
    expect(files.has([counts], 4)).toBe(false);
  });

  test("a damaged file is begun anew, and it is said why", () => {
    writeOne();
    writeFileSync(join(stateDir, "app", "counts-3.db"), "this was a database once ".repeat(2_000));
    const { state, wipedBecause } = files.open([counts], 3);
    expect(state.checkpoint()).toBeUndefined();
    expect(wipedBecause).toContain("damaged");
    state.close();
  });

  test("state that must not be used is thrown away", () => {
    writeOne();
    const empty = files.reopenEmpty(files.open([counts], 3).state, [counts], 3);
    expect(store(empty).get("ann")).toBeUndefined();
    empty.close();
  });

  test("a task without stores leaves no file", () => {
    const { state } = files.open([], 0);
    state.take();
    state.apply({ ...checkpoint, changelogOffsets: {} }, {});
    state.close();
    expect(existsSync(join(stateDir, "app", "-0.db"))).toBe(false);
    expect(files.has([], 0)).toBe(false);
  });

  test("a second holder of the directory is refused, until the first lets go", () => {
    expect(() => StateFiles.lock({ stateDir, applicationId: "app" })).toThrow(
      expect.objectContaining({ code: "STATE_DIRECTORY_LOCKED" }),
    );
    files.unlock();
    files = StateFiles.lock({ stateDir, applicationId: "app" });
  });

  test("the identity lasts as long as the directory", () => {
    const { identity } = files;
    files.unlock();
    files = StateFiles.lock({ stateDir, applicationId: "app" });
    expect(files.identity).toBe(identity);
  });
});
