import type { Cell, StreamsMetrics } from "../metrics/metrics.js";
import { invariant } from "../topology/errors.js";
import type { FailedRecord } from "../topology/processor-topology.js";
import { BatchList, batchOf, type Delivered, deliver, type RefusedRecord } from "./delivery.js";
import { deadLetterHeaders, decide, type ErrorHandlers, unhandled } from "./error-handling.js";
import { FatalError } from "./errors.js";
import type { TopicNames } from "./internal-topics.js";
import type { Logger } from "./logger.js";
import type { NewRecord } from "./record-batch.js";
import { RecordBatch } from "./record-batch.js";
import type { Destination, OutputBatch, UnplacedRecord } from "./record-collector.js";
import type { StreamTask, TaskCommit } from "./task.js";
import type { TopicDirectory } from "./topic-directory.js";
import type { GroupMetadata, PartitionBatch, Producer, TransactionalProducer } from "./transport.js";

export interface CommitterOptions {
  readonly outputs: Producer;
  readonly transactions: TransactionalProducer;
  readonly directory: TopicDirectory;
  readonly names: TopicNames;
  readonly handlers: ErrorHandlers;
  readonly metrics: StreamsMetrics;
  readonly logger: Logger;
  readonly now: () => number;
}

interface ChangelogBatch extends PartitionBatch {
  readonly task: StreamTask;
  readonly store: string;
}

/**
 * The commit protocol (protocol 1 to 7). What a crash at each step leaves behind:
 *
 *   take      nothing was sent: everything is processed again
 *   outputs   outputs are there, state and positions are not: they are processed again, outputs repeat
 *   changelog, offsets   in an open transaction, which whoever comes next aborts
 *   commit    Kafka has it, SQLite does not: the next open replays this one commit from the changelog
 *   apply     SQLite writes all or nothing
 */
export class Committer {
  readonly #options: CommitterOptions;

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /**
   * Commits what was taken from the tasks. Any error but a FatalError leaves the outcome to Kafka: the tasks' buffers must
   * be dropped and the tasks opened again.
   */
  async commit(commits: readonly TaskCommit[], group: GroupMetadata): Promise<void> {
    await this.#sendOutputs(commits);
    const changelog = await this.#commitTransaction(commits, group);
    const wallClockMs = this.#options.now();
    for (const commit of commits) commit.task.apply(commit, changelog.get(commit.task) ?? new Map(), wallClockMs);
  }

  // ---- outputs, outside of the transaction under at_least_once (protocol 2) ----

  async #sendOutputs(commits: readonly TaskCommit[]): Promise<void> {
    const placed = await this.#place(commits.flatMap(({ outputs }) => outputs.unplaced));
    const batches = [...commits.flatMap(({ outputs }) => outputs.batches), ...placed];
    if (batches.length === 0) return;
    const { delivered, refused } = await deliver((round) => this.#options.outputs.produce(round), batches);
    this.#count(delivered);
    await this.#sendDeadLetters(refused.map((one) => this.#refusedOutput(one)));
  }

  /** Finds the partitions of topics that were chosen record by record (protocol 5). */
  async #place(unplaced: readonly UnplacedRecord[]): Promise<OutputBatch[]> {
    if (unplaced.length === 0) return [];
    const { directory } = this.#options;
    await directory.lookUp(unplaced.map(({ destination }) => destination.topic));
    const lists = new Map<
      string,
      { readonly destination: Destination; readonly partition: number; readonly batches: RecordBatch[] }
    >();
    const deadLetters: DeadLetter[] = [];
    for (const record of unplaced) {
      const partitions = directory.partitionCount(record.destination.topic);
      if (partitions === undefined) {
        const error = new FatalError(
          "UNKNOWN_OUTPUT_TOPIC",
          `topic ${record.destination.topic} does not exist; create it, or change what names it`,
        );
        deadLetters.push(...this.#decide(error, record.destination, record, -1));
        continue;
      }
      const partition = record.choosePartition(partitions);
      invariant(
        partition >= 0 && partition < partitions,
        `partition ${partition} of ${record.destination.topic} must be one of its ${partitions}`,
      );
      const id = `${partition} ${record.destination.topic}`;
      const list = lists.get(id) ?? { destination: record.destination, partition, batches: [] };
      lists.set(id, list);
      if (!list.batches.at(-1)?.hasRoomFor(record.key, record.value)) list.batches.push(new RecordBatch());
      (list.batches.at(-1) as RecordBatch).append(record.timestampMs, record.key, record.value, record.headers);
    }
    await this.#sendDeadLetters(deadLetters.map((letter) => [letter]));
    return [...lists.values()].flatMap(({ destination, partition, batches }) =>
      batches.map((batch) => ({ destination, topic: destination.topic, partition, batch })),
    );
  }

