import type { StreamsMetrics } from "../metrics/metrics.js";
import { invariant } from "../topology/errors.js";
import type { FailedRecord } from "../topology/processor-topology.js";
import type { RefusedRecord } from "./delivery.js";
import { deadLetterHeaders, decide, type ErrorHandlers, unhandled } from "./error-handling.js";
import { FatalError, UnavailableError } from "./errors.js";
import { type NewRecord, RecordBatch } from "./record-batch.js";
import type { Destination, OutputBatch, UnplacedRecord } from "./record-collector.js";
import type { TaskCommit } from "./task.js";
import type { TopicDirectory } from "./topic-directory.js";

/** A record on its way to a dead-letter topic, and the partition it was meant for; -1 where it had none yet. */
interface DeadLetter {
  readonly topic: string;
  readonly partition: number;
  readonly record: NewRecord;
}

const DEAD_LETTER_NODE = "dead-letter";

/** Decides where the outputs of a commit go, and what becomes of those that a broker does not take. Sends nothing. */
export class Outputs {
  readonly #directory: TopicDirectory;
  readonly #handlers: ErrorHandlers;
  readonly #metrics: StreamsMetrics;

  constructor(options: {
    readonly directory: TopicDirectory;
    readonly handlers: ErrorHandlers;
    readonly metrics: StreamsMetrics;
  }) {
    this.#directory = options.directory;
    this.#handlers = options.handlers;
    this.#metrics = options.metrics;
  }

  /** Every output with its partition. Topics that were chosen record by record are looked up now, before the transaction begins (protocol 5). */
  async place(commits: readonly TaskCommit[]): Promise<OutputBatch[]> {
    const placed = commits.flatMap(({ outputs }) => outputs.batches);
    const unplaced = commits.flatMap(({ outputs }) => outputs.unplaced);
    if (unplaced.length === 0) return placed;
    await this.#directory.lookUpNamed(unplaced.map(({ destination }) => destination.topic));
    const lanes = new Map<string, Lane>();
    const letters: DeadLetter[] = [];
    for (const record of unplaced) {
      const partitions = this.#directory.partitionCount(record.destination.topic);
      if (partitions === undefined)
        letters.push(...this.#decide(this.#unplaceable(record), record.destination, record, -1));
      else append(lanes, record, partitions);
    }
    return [...placed, ...[...lanes.values()].flatMap(batchesOf), ...(await this.#letterBatches(letters))];
  }

  /**
   * What takes the place of refused outputs: dead letters, or nothing where the handler says continue.
   *
   * @throws UnavailableError where a repartition topic is gone: the next session finds out whether for good
   * @throws FatalError when the handler says fail, and DEAD_LETTER_REFUSED when a dead letter itself was refused
   */
  async afterRefusal(refused: readonly RefusedRecord<OutputBatch>[]): Promise<OutputBatch[]> {
    const letters = refused.flatMap(({ from, record, refusal, message }) => {
      const { topic, partition, destination } = from;
      if (destination.isRepartition === true && refusal === "unknown-topic") {
        throw new UnavailableError(`repartition topic ${topic} cannot be written: ${message}`);
      }
      if (destination.node === DEAD_LETTER_NODE && refusal === "not-authorized") {
        throw new FatalError("NOT_AUTHORIZED", `dead letters cannot be written: ${message}`);
      }
      if (destination.node === DEAD_LETTER_NODE) {
        throw new FatalError(
          "DEAD_LETTER_REFUSED",
          `the dead-letter topic ${topic} refuses a record (${refusal}: ${message}); nothing may be lost, so raise its max.message.bytes or create it anew`,
        );
      }
      const error = new FatalError("OUTPUT_REFUSED", `${topic}-${partition} refuses a record: ${refusal}, ${message}`);
      return this.#decide(error, destination, record, partition);
    });
    return this.#letterBatches(letters);
  }

  #unplaceable({ destination: { topic } }: UnplacedRecord): Error {
    return this.#directory.refusalOf(topic) ?? unknownTopic(topic);
  }

  #decide(error: Error, destination: Destination, record: NewRecord, partition: number): DeadLetter[] {
    const { node, topic, onError } = destination;
    const failed: FailedRecord = { stage: "production", node, topic, partition, offset: -1, ...record };
    const decision = decide(onError ?? this.#handlers.production, error, failed);
    const action = typeof decision === "string" ? decision : "dead-letter";
    this.#metrics.counter("errors_handled_total", { stage: "production", action }).value++;
    if (decision === "fail") throw unhandled(error, failed);
    if (decision === "continue") {
      this.#metrics.counter("records_dropped_total", { node, reason: "handler" }).value++;
      return [];
    }
    this.#metrics.counter("dead_letter_records_total", { topic: decision.deadLetter }).value++;
    const headers = deadLetterHeaders(error, failed);
    return [{ topic: decision.deadLetter, partition, record: { ...record, headers } }];
  }

  async #letterBatches(letters: readonly DeadLetter[]): Promise<OutputBatch[]> {
    if (letters.length === 0) return [];
    await this.#directory.lookUp(
      letters.map(({ topic }) => topic),
      { purpose: "Write" },
    );
    const lanes = new Map<string, Lane>();
    for (const { topic, partition, record } of letters) {
      const partitions = this.#directory.partitionCount(topic);
      if (partitions === undefined) {
        throw new FatalError(
          "UNKNOWN_DEAD_LETTER_TOPIC",
          `the dead-letter topic ${topic} does not exist; nothing may be lost, so create it and start again`,
        );
      }
      const destination: Destination = { node: DEAD_LETTER_NODE, topic, onError: "fail" };
      const choosePartition = (count: number): number => Math.max(partition, 0) % count;
      append(lanes, { destination, choosePartition, ...record }, partitions);
    }
    return [...lanes.values()].flatMap(batchesOf);
  }
}

interface Lane {
  readonly destination: Destination;
  readonly partition: number;
  readonly batches: RecordBatch[];
}

function append(lanes: Map<string, Lane>, record: UnplacedRecord, partitions: number): void {
  const { destination, timestampMs, key, value, headers } = record;
  const partition = record.choosePartition(partitions, key);
  invariant(
    partition >= 0 && partition < partitions,
    `partition ${partition} of ${destination.topic} must be one of its ${partitions}`,
  );
  const name = `${partition} ${destination.topic}`;
  const lane = lanes.get(name) ?? { destination, partition, batches: [] };
  lanes.set(name, lane);
  if (!lane.batches.at(-1)?.hasRoomFor(key, value)) lane.batches.push(new RecordBatch());
  (lane.batches.at(-1) as RecordBatch).append(timestampMs, key, value, headers);
}

function batchesOf({ destination, partition, batches }: Lane): OutputBatch[] {
  return batches.map((batch) => ({ destination, topic: destination.topic, partition, batch }));
}

function unknownTopic(topic: string): FatalError {
  return new FatalError("UNKNOWN_OUTPUT_TOPIC", `topic ${topic} does not exist; create it, or change what names it`);
}
