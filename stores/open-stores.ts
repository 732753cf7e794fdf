import type { Statement } from "better-sqlite3";
import { InvariantError, invariant } from "../topology/errors.js";
import type { StateStore, StoreSpec } from "../topology/state-store.js";
import { BufferedKeyValueStore, BufferedWindowStore } from "./buffered-stores.js";
import { CorruptStateError } from "./errors.js";
import { restoreKeyValueRows, restoreWindowRows } from "./restored-rows.js";
import { SqliteDatabase } from "./sqlite-database.js";
import { SqliteKeyValueStore } from "./sqlite-key-value-store.js";
import { SqliteWindowStore } from "./sqlite-window-store.js";
import { registerStores } from "./store-definitions.js";
import type { ChangelogRecord, Checkpoint, TakenChanges, TaskState } from "./task-state.js";
import { WriteBuffer } from "./write-buffer.js";

const CACHE_BYTES_MAX = 4 * 1024 * 1024;
/** A key-value store's rows stay. */
const NO_EXPIRY = { liveFromMs: Number.NEGATIVE_INFINITY, expiredBeforeMs: Number.NEGATIVE_INFINITY };

export interface TaskStateOptions {
  /** ":memory:" keeps everything in this process and loses it with it. */
  readonly file: string;
  readonly stores: readonly StoreSpec[];
  /** Hash of the whole topology that they belong to: tells files in use from those that an earlier one left. */
  readonly topology?: string | undefined;
  /** Bound of the rows kept decoded above SQLite, for all stores of the task, estimated; 4 MiB by default. Filters take half as much beside it. */
  readonly cacheBytesMax?: number;
  /** Milliseconds since the epoch: what `restore` writes into the checkpoint. */
  readonly wallClockMs?: () => number;
}

/**
 * Opens or creates a task's state file.
 *
 * @throws CorruptStateError when the file is damaged: `wipeStateFile`, open again, restore
 * @throws UnusableStateError when it is not ours, of a newer format, made by other stores, or cannot be opened
 * @throws InvariantError when it is still open in this process
 */
export function openTaskState(options: TaskStateOptions): TaskState {
  const database = SqliteDatabase.open(options.file);
  try {
    return new SqliteTaskState(database, options);
  } catch (error) {
    database.close();
    throw error;
  }
}

/** A store and its layers, from above: what processors see, the write buffer, the rows in SQLite. */
type Layers = { readonly spec: StoreSpec; readonly buffer: WriteBuffer } & (
  | { readonly kind: "window"; readonly store: BufferedWindowStore; readonly stored: SqliteWindowStore }
  | { readonly kind: "key-value"; readonly store: BufferedKeyValueStore; readonly stored: SqliteKeyValueStore }
);

/** The one place that knows in which order a store's layers lie on each other. */
function layersOf(database: SqliteDatabase, spec: StoreSpec, storeId: number, cacheBytesMax: number): Layers {
  if (spec.kind === "window") {
    const stored = new SqliteWindowStore(database, storeId, { layout: spec, filterBytesMax: cacheBytesMax / 2 });
    const buffer = new WriteBuffer(spec, stored, { cacheBytesMax });
    return { spec, kind: "window", stored, buffer, store: new BufferedWindowStore(buffer, stored) };
  }
  const stored = new SqliteKeyValueStore(database, storeId);
  const buffer = new WriteBuffer(spec, stored, { cacheBytesMax });
  return { spec, kind: "key-value", stored, buffer, store: new BufferedKeyValueStore(buffer, stored) };
}

class SqliteTaskState implements TaskState {
  readonly #database: SqliteDatabase;
  readonly #stores = new Map<string, Layers>();
  /** The values of `#stores`: `keep` runs once per record. */
  readonly #buffers: readonly WriteBuffer[];
  readonly #wallClockMs: () => number;
  readonly #saveCheckpoint: Statement<unknown[]>;
  /** Of the last commit, and of what the file holds. */
  #checkpoint: Checkpoint | undefined;
  #written: Checkpoint | undefined;
  #taken = false;
  /** By store: the lowest changelog offset of what is confirmed and not written; undefined when all is written. */
  #unwritten: Record<string, number> | undefined;