  #refusedOutput({ from, record, refusal, message }: RefusedRecord<OutputBatch>): DeadLetter[] {
    const error = new FatalError(
      "OUTPUT_REFUSED",
      `${from.topic}-${from.partition} refuses a record: ${refusal}, ${message}`,
    );
    if (from.destination.node === DEAD_LETTER_NODE) {
      throw new FatalError(
        "DEAD_LETTER_REFUSED",
        `the dead-letter topic ${from.topic} refuses a record (${refusal}: ${message}); nothing may be lost, so raise its max.message.bytes or create it anew`,
        { cause: error },
      );
    }
    return this.#decide(error, from.destination, record, from.partition);
  }

  #decide(error: Error, destination: Destination, record: NewRecord, partition: number): DeadLetter[] {
    const failed: FailedRecord = {
      stage: "production",
      node: destination.node,
      topic: destination.topic,
      partition,
      offset: -1,
      ...record,
    };
    const action = decide(destination.onError ?? this.#options.handlers.production, error, failed);
    const { metrics } = this.#options;
    metrics.counter("errors_handled_total", {
      stage: "production",
      action: typeof action === "string" ? action : "dead-letter",
    }).value++;
    if (action === "fail") throw unhandled(error, failed);
    if (action === "continue") {
      metrics.counter("records_dropped_total", { node: destination.node, reason: "handler" }).value++;
      return [];
    }
    metrics.counter("dead_letter_records_total", { topic: action.deadLetter }).value++;
    const letter: NewRecord = { ...record, headers: deadLetterHeaders(error, failed) };
    return [{ topic: action.deadLetter, partition, letter }];
  }

  async #sendDeadLetters(groups: readonly (readonly DeadLetter[])[]): Promise<void> {
    const letters = groups.flat();
    if (letters.length === 0) return;
    const { directory } = this.#options;
    await directory.lookUp(letters.map(({ topic }) => topic));
    const batches = letters.map(({ topic, partition, letter }): OutputBatch => {
      const partitions = directory.partitionCount(topic);
      if (partitions === undefined) {
        throw new FatalError(
          "UNKNOWN_DEAD_LETTER_TOPIC",
          `the dead-letter topic ${topic} does not exist; nothing may be lost, so create it and start again`,
        );
      }
      const destination: Destination = { node: DEAD_LETTER_NODE, topic, onError: "fail" };
      return { destination, topic, partition: Math.max(partition, 0) % partitions, batch: batchOf([letter]) };
    });
    const { delivered, refused } = await deliver((round) => this.#options.outputs.produce(round), batches);
    this.#count(delivered);
    for (const one of refused) this.#refusedOutput(one);
  }

  // ---- changelogs and offsets, in one transaction ----

  async #commitTransaction(
    commits: readonly TaskCommit[],
    group: GroupMetadata,
  ): Promise<Map<StreamTask, Map<string, ChangelogRange>>> {
    const { transactions } = this.#options;
    transactions.begin();
    let ending = false;
    try {
      const { delivered, refused } = await deliver(
        (round) => transactions.produce(round),
        this.#changelogBatches(commits),
      );
      const [lost] = refused;
      if (lost !== undefined) {
        throw new FatalError(
          "CHANGELOG_REFUSED",
          `the changelog of store "${lost.from.store}" refuses the row of key ${keyText(lost.record.key)}: ${lost.refusal}, ${lost.message}; raise the topic's max.message.bytes or keep smaller rows`,
        );
      }
      this.#count(delivered);
      await transactions.sendOffsets(group, this.#offsets(commits));
      ending = true;
      await transactions.commit();
      return rangesOf(delivered);
    } catch (error) {
      if (!ending) await this.#abort();
      throw error;
    }
  }

  /** Best effort: whoever opens these tasks next aborts what is left. */
  async #abort(): Promise<void> {
    try {
      await this.#options.transactions.abort();
    } catch (error) {
      this.#options.logger.debug(
        { error },
        "the transaction could not be aborted; the next initialisation of its id does it",
      );
    }
  }

  #changelogBatches(commits: readonly TaskCommit[]): ChangelogBatch[] {
    const batches: ChangelogBatch[] = [];
    for (const { task, changes } of commits) {
      for (const { store, entries } of changes) {
        if (task.subTopology.stores.find(({ name }) => name === store)?.changelog === false) continue;
        const list = new BatchList();
        for (const { changelogKey, value, timestampMs } of entries) list.append(timestampMs, changelogKey, value);
        const topic = this.#options.names.changelog(store);
        for (const batch of list.batches) batches.push({ topic, partition: task.partition, batch, task, store });
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
    const cells = new Map<string, { readonly records: Cell; readonly bytes: Cell }>();
    for (const { batch, count } of delivered) {
      const { metrics } = this.#options;
      const { topic } = batch;
      const cell = cells.get(topic) ?? {
        records: metrics.counter("records_produced_total", { topic }),
        bytes: metrics.counter("bytes_produced_total", { topic }),
      };
      cells.set(topic, cell);
      cell.records.value += count;
      cell.bytes.value += batch.batch.sizeBytes;
    }
  }
}

interface DeadLetter {
  readonly topic: string;
  readonly partition: number;
  readonly letter: NewRecord;
}

export interface ChangelogRange {
  readonly firstOffset: number;
  readonly nextOffset: number;
}

const DEAD_LETTER_NODE = "dead-letter";

function rangesOf(delivered: readonly Delivered<ChangelogBatch>[]): Map<StreamTask, Map<string, ChangelogRange>> {
  const ranges = new Map<StreamTask, Map<string, ChangelogRange>>();
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
