import { StreamsError } from "../../topology/errors.js";
import type { TopicPartition } from "../../topology/record.js";
import { FatalError, UnavailableError, UnstableOffsetsError } from "../errors.js";
import type { CommittedOffset, GroupMetadata } from "../transport.js";
import { GroupCoordinator } from "./group-coordinator.js";
import { isStorageError, LogDatabase } from "./log-database.js";
import { Topics } from "./topics.js";
import { type OffsetCommit, type ProducerIdentity, Transactions } from "./transactions.js";

export interface EmbeddedLogOptions {
  /** A SQLite file, made when missing, or `:memory:`. It belongs to one process at a time. */
  readonly file: string;
  /** The wall clock, milliseconds since the epoch: for timeouts, markers and append times. */
  readonly now?: () => number;
}

/**
 * Topics, offsets, transactions and groups of one process, in one SQLite file: what a broker is to the Kafka transport.
 * Several transports may share one log.
 *
 * What differs from a broker: nothing is removed by age or size and nothing is compacted, whatever `retention.ms` and
 * `cleanup.policy` say; only `deleteRecords` and the deletion of a topic free space. One append at a time; every
 * write is durable against the death of the process at once, against that of the machine at SQLite's next checkpoint.
 */
export class EmbeddedLog {
  readonly nowMs: () => number;
  readonly topics: Topics;
  readonly transactions: Transactions;
  readonly groups: GroupCoordinator;
  readonly #file: string;
  readonly #database: LogDatabase;
  #isClosed = false;

  /** @throws FatalError LOG_IN_USE, LOG_UNREADABLE */
  constructor(options: EmbeddedLogOptions) {
    this.#file = options.file;
    this.nowMs = options.now ?? Date.now;
    const database = new LogDatabase(options.file);
    this.#database = database;
    this.topics = new Topics(database);
    this.transactions = new Transactions({ database, nowMs: this.nowMs, write: (work) => this.write(work) });
    this.groups = new GroupCoordinator({ nowMs: this.nowMs });
    this.transactions.load((key) => this.topics.byKey(key));
  }

  /**
   * Runs one request of a client: all its writes reach the file together. What was written before the log refused a
   * part of the request stays, as on a broker.
   *
   * @throws UnavailableError when the file cannot be written; then nothing of the request is in the log
   */
  write<T>(work: () => T): T {
    this.refuseIfClosed();
    try {
      const done = this.#database.transaction(() => {
        try {
          return { value: work() };
        } catch (error) {
          if (error instanceof StreamsError) return { error };
          throw error;
        }
      });
      if ("error" in done) throw done.error;
      return done.value;
    } catch (cause) {
      if (cause instanceof StreamsError) throw cause;
      this.#reload(); // memory may be ahead of the file, which took everything back
      if (!isStorageError(cause)) throw cause;
      throw new UnavailableError(`the embedded log ${this.#file} cannot be written: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** The offsets wait for the commit of the producer's transaction. @throws FencedError */
  addOffsets(producer: ProducerIdentity, group: GroupMetadata, offsets: readonly OffsetCommit[]): void {
    this.groups.check(group);
    for (const offset of offsets) this.topics.require(offset);
    this.transactions.addOffsets(producer, group.groupId, offsets);
  }

  /** @throws UnstableOffsetsError */
  committedOffsets(groupId: string, partitions: readonly TopicPartition[], requireStable: boolean): CommittedOffset[] {
    const { sql } = this.#database;
    const pending = requireStable
      ? partitions.filter((at) => sql.isPending.get(groupId, at.topic, at.partition) !== undefined)
      : [];
    if (pending.length > 0) throw new UnstableOffsetsError(pending);
    return partitions.map(({ topic, partition }) => {
      const row = sql.committedOffset.get(groupId, topic, partition);
      return { topic, partition, offset: row?.next_offset, metadata: row?.metadata ?? "" };
    });
  }

  /** @throws FatalError GROUP_NOT_EMPTY */
  deleteGroup(groupId: string): void {
    if (this.groups.members(groupId).length > 0)
      throw new FatalError("GROUP_NOT_EMPTY", `group "${groupId}" has members: stop every instance first`);
    this.write(() => this.#database.sql.dropCommittedOf.run(groupId));
  }

  /** Aborts overdue transactions and ends overdue sessions. Timers do it too; a clock in a test's hands needs the call. */
  expire(): void {
    if (this.#isClosed) return;
    this.transactions.expire();
    this.groups.expire();
  }

  refuseIfClosed(): void {
    if (this.#isClosed) throw new UnavailableError(`the embedded log ${this.#file} was closed`);
  }

  close(): void {
    if (this.#isClosed) return;
    this.transactions.stop();
    this.groups.stop();
    this.#isClosed = true;
    this.#database.close();
  }

  #reload(): void {
    this.topics.load();
    this.transactions.load((key) => this.topics.byKey(key));
  }
}
