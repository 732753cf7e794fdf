import type { BytesOrText } from "../serdes/serde.js";
import { InvariantError } from "../topology/errors.js";
import type { ErrorHandler } from "../topology/processor-topology.js";
import type { Headers } from "../topology/record.js";
import { RecordBatch } from "./record-batch.js";
import type { PartitionBatch } from "./transport.js";

/** Where a record goes: the sink it came from decides what happens when a broker refuses it. */
export interface Destination {
  readonly node: string;
  readonly topic: string;
  readonly isRepartition?: boolean;
  readonly onError: ErrorHandler | undefined;
}

/** The partition of a record, once the topic's partition count is known. Given the key, so that one function does for all records of a sink. */
export type ChoosePartition = (partitions: number, key: Uint8Array | null) => number;

/** A record for a topic whose partition count is not known yet: it is placed when the commit has asked the broker. */
export interface UnplacedRecord {
  readonly destination: Destination;
  readonly choosePartition: ChoosePartition;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: Headers;
}

export interface OutputBatch extends PartitionBatch {
  readonly destination: Destination;
}

/** What a task has put out since its last commit. */
export interface CollectedOutputs {
  readonly batches: readonly OutputBatch[];
  readonly unplaced: readonly UnplacedRecord[];
}

interface Lane {
  readonly destination: Destination;
  readonly partition: number;
  readonly batches: RecordBatch[];
  /** How many batches `keep` left, the last of which has its mark there; undefined where nothing came since. */
  kept: number | undefined;
}

/**
 * The outputs of one task between two commits, encoded as they come: one list of batches for each topic and partition,
 * in the order of sending. What a failed record has put in can be taken back.
 */
export class RecordCollector {
  #lanes = new Map<string, (Lane | undefined)[]>();
  #unplaced: UnplacedRecord[] = [];
  /** A topic that becomes known between two takings stays unplaced until the next: placed records are sent first. */
  readonly #unplacedTopics = new Set<string>();
  /** That have got something since `keep`: the first so many of the list, as an array that is emptied for each record is made anew by the next. */
  #touched: Lane[] = [];
  #touchedCount = 0;
  #unplacedKept = 0;
  #bytes = 0;

  /** `partitionCount` answers undefined for a topic that nobody has asked the broker about. */
  constructor(readonly partitionCount: (topic: string) => number | undefined) {}

  get bufferedBytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#lanes.size === 0 && this.#unplaced.length === 0;
  }

  send(
    destination: Destination,
    choosePartition: ChoosePartition,
    timestampMs: number,
    key: Uint8Array | null,
    value: BytesOrText | null,
    headers: Headers,
  ): void {
    const isUnplaced = this.#unplacedTopics.has(destination.topic);
    const partitions = isUnplaced ? undefined : this.partitionCount(destination.topic);
    if (partitions === undefined) {
      this.#unplacedTopics.add(destination.topic);
      const bytes = typeof value === "string" ? Buffer.from(value, "utf8") : value;
      this.#unplaced.push({ destination, choosePartition, timestampMs, key, value: bytes, headers });
      this.#bytes += (key?.byteLength ?? 0) + (bytes?.byteLength ?? 0);
      return;
    }
    const partition = choosePartition(partitions, key);
    // Not by `invariant`, whose text would be put together for every record: 1.2 % of the CPU.
    if (!(partition >= 0 && partition < partitions)) {
      throw new InvariantError(`partition ${partition} of ${destination.topic} must be one of its ${partitions}`);
    }
    this.#append(this.#lane(destination, partition), timestampMs, key, value, headers);
  }

  /** The record is done: what it sent stays. */
  keep(): void {
    for (let at = 0; at < this.#touchedCount; at++) this.#touched[at]!.kept = undefined;
    this.#touchedCount = 0;
    this.#unplacedKept = this.#unplaced.length;
  }

  /** The record failed: what it sent since `keep` is gone. */
  takeBack(): void {
    for (const lane of this.#touched.slice(0, this.#touchedCount)) {
      if (lane.kept === undefined) continue;
      lane.batches.length = lane.kept;
      lane.batches.at(-1)?.backToMark();
      lane.kept = undefined;
    }
    this.#touchedCount = 0;
    this.#unplaced.length = this.#unplacedKept;
  }

  /** Hands out everything and starts afresh. */
  take(): CollectedOutputs {
    const batches: OutputBatch[] = [];
    for (const lanes of this.#lanes.values()) {
      for (const lane of lanes) {
        if (lane === undefined) continue;
        const { destination, partition } = lane;
        for (const batch of lane.batches) {
          if (batch.count > 0) batches.push({ destination, topic: destination.topic, partition, batch });
        }
      }
    }
    const unplaced = this.#unplaced;
    this.#lanes = new Map();
    this.#unplaced = [];
    this.#unplacedTopics.clear();
    this.#touched = [];
    this.#touchedCount = 0;
    this.#unplacedKept = 0;
    this.#bytes = 0;
    return { batches, unplaced };
  }

  #lane(destination: Destination, partition: number): Lane {
    let lanes = this.#lanes.get(destination.topic);
    if (lanes === undefined) {
      lanes = [];
      this.#lanes.set(destination.topic, lanes);
    }
    let lane = lanes[partition];
    if (lane === undefined) {
      lane = { destination, partition, batches: [new RecordBatch()], kept: undefined };
      lanes[partition] = lane;
    }
    return lane;
  }

  #append(lane: Lane, timestampMs: number, key: Uint8Array | null, value: BytesOrText | null, headers: Headers): void {
    const last = lane.batches[lane.batches.length - 1] as RecordBatch;
    if (lane.kept === undefined) {
      lane.kept = lane.batches.length;
      last.mark();
      this.#touched[this.#touchedCount++] = lane;
    }
    let batch = last;
    if (!last.hasRoomFor(key, value)) {
      batch = new RecordBatch();
      lane.batches.push(batch);
    }
    const before = batch.sizeBytes;
    batch.append(timestampMs, key, value, headers);
    this.#bytes += batch.sizeBytes - before;
  }
}
