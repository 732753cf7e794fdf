import { existsSync } from "node:fs";
import type { StoreSpec } from "../topology/state-store.js";
import { CorruptStateError } from "./errors.js";
import { openTaskState } from "./open-stores.js";
import { isStateFileOpen, moveStateFile, wipeStateFile } from "./sqlite-database.js";
import { type HeldDirectory, StateDirectory } from "./state-directory.js";
import { changelogOffsetsIn, fileOfSome, type StoredStore, storedStores } from "./stored-stores.js";
import type { TaskState } from "./task-state.js";

export interface OpenedState {
  readonly state: TaskState;
  /** Why the file was thrown away and begun anew; undefined when it was good, or not there. */
  readonly wipedBecause: string | undefined;
}

/** The files of one application's tasks in a directory that this process holds. */
export class StateFiles {
  readonly #directory: StateDirectory;
  readonly #topology: string | undefined;

  private constructor(directory: StateDirectory, topology: string | undefined) {
    this.#directory = directory;
    this.#topology = topology;
  }

  /** `topology` is the hash of the one that will use it. @throws UnusableStateError when the directory cannot be used, or another process holds it */
  static lock(options: {
    readonly stateDir: string;
    readonly applicationId: string;
    readonly topology?: string;
  }): StateFiles {
    return new StateFiles(StateDirectory.open(options), options.topology);
  }

  /** For a stream thread of the process that has locked the directory. */
  static ofThisProcess(directory: HeldDirectory, options: { readonly topology: string }): StateFiles {
    return new StateFiles(StateDirectory.ofThisProcess(directory), options.topology);
  }

  get directory(): HeldDirectory {
    return { path: this.#directory.path, uuid: this.#directory.uuid };
  }

  /** The same for as long as the directory stays where it is: what group instance and transactional ids are made of. */
  get identity(): string {
    return this.#directory.uuid;
  }

  /** The group members of the last start from here. */
  get members(): readonly string[] {
    return this.#directory.members();
  }

  rememberMembers(members: readonly string[]): void {
    this.#directory.rememberMembers(members);
  }

  /** A damaged file is wiped: it holds only what its changelogs hold too. */
  open(stores: readonly StoreSpec[], partition: number): OpenedState {
    const file = this.#fileOf(stores, partition);
    try {
      this.#adopt(file, stores, partition);
      return { state: this.#open(file, stores), wipedBecause: undefined };
    } catch (error) {
      if (!(error instanceof CorruptStateError)) throw error;
      wipeStateFile(file);
      return { state: this.#open(file, stores), wipedBecause: error.message };
    }
  }

  /** Throws away what is open and begins anew. */
  reopenEmpty(state: TaskState, stores: readonly StoreSpec[], partition: number): TaskState {
    state.wipe();
    return this.#open(this.#fileOf(stores, partition), stores);
  }

  /** The stores that the files here tell of, those of earlier topologies too. A damaged file tells nothing until it is opened. */
  stored(): readonly StoredStore[] {
    return storedStores(this.#directory.path);
  }

  /** True while a task has that file, in whatever thread of this process: opening it waits for that (protocol 18). */
  isOpen(stores: readonly StoreSpec[], partition: number): boolean {
    return stores.length > 0 && isStateFileOpen(this.#fileOf(stores, partition));
  }

  /** True when there is state of that partition here, whatever it is worth. */
  has(stores: readonly StoreSpec[], partition: number): boolean {
    if (stores.length === 0) return false;
    return existsSync(this.#fileOf(stores, partition)) || this.#predecessor(stores, partition) !== undefined;
  }

  /** By store, how far the file of that partition has the changelogs; nothing where it cannot be read. */
  changelogOffsets(stores: readonly StoreSpec[], partition: number): Readonly<Record<string, number>> {
    return stores.length === 0 ? {} : changelogOffsetsIn(this.#fileOf(stores, partition));
  }

  /** Where the state of a task lies, for who only reads it; undefined for a task that keeps nothing. */
  taskFile(stores: readonly StoreSpec[], partition: number): string | undefined {
    return stores.length === 0 ? undefined : this.#fileOf(stores, partition);
  }

  unlock(): void {
    this.#directory.close();
  }

  /** A task that a new topology gives one store more has another file name, which must not cost the others their rows. */
  #adopt(file: string, stores: readonly StoreSpec[], partition: number): void {
    if (existsSync(file)) return;
    const predecessor = this.#predecessor(stores, partition);
    if (predecessor !== undefined) moveStateFile(predecessor, file);
  }

  #predecessor(stores: readonly StoreSpec[], partition: number): string | undefined {
    if (stores.length < 2) return undefined;
    const names = stores.map(({ name }) => name);
    return fileOfSome(this.#directory.path, names, partition);
  }

  #open(file: string, stores: readonly StoreSpec[]): TaskState {
    return openTaskState({ file, stores, topology: this.#topology });
  }

  /** A task without stores has nothing to keep, and needs no file. */
  #fileOf(stores: readonly StoreSpec[], partition: number): string {
    if (stores.length === 0) return ":memory:";
    return this.#directory.taskFile(
      stores.map(({ name }) => name),
      partition,
    );
  }
}
