import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readdirSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { type OpenedState, StateFiles } from "../../stores/state-files.js";
import type { ChangelogRecord, Checkpoint, TakenChanges, TaskState } from "../../stores/task-state.js";
import type { StoreSpec } from "../../topology/state-store.js";

/** What happens around the writes of a process that may be killed, or lose its power, before and after each of them. */
export interface DiskEvents {
  /** The process writes `what` to its disk: before, after, or between two writes that belong together. */
  step(what: string): void;
}

/**
 * The state directory of one simulated machine, with real SQLite files. To die is to go on in a copy of the files as they
 * are at that moment: what the dead process's handles still write goes to files that nobody reads.
 */
export class Disk {
  #generation = 0;
  #files: StateFiles | undefined;
  #open = new Set<TaskState>();
  /** An earlier state of the directory, for a machine that loses its power. */
  #earlier: string | undefined;

  constructor(
    readonly root: string,
    readonly applicationId: string,
  ) {
    mkdirSync(this.#stateDir, { recursive: true });
  }

  get #stateDir(): string {
    return join(this.root, String(this.#generation));
  }

  get #directory(): string {
    return join(this.#stateDir, this.applicationId);
  }

  /** For the life of one process. */
  lock(events: DiskEvents, options: { readonly topology: string; readonly checkpointEarly: boolean }): StateFiles {
    const { topology } = options;
    const files = StateFiles.lock({ stateDir: this.#stateDir, applicationId: this.applicationId, topology });
    this.#files = files;
    this.#open = new Set();
    return watched(files, events, this.#open, options);
  }

  unlock(): void {
    this.#files?.unlock();
    this.#files = undefined;
  }

  abandon(): void {
    for (const state of [...this.#open]) state.close();
    this.unlock();
  }

  /** What a power failure goes back to: SQLite's log is synced at its checkpoints, not at each commit. */
  remember(): void {
    this.#earlier = this.#copyTo(`${this.root}-earlier-${this.#generation}`);
  }

  /** Leaves the files to the process that has died, and goes on in a copy. Returns what closes the dead one's handles. */
  die(): () => void {
    const [files, open, from] = [this.#files, this.#open, this.#directory];
    this.#files = undefined;
    this.#generation++;
    copyFiles(from, this.#directory);
    return () => {
      for (const state of [...open]) state.close();
      files?.unlock();
    };
  }

  losePower(): void {
    if (this.#earlier === undefined) return;
    this.#generation++;
    copyFiles(this.#earlier, this.#directory);
  }

  wipe(): void {
    this.#generation++;
    this.#earlier = undefined;
  }

  /** Writes over a part of each file, as a bad disk would. */
  corrupt(): void {
    for (const name of databases(this.#directory)) {
      const descriptor = openSync(join(this.#directory, name), "r+");
      writeSync(descriptor, Buffer.alloc(64, 0xa5), 0, 64, 0);
      closeSync(descriptor);
    }
  }

  #copyTo(directory: string): string {
    copyFiles(this.#directory, directory);
    return directory;
  }
}

function databases(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).filter((name) => name.endsWith(".db") && name !== "lock.db");
}

/** The index of the log (`-shm`) is made anew from the log itself; lock and identity belong to the process. */
function copyFiles(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    if (!/\.db(-wal)?$/.test(name) || name.startsWith("lock.db")) continue;
    copyFileSync(join(from, name), join(to, name));
  }
}

function watched(
  files: StateFiles,
  events: DiskEvents,
  open: Set<TaskState>,
  options: { readonly checkpointEarly: boolean },
): StateFiles {
  const inner = new WeakMap<TaskState, TaskState>();
  const watch = (state: TaskState): TaskState => {
    const made = new WatchedState(state, events, options.checkpointEarly, () => open.delete(made));
    inner.set(made, state);
    open.add(made);
    return made;
  };
  const overridden = {
    open(stores: readonly StoreSpec[], partition: number): OpenedState {
      events.step("opens a state file");
      const opened = files.open(stores, partition);
      return { ...opened, state: watch(opened.state) };
    },
    reopenEmpty(state: TaskState, stores: readonly StoreSpec[], partition: number): TaskState {
      open.delete(state);
      return watch(files.reopenEmpty(inner.get(state) ?? state, stores, partition));
    },
    has: (stores: readonly StoreSpec[], partition: number): boolean => files.has(stores, partition),
    stored: () => files.stored(),
  };
  // A class with private fields: only a proxy can stand in for it.
  return new Proxy(files, {
    get: (_, name) => {
      const own: unknown = Reflect.get(files, name, files);
      return overridden[name as keyof typeof overridden] ?? (typeof own === "function" ? own.bind(files) : own);
    },
  });
}

class WatchedState implements TaskState {
  constructor(
    readonly inner: TaskState,
    readonly events: DiskEvents,
    readonly checkpointEarly: boolean,
    readonly onClose: () => void,
  ) {}

  get bufferedBytes(): number {
    return this.inner.bufferedBytes;
  }

  get cachedBytes(): number {
    return this.inner.cachedBytes;
  }

  get diskBytes(): number {
    return this.inner.diskBytes;
  }

  get unwrittenBytes(): number {
    return this.inner.unwrittenBytes;
  }

  confirm(checkpoint: Checkpoint, firstOffsets: Readonly<Record<string, number>>): void {
    this.events.step("has a commit confirmed");
    this.inner.confirm(checkpoint, firstOffsets);
  }

  write(): void {
    this.events.step("writes commits");
    this.inner.write();
    this.events.step("has written commits");
  }

  apply(checkpoint: Checkpoint, firstOffsets: Readonly<Record<string, number>>): void {
    this.confirm(checkpoint, firstOffsets);
    this.write();
  }

  restore(
    store: string,
    records: readonly ChangelogRecord[],
    nextOffset: number,
    topicIds?: Readonly<Record<string, string>>,
  ): void {
    this.events.step("restores");
    // In two parts, as if the round had been a smaller one: there is more to be caught in.
    const half = Math.floor(records.length / 2);
    const middle = records[half];
    if (middle !== undefined) {
      const [first, nextAfterFirst] = this.checkpointEarly ? [[], nextOffset] : [records.slice(0, half), middle.offset];
      this.inner.restore(store, first, nextAfterFirst, topicIds);
      this.events.step("is in the midst of restoring");
    }
    this.inner.restore(store, this.checkpointEarly ? records : records.slice(half), nextOffset, topicIds);
    this.events.step("has restored");
  }

  close(): void {
    this.onClose();
    this.inner.close();
  }

  wipe(): void {
    this.onClose();
    this.inner.wipe();
  }

  store(name: string) {
    return this.inner.store(name);
  }

  keep(): void {
    this.inner.keep();
  }

  takeBack(): void {
    this.inner.takeBack();
  }

  take(): readonly TakenChanges[] {
    return this.inner.take();
  }

  checkpoint(): Checkpoint | undefined {
    return this.inner.checkpoint();
  }

  newestWindowStartMs(store: string): number | undefined {
    return this.inner.newestWindowStartMs(store);
  }

  changelogCuts(): Readonly<Record<string, number>> {
    return this.inner.changelogCuts();
  }

  countRows(): Generator<undefined, Readonly<Record<string, number>>> {
    return this.inner.countRows();
  }
}
