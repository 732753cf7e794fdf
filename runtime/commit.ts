import type { StreamsMetrics } from "../metrics/metrics.js";
import type { TakenRows } from "../stores/taken-rows.js";
import type { ProcessingGuarantee } from "./config.js";
import { type Delivered, deliver, type RefusedRecord } from "./delivery.js";
import type { ErrorHandlers } from "./error-handling.js";
import { FatalError, UnavailableError } from "./errors.js";
import type { TopicNames } from "./internal-topics.js";
import type { Logger } from "./logger.js";
import { Outputs } from "./outputs.js";
import { BATCH_BYTES_MAX, RecordBatch } from "./record-batch.js";
import type { OutputBatch } from "./record-collector.js";
import type { StreamTask, TaskCommit } from "./task.js";
import type { ThreadClock } from "./thread-clock.js";
import type { TopicDirectory } from "./topic-directory.js";
import type { GroupMetadata, PartitionBatch, ProduceResult, Producer, TransactionalProducer } from "./transport.js";

export interface CommitterOptions {
  readonly guarantee: ProcessingGuarantee;
  /** Outputs go through it under at_least_once. */
  readonly outputs: Producer;
  readonly transactions: TransactionalProducer;
  readonly directory: TopicDirectory;
  readonly names: TopicNames;
  readonly handlers: ErrorHandlers;
  readonly metrics: StreamsMetrics;
  readonly logger: Logger;
  readonly clock: ThreadClock;
  readonly now: () => number;
}

interface ChangelogBatch extends PartitionBatch {
  readonly task: StreamTask;
  readonly store: string;
}

/** The changelog offsets that a commit took up in one partition: `[firstOffset, nextOffset)`, maybe with others' between. */
export interface ChangelogRange {
  readonly firstOffset: number;
  readonly nextOffset: number;
}

type ChangelogRanges = Map<StreamTask, Map<string, ChangelogRange>>;
type Produce = (batches: readonly PartitionBatch[]) => Promise<readonly ProduceResult[]>;

/**
 * The commit protocol (protocol 1 to 7). What a crash at each step leaves behind:
 *
 *   take      nothing was sent: everything is processed again
 *   outputs   at_least_once: they are there, state and positions are not, so they repeat;
 *             exactly_once: they are in the open transaction
 *   changelog, offsets   in an open transaction, which whoever comes next aborts
 *   commit    Kafka has it, SQLite does not: the next open replays it from the changelog, with what else was not written
 *   apply     the task knows; SQLite gets it with the next write, all or nothing (ADR 006)
 */
export class Committer {
  readonly #options: CommitterOptions;
  readonly #outputs: Outputs;

  constructor(options: CommitterOptions) {
    this.#options = options;
    this.#outputs = new Outputs(options);
  }

  /** A commit comes soon: the coordinator may hear of it already. */
  announce(): void {
    this.#options.transactions.announce();
  }

  /**
   * Commits what was taken from the tasks. Any error but a FatalError leaves the outcome to Kafka: the tasks' buffers must
   * be dropped and the tasks opened again.
   */
  async commit(commits: readonly TaskCommit[], group: GroupMetadata): Promise<void> {
    const outputs = await this.#outputs.place(commits);
    const isExactlyOnce = this.#options.guarantee === "exactly_once";
    // The one difference between the guarantees (protocol 2): outputs are acknowledged before the transaction, or are in it.
    if (!isExactlyOnce) await this.#send(outputs, (round) => this.#options.outputs.produce(round));
    const changelog = await this.#commitTransaction(commits, isExactlyOnce ? outputs : [], group);
    const wallClockMs = this.#options.now();
    this.#options.clock.during("commit", () => {
      for (const commit of commits) commit.task.apply(commit, changelog.get(commit.task) ?? new Map(), wallClockMs);
    });
  }

  async #commitTransaction(
    commits: readonly TaskCommit[],
    outputs: readonly OutputBatch[],
    group: GroupMetadata,
  ): Promise<ChangelogRanges> {
    const { transactions } = this.#options;
    transactions.begin();
    let isEnding = false;
    try {
      // Side by side: each waits for the transaction's coordinator first and then for another broker. One after the other it was
      // five round trips, each of which waits for its turn behind the processing.
      const changelog = await bothOf(
        this.#send([...outputs, ...this.#changelogBatches(commits)], (round) => transactions.produce(round)),
        transactions.sendOffsets(group, this.#offsets(commits)),
      );
      isEnding = true;
      await transactions.commit();
      return rangesOf(changelog);
    } catch (error) {
      if (!isEnding) await this.#abort();
      throw error;
    }
  }

  /** Sends outputs, changelog records or both, and then what takes the place of refused outputs. Returns the changelog's part. */
  async #send(
    batches: readonly (OutputBatch | ChangelogBatch)[],
    produce: Produce,
  ): Promise<readonly Delivered<ChangelogBatch>[]> {
    const changelog: Delivered<ChangelogBatch>[] = [];
    for (let next = batches; next.length > 0; ) {
      const { delivered, refused } = await deliver(produce, next);
      this.#count(delivered);
      changelog.push(...delivered.filter(isOfChangelog));
      next = await this.#outputs.afterRefusal(refused.filter(isOutput));
    }
    return changelog;
  }

  /** Best effort: whoever opens these tasks next aborts what is left. */
  async #abort(): Promise<void> {
    try {
      await this.#options.transactions.abort();
    } catch (error) {
      this.#options.logger.debug(
        { err: error },
        "the transaction could not be aborted; the next initialisation of its id does it",
      );
    }
  }

  #changelogBatches(commits: readonly TaskCommit[]): ChangelogBatch[] {
    const batches: ChangelogBatch[] = [];
    for (const { task, changes } of commits) {
      for (const { store, rows } of changes) {
        if (task.subTopology.stores.find(({ name }) => name === store)?.changelog === false) continue;
        const topic = this.#options.names.changelog(store);
        for (const batch of batchesOf(rows)) batches.push({ topic, partition: task.partition, batch, task, store });
      }
    }
    return batches;
  }

  #offsets(commits: readonly TaskCommit[]): { topic: string; partition: number; offset: number; metadata: string }[] {
    return commits.flatMap((commit) => {
      const metadata = commit.task.metadata(commit, this.#options.transactions.transactionalId);
      return commit.offsets.map((offset) => ({ ...offset, metadata }));
    });
  }

  #count(delivered: readonly Delivered<PartitionBatch>[]): void {
    const { metrics } = this.#options;
    for (const { batch, count } of delivered) {
      const { topic } = batch;
      metrics.counter("records_produced_total", { topic }).value += count;
      metrics.counter("bytes_produced_total", { topic }).value += batch.batch.sizeBytes;
    }
  }
}

