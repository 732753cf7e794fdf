import type { Clock } from "../topology/processor.js";
import type { TopicPartition } from "../topology/record.js";
import type { StateStore } from "../topology/state-store.js";
import type { TakenRows } from "./taken-rows.js";

/** What one commit says about a task, written in the same SQLite transaction as its rows (protocol 3, 16, 17). */
export interface Checkpoint {
  /** Grows by one with each commit of the task, whoever makes it. */
  readonly commitNumber: number;
  /** The next offset to read of every source partition; empty once rows of later commits were restored, which do not tell theirs. */
  readonly sourceOffsets: readonly (TopicPartition & { readonly offset: number })[];
  /** By store: everything below this changelog offset is in the file. */
  readonly changelogOffsets: Readonly<Record<string, number>>;
  /** By node name. */
  readonly clocks: Readonly<Record<string, Clock>>;
  /** By topic, sources and changelogs: a topic made anew has another id, and its offsets mean nothing here. */
  readonly topicIds: Readonly<Record<string, string>>;
  readonly wallClockMs: number;
}

/** The frozen changes of one store. */
export interface TakenChanges {
  readonly store: string;
  readonly rows: TakenRows;
}

/** A changelog record as restore reads it. The bytes may be views: they are copied by SQLite before the call returns. */
export interface ChangelogRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly timestampMs: number;
  readonly offset: number;
}

/**
 * The state of one task: every store of its sub-topology for one partition, in one SQLite file. Synchronous.
 *
 * Three layers, and reads go through them in this order: the buffer that records write to (live values), the frozen
 * changes of commits that are not written yet (bytes, decoded anew by each read), and SQLite. SQLite holds only what
 * committed Kafka transactions cover; it may be some commits behind them (ADR 006), which the next open reads back.
 */
export interface TaskState {
  store(name: string): StateStore;

  /** The record is done: its changes stay. Called after each record, so it must cost next to nothing. */
  keep(): void;
  /** The record failed: every put since the last `keep` is undone. */
  takeBack(): void;

  /** About how much the buffers hold; the engine commits early when it is too much. */
  readonly bufferedBytes: number;
  /** About how much the rows hold that are kept decoded above SQLite, beside those. */
  readonly cachedBytes: number;
  /** The file and its log, now; 0 in memory. */
  readonly diskBytes: number;

  /** Freezes the dirty rows of every store, serialized, and starts a fresh buffer. One taking at a time. */
  take(): readonly TakenChanges[];
  /**
   * The Kafka transaction of what was taken is committed: `checkpoint` describes it. Nothing is written yet.
   * `firstOffsets`: by store, the lowest changelog offset that this commit produced.
   */
  confirm(checkpoint: Checkpoint, firstOffsets: Readonly<Record<string, number>>): void;
  /** About how much is confirmed and not written. */
  readonly unwrittenBytes: number;
  /**
   * Writes what is confirmed and its checkpoint in one SQLite transaction, and drops expired segments. Does nothing when
   * all is written, or while a taking is on its way: its rows may be newer than what is committed.
   */
  write(): void;
  /** `confirm` and `write`. */
  apply(checkpoint: Checkpoint, firstOffsets: Readonly<Record<string, number>>): void;

  /** As the last `confirm` or restored batch left it; undefined for a new or wiped file. */
  checkpoint(): Checkpoint | undefined;

  /**
   * Applies changelog records in one SQLite transaction, and moves the store's changelog offset in the checkpoint to
   * `nextOffset`, which may lie beyond the last record (markers, compacted tails). `topicIds`: the changelog's, for the checkpoint.
   */
  restore(
    store: string,
    records: readonly ChangelogRecord[],
    nextOffset: number,
    topicIds?: Readonly<Record<string, string>>,
  ): void;
  /** The newest window start restored or held, for the clock (protocol 19); undefined where the store is empty or not windowed. */
  newestWindowStartMs(store: string): number | undefined;

  /** By window store: below this changelog offset there are only expired segments (protocol 21). */
  changelogCuts(): Readonly<Record<string, number>>;
  /**
   * Counts the rows in SQLite, by store, a slice at each step; between two steps there may be writes. Not to be stepped once it is closed.
   */
  countRows(): Generator<undefined, Readonly<Record<string, number>>>;

  /**
   * Closes. What is confirmed is written first, unless a taking is on its way. What is not committed is lost, as it must be
   * when the task is not this member's any more.
   */
  close(): void;
  /** Closes and deletes the file. */
  wipe(): void;
}
