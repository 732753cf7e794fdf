import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { compareStores, type StoreChange } from "../topology/store-changes.js";
import type { StoreDefinition } from "../topology/store-definition.js";
import { CorruptStateError, stateError, UnusableStateError } from "./errors.js";
import { recognise } from "./sqlite-database.js";
import { applicationDirectory, LOCK_FILE } from "./state-directory.js";
import type { Checkpoint } from "./task-state.js";

export type StoredStore = readonly [name: string, definition: StoreDefinition];

/** What one task's file says of itself. */
interface StoredTask {
  /** Hash of the topology that used it last; null in files of format 1. */
  readonly topology: string | null;
  /** Of its last write. */
  readonly wallClockMs: number;
  /** By store. */
  readonly changelogOffsets: Readonly<Record<string, number>>;
  readonly stores: readonly StoredStore[];
}

/**
 * How the stores of a topology differ from those in a state directory, without a broker: what a start would do with them.
 * Read only, so an instance may be running on the directory. It sees what was kept here; the start asks the committed
 * positions too, which know of every partition.
 *
 * @throws UnusableStateError when there is no such directory, or a file in it cannot be read
 */
export function compareWithState(
  topology: ProcessorTopology,
  directory: { readonly stateDir: string; readonly applicationId: string },
): readonly StoreChange[] {
  const path = applicationDirectory(directory);
  if (!existsSync(path))
    throw new UnusableStateError(
      "STATE_DIRECTORY_UNUSABLE",
      `there is no state of "${directory.applicationId}": ${path}`,
    );
  return compareStores(
    storesOf(lastTopology(readTasks(path))),
    topology.subTopologies.flatMap(({ stores }) => stores),
  );
}

/** Every store that any file of the directory tells of; files that cannot be read are left out. */
export function storedStores(path: string): StoredStore[] {
  return taskFiles(path).flatMap((file) => readableTask(file)?.stores ?? []);
}

/**
 * The one file of this partition all of whose stores are among these: its task had fewer of them. Undefined where there is
 * none, or more than one, whose rows would have to be put together.
 */
export function fileOfSome(path: string, stores: readonly string[], partition: number): string | undefined {
  const files = taskFiles(path).filter((file) => {
    if (!file.endsWith(`-${partition}.db`)) return false;
    const stored = readableTask(file)?.stores ?? [];
    return stored.length > 0 && stored.every(([name]) => stores.includes(name));
  });
  return files.length === 1 ? files[0] : undefined;
}

/** By store, as far as a task's file has its changelogs; nothing for one that is missing, damaged or not ours. */
export function changelogOffsetsIn(file: string): Readonly<Record<string, number>> {
  return existsSync(file) ? (readableTask(file)?.changelogOffsets ?? {}) : {};
}

/** Undefined for a file that is damaged or not ours: opening it will tell. */
function readableTask(file: string): StoredTask | undefined {
  try {
    return readTask(file);
  } catch (error) {
    if (error instanceof CorruptStateError || error instanceof UnusableStateError) return undefined;
    throw error;
  }
}

function readTasks(path: string): StoredTask[] {
  return taskFiles(path).map(readTask);
}

function taskFiles(path: string): string[] {
  const names = readdirSync(path).filter((name) => name.endsWith(".db") && name !== LOCK_FILE);
  return names.map((name) => join(path, name));
}

/** Files of tasks that an earlier topology had stay in the directory: what counts is the topology that wrote last. */
function lastTopology(tasks: readonly StoredTask[]): StoredTask[] {
  const newest = tasks.reduce<StoredTask | undefined>(
    (best, task) => (best === undefined || task.wallClockMs > best.wallClockMs ? task : best),
    undefined,
  );
  return tasks.filter(({ topology }) => topology === newest?.topology);
}

function storesOf(tasks: readonly StoredTask[]): Map<string, StoreDefinition> {
  return new Map(tasks.flatMap(({ stores }) => stores));
}

function readTask(file: string): StoredTask {
  let connection: Database.Database | undefined;
  try {
    connection = new Database(file, { readonly: true, fileMustExist: true, timeout: 1_000 });
    // Another thread of this process has only just begun it.
    if (recognise(connection, file)) return { topology: null, wallClockMs: 0, changelogOffsets: {}, stores: [] };
    const task = connection.prepare<[], TaskRow>("SELECT * FROM millrace_task").get();
    const rows = connection.prepare<[], StoreRow>("SELECT name, definition FROM millrace_stores").all();
    const checkpoint = JSON.parse(task?.checkpoint ?? "{}") as Partial<Checkpoint>;
    return {
      topology: task?.topology ?? null,
      wallClockMs: checkpoint.wallClockMs ?? 0,
      changelogOffsets: checkpoint.changelogOffsets ?? {},
      stores: rows.map(({ name, definition }) => [name, JSON.parse(definition) as StoreDefinition]),
    };
  } catch (error) {
    throw stateError(error, file);
  } finally {
    connection?.close();
  }
}

interface TaskRow {
  readonly checkpoint: string | null;
  readonly topology?: string | null;
}

interface StoreRow {
  readonly name: string;
  readonly definition: string;
}