/** One row after the other into as few batches as the limits allow. */
function batchesOf(rows: TakenRows): RecordBatch[] {
  const batches: RecordBatch[] = [];
  let last: RecordBatch | undefined;
  for (let at = 0; at < rows.end; at = rows.next(at)) {
    const keyStart = rows.keyStart(at);
    const keyEnd = rows.keyEnd(at);
    const valueEnd = rows.valueEnd(at);
    if (last === undefined || !last.hasRoom(Math.max(keyEnd, valueEnd) - keyStart)) {
      last = new RecordBatch(Math.min(rows.end, BATCH_BYTES_MAX));
      batches.push(last);
    }
    last.appendSpan(rows.timestampMs(at), rows.bytes, keyStart, keyEnd, valueEnd);
  }
  return batches;
}

/** The first's result. Throws only when both have come to their end: what is still under way must not meet an abort. */
async function bothOf<T>(first: Promise<T>, second: Promise<unknown>): Promise<T> {
  const [one, other] = await Promise.allSettled([first, second]);
  if (one.status === "rejected") throw one.reason;
  if (other.status === "rejected") throw other.reason;
  return one.value;
}

function isOfChangelog(delivered: Delivered<OutputBatch | ChangelogBatch>): delivered is Delivered<ChangelogBatch> {
  return "store" in delivered.batch;
}

/** @throws UnavailableError where the changelog is gone: the next session finds out whether for good. FatalError CHANGELOG_REFUSED: state that cannot be replicated must not go on */
function isOutput(refused: RefusedRecord<OutputBatch | ChangelogBatch>): refused is RefusedRecord<OutputBatch> {
  const { from, record, refusal, message } = refused;
  if (!("store" in from)) return true;
  if (refusal === "not-authorized") {
    throw new FatalError("NOT_AUTHORIZED", `the changelog of store "${from.store}" cannot be written: ${message}`);
  }
  if (refusal === "unknown-topic") {
    throw new UnavailableError(`the changelog of store "${from.store}" cannot be written: ${message}`);
  }
  throw new FatalError(
    "CHANGELOG_REFUSED",
    `the changelog of store "${from.store}" refuses the row of key ${keyText(record.key)}: ${refusal}, ${message}; raise the topic's max.message.bytes or keep smaller rows`,
  );
}

function rangesOf(delivered: readonly Delivered<ChangelogBatch>[]): ChangelogRanges {
  const ranges: ChangelogRanges = new Map();
  for (const { batch, baseOffset, count } of delivered) {
    const stores = ranges.get(batch.task) ?? new Map<string, ChangelogRange>();
    const before = stores.get(batch.store);
    stores.set(batch.store, {
      firstOffset: Math.min(baseOffset, before?.firstOffset ?? baseOffset),
      nextOffset: Math.max(baseOffset + count, before?.nextOffset ?? 0),
    });
    ranges.set(batch.task, stores);
  }
  return ranges;
}

const KEY_BYTES_SHOWN = 64;

function keyText(key: Uint8Array | null): string {
  if (key === null) return "null";
  const shown = Buffer.from(key.subarray(0, KEY_BYTES_SHOWN));
  return `0x${shown.toString("hex")}${key.byteLength > KEY_BYTES_SHOWN ? "…" : ""}`;
}