  constructor(database: SqliteDatabase, options: TaskStateOptions) {
    this.#database = database;
    this.#saveCheckpoint = database.prepare("UPDATE millrace_task SET checkpoint = ?");
    this.#wallClockMs = options.wallClockMs ?? Date.now;
    const cacheBytesMax = (options.cacheBytesMax ?? CACHE_BYTES_MAX) / Math.max(1, options.stores.length);
    database.transaction(() => {
      const ids = registerStores(database, options.stores);
      database.prepare("UPDATE millrace_task SET topology = ?").run(options.topology ?? null);
      for (const spec of options.stores) {
        const id = ids.get(spec.name);
        invariant(id !== undefined, `store "${spec.name}" has just been registered`);
        this.#stores.set(spec.name, layersOf(database, spec, id, cacheBytesMax));
      }
    });
    this.#buffers = [...this.#stores.values()].map((layers) => layers.buffer);
    this.#checkpoint = this.#readCheckpoint();
    this.#written = this.#checkpoint;
  }

  store(name: string): StateStore {
    return this.#layers(name).store;
  }

  keep(): void {
    for (let at = 0; at < this.#buffers.length; at++) this.#buffers[at]!.keep();
  }

  takeBack(): void {
    for (const buffer of this.#buffers) buffer.takeBack();
  }

  get bufferedBytes(): number {
    let bytes = 0;
    for (const buffer of this.#buffers) bytes += buffer.bufferedBytes;
    return bytes;
  }

  get cachedBytes(): number {
    let bytes = 0;
    for (const { buffer, stored } of this.#stores.values()) bytes += buffer.cachedBytes + stored.filterBytes;
    return bytes;
  }

  get diskBytes(): number {
    return this.#database.diskBytes;
  }

  take(): readonly TakenChanges[] {
    invariant(
      !this.#taken,
      "the last taking must be applied first: two commits in flight would have one set of frozen rows",
    );
    // All are serialized before one is frozen: a row that cannot be leaves everything as it was.
    const encoded = [...this.#stores.values()].map((layers) => ({ layers, changes: layers.buffer.encode() }));
    for (const { layers, changes } of encoded) {
      layers.buffer.freeze(changes);
      if (layers.kind === "window") layers.stored.takeExpiry();
    }
    this.#taken = true;
    return encoded.map(({ layers, changes }) => ({ store: layers.spec.name, rows: changes.taken }));
  }

  confirm(checkpoint: Checkpoint, firstOffsets: Readonly<Record<string, number>>): void {
    invariant(this.#taken, "what is confirmed must have been taken");
    this.#taken = false;
    this.#checkpoint = checkpoint;
    this.#unwritten ??= {};
    for (const [store, offset] of Object.entries(firstOffsets)) {
      this.#unwritten[store] = Math.min(offset, this.#unwritten[store] ?? offset);
    }
    for (const buffer of this.#buffers) buffer.confirm();
  }

  get unwrittenBytes(): number {
    if (this.#unwritten === undefined) return 0;
    return this.#buffers.reduce((bytes, buffer) => bytes + buffer.unwrittenBytes, 0);
  }

  write(): void {
    const firstOffsets = this.#unwritten;
    const checkpoint = this.#checkpoint;
    if (firstOffsets === undefined || checkpoint === undefined || this.#taken) return;
    this.#database.sizeLogFor("commits");
    this.#database.transaction(() => {
      for (const layers of this.#stores.values()) {
        this.#writeTaken(layers, firstOffsets[layers.spec.name]);
        if (layers.kind === "window") layers.stored.finishWrites();
      }
      this.#writeCheckpoint(checkpoint);
    });
    this.#unwritten = undefined;
    for (const layers of this.#stores.values()) {
      layers.buffer.settle(layers.kind === "window" ? layers.stored.takenExpiry : NO_EXPIRY);
    }
  }

  apply(checkpoint: Checkpoint, firstOffsets: Readonly<Record<string, number>>): void {
    this.confirm(checkpoint, firstOffsets);
    this.write();
  }

  checkpoint(): Checkpoint | undefined {
    return this.#checkpoint;
  }

  restore(
    store: string,
    records: readonly ChangelogRecord[],
    nextOffset: number,
    topicIds: Readonly<Record<string, string>> = {},
  ): void {
    const layers = this.#layers(store);
    invariant(layers.buffer.isClean, `store "${store}" is restored while it holds changes of its own`);
    this.#database.sizeLogFor("restore");
    this.#database.transaction(() => {
      if (layers.kind === "key-value") restoreKeyValueRows(layers.stored, records);
      else {
        restoreWindowRows(layers.stored, store, records);
        layers.stored.finishWrites();
      }
      this.#writeCheckpoint(this.#movedTo(store, nextOffset, { isAhead: records.length > 0, topicIds }));
    });
    layers.buffer.forgetClean();
  }

  newestWindowStartMs(store: string): number | undefined {
    const layers = this.#layers(store);
    return layers.kind === "window" ? layers.stored.newestStartMs : undefined;
  }

  changelogCuts(): Readonly<Record<string, number>> {
    const cuts: Record<string, number> = {};
    for (const { kind, spec, stored } of this.#stores.values()) {
      if (kind !== "window" || !spec.changelog) continue;
      const cut = stored.firstLiveOffset() ?? this.#written?.changelogOffsets[spec.name];
      if (cut !== undefined) cuts[spec.name] = cut;
    }
    return cuts;
  }

  *countRows(): Generator<undefined, Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {};
    for (const [name, { stored }] of this.#stores) {
      counts[name] = yield* stored.countRows();
      yield;
    }
    return counts;
  }

  close(): void {
    try {
      this.write();
    } catch {
      // The changelog has it: the next open reads it back, after a check of the file, which this close leaves unclean.
      this.#unwritten = undefined;
    } finally {
      this.#database.close();
    }
  }

  wipe(): void {
    this.#database.wipe();
  }

  #layers(name: string): Layers {
    const layers = this.#stores.get(name);
    if (layers === undefined) throw new InvariantError(`this task has no store "${name}"`);
    return layers;
  }

  #writeTaken({ spec, buffer, stored }: Layers, firstOffset: number | undefined): void {
    if (!buffer.hasInFlight) return;
    invariant(
      firstOffset !== undefined || !spec.changelog,
      `the commit wrote rows of store "${spec.name}", so it knows the first changelog offset of them`,
    );
    for (const { startMs, taken, takenAt: at } of buffer.inFlight()) {
      invariant(taken !== undefined, "a row in flight keeps its bytes until it is settled");
      stored.write(taken.rowKey(at), startMs, taken.value(at), taken.timestampMs(at), firstOffset ?? 0);
    }
  }

  #movedTo(
    store: string,
    nextOffset: number,
    { isAhead, topicIds }: { readonly isAhead: boolean; readonly topicIds: Readonly<Record<string, string>> },
  ): Checkpoint {
    const last = this.#checkpoint ?? {
      commitNumber: 0,
      sourceOffsets: [],
      changelogOffsets: {},
      clocks: {},
      topicIds: {},
    };
    return {
      ...last,
      // Rows of a later commit than the source offsets: going on from those would count its records twice (protocol 15).
      sourceOffsets: isAhead ? [] : last.sourceOffsets,
      changelogOffsets: { ...last.changelogOffsets, [store]: nextOffset },
      topicIds: { ...last.topicIds, ...topicIds },
      wallClockMs: this.#wallClockMs(),
    };
  }

  /** Inside a transaction. When that fails, the database refuses every further use, so the field cannot run ahead. */
  #writeCheckpoint(checkpoint: Checkpoint): void {
    this.#saveCheckpoint.run(JSON.stringify(checkpoint));
    this.#checkpoint = checkpoint;
    this.#written = checkpoint;
  }

  #readCheckpoint(): Checkpoint | undefined {
    const read = this.#database.prepare("SELECT checkpoint FROM millrace_task");
    const { checkpoint } = this.#database.guard(() => read.get() as { checkpoint: string | null });
    if (checkpoint === null) return undefined;
    try {
      return JSON.parse(checkpoint) as Checkpoint;
    } catch (error) {
      throw new CorruptStateError(this.#database.file, "its checkpoint is no JSON", { cause: error });
    }
  }
}
