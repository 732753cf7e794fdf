import { NotLoadedError, REPLACEMENT, textReader } from "../serdes/serde.js";
import { StreamsError } from "../topology/errors.js";
import type { SourceNode } from "../topology/processor-topology.js";
import { CurrentRecord, type Headers } from "../topology/record.js";
import { fetchedBytes } from "./compression.js";
import { positionAfter, RecordCursor } from "./record-cursor.js";
import type { FetchedPartition } from "./transport.js";

/**
 * `failed`: the record cannot be read; the task's handler decides, then `advance` goes on behind it. `waiting`: its serde
 * loads what it needs; the queue reads the record again by itself.
 */
export type Head = "record" | "failed" | "waiting" | "none";

/** A record names a schema for its key and one for its value; a serde that asks for more than that never ends. */
const LOADS_MAX = 4;

/** A part of an answer that is smaller than this share of it is copied: while it waits it would keep all of the answer in memory. */
const OWN_SHARE = 1 / 64;

/** The event time of a record is negative, no whole number, or too far ahead of the record's own time (protocol 20). */
export class BadTimestampError extends StreamsError {
  constructor(message: string) {
    super("BAD_TIMESTAMP", message);
  }
}

/**
 * The records of one source partition that wait for their turn. What is fetched stays bytes until it is next: only the
 * head is decoded, once, so the queue's size is that of the fetched bytes.
 */
export class RecordQueue {
  key: unknown = null;
  value: unknown = null;
  timestampMs = -1;
  /** Why the head could not be read, while `head` is `failed`. */
  failure: Error | undefined;
  /** Records waiting are at most this; the log's end as of the last answer. */
  highWatermark: number | undefined;

  #head: Head = "none";
  /** How often something was loaded for the head. */
  #loads = 0;
  #cursor: RecordCursor | undefined;
  readonly #waiting: FetchedPartition[] = [];
  #bufferedBytes = 0;
  #cursorBytes = 0;
  #position: number;
  #fetchPosition: number;
  readonly #stamp = new CurrentRecord();
  readonly #keyOfText: ((text: string) => unknown) | undefined;
  readonly #valueOfText: ((text: string) => unknown) | undefined;

  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly source: SourceNode,
    startOffset: number,
    /** Records that were its head and are left behind. */
    readonly consumed: { value: number } = { value: 0 },
    /** Called when a record that waited has been read again. */
    readonly onLoaded: () => void = () => undefined,
  ) {
    this.#position = startOffset;
    this.#fetchPosition = startOffset;
    this.#stamp.topic = topic;
    this.#stamp.partition = partition;
    this.#keyOfText = textReader(source.key.deserialize);
    this.#valueOfText = textReader(source.value.deserialize);
  }

  get head(): Head {
    return this.#head;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** The next offset to commit: everything below it has been processed or passed over. */
  get position(): number {
    return this.#position;
  }

  /** Where the next fetch of this partition begins. */
  get fetchPosition(): number {
    return this.#fetchPosition;
  }

  /** True when the last answer showed nothing beyond what is here. */
  get isCaughtUp(): boolean {
    return this.highWatermark !== undefined && this.#fetchPosition >= this.highWatermark;
  }

  get offset(): number {
    return this.#cursor?.offset ?? -1;
  }

  get recordTimestampMs(): number {
    return this.#cursor?.timestampMs ?? -1;
  }

  get keyBytes(): Buffer | null {
    return this.#cursor?.key ?? null;
  }

  get valueBytes(): Buffer | null {
    return this.#cursor?.value ?? null;
  }

  get headers(): Headers {
    return this.#cursor?.headers ?? [];
  }

  /** Takes an answer to a fetch from `fetchPosition`; an answer to any other position is of an older time, and ignored. */
  add(fetched: FetchedPartition): void {
    if (fetched.offset !== this.#fetchPosition) return;
    this.highWatermark = fetched.lastStableOffset;
    if (fetched.records.length === 0) return;
    const next = positionAfter(fetched.records, fetched.offset);
    if (next === fetched.offset) return;
    this.#fetchPosition = next;
    this.#waiting.push(withOwnBytes(fetched));
    this.#bufferedBytes += fetchedBytes(fetched);
    if (this.#head === "none") this.advance();
  }

  /** Leaves the head behind and decodes the record after it. */
  advance(): void {
    for (;;) {
      if (this.#cursor?.next()) {
        this.#position = this.#cursor.offset;
        this.#loads = 0;
        this.#readHead(this.#cursor);
        return;
      }
      if (this.#cursor !== undefined) {
        this.#position = this.#cursor.nextOffset;
        this.#bufferedBytes -= this.#cursorBytes;
      }
      const fetched = this.#waiting.shift();
      this.#cursor = fetched === undefined ? undefined : new RecordCursor(fetched);
      this.#cursorBytes = fetched === undefined ? 0 : fetchedBytes(fetched);
      if (fetched === undefined) {
        this.#head = "none";
        return;
      }
    }
  }

  #readHead(cursor: RecordCursor): void {
    this.#head = this.#read(cursor);
    const { failure } = this;
    if (this.#head !== "waiting" || !(failure instanceof NotLoadedError)) return;
    this.#loads++;
    void failure.load().then(() => {
      this.#readHead(cursor);
      if (this.#head !== "waiting") this.onLoaded();
    });
  }

  #read(cursor: RecordCursor): Head {
    this.failure = undefined;
    try {
      this.key = this.#readKey(cursor);
      this.value = this.#readValue(cursor);
      this.timestampMs = this.#eventTimeMs(cursor);
      return "record";
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
      return error instanceof NotLoadedError && this.#loads < LOADS_MAX ? "waiting" : "failed";
    }
  }

  #readKey(cursor: RecordCursor): unknown {
    if (this.#keyOfText !== undefined) {
      const text = cursor.keyText;
      if (text === null) return null;
      if (!text.includes(REPLACEMENT)) return this.#keyOfText(text);
    }
    const { key } = cursor;
    return key === null ? null : this.source.key.deserialize(key);
  }

  #readValue(cursor: RecordCursor): unknown {
    if (this.#valueOfText !== undefined) {
      const text = cursor.valueText;
      if (text === null) return null;
      if (!text.includes(REPLACEMENT)) return this.#valueOfText(text);
    }
    const { value } = cursor;
    return value === null ? null : this.source.value.deserialize(value);
  }

  #eventTimeMs(cursor: RecordCursor): number {
    const recordTimestampMs = cursor.timestampMs;
    const { timestamp, maxAheadMs } = this.source;
    let eventTimeMs = recordTimestampMs;
    if (timestamp !== undefined) {
      const stamp = this.#stamp;
      stamp.key = this.key;
      stamp.timestampMs = recordTimestampMs;
      stamp.recordTimestampMs = recordTimestampMs;
      stamp.offset = cursor.offset;
      stamp.headers = cursor.headers;
      eventTimeMs = timestamp(this.value, stamp);
    }
    if (!Number.isSafeInteger(eventTimeMs) || eventTimeMs < 0) {
      throw new BadTimestampError(
        `the event time is ${eventTimeMs}, not a whole number of milliseconds since the epoch`,
      );
    }
    // An extractor may look ahead of the record's own time by clock skew, not by years: one such record would close every window.
    if (timestamp !== undefined && eventTimeMs - recordTimestampMs > maxAheadMs) {
      throw new BadTimestampError(
        `the event time is ${eventTimeMs - recordTimestampMs} ms ahead of the record's own, more than maxAheadMs = ${maxAheadMs}`,
      );
    }
    return eventTimeMs;
  }
}

function withOwnBytes(fetched: FetchedPartition): FetchedPartition {
  const { records } = fetched;
  return records.length < records.buffer.byteLength * OWN_SHARE
    ? { ...fetched, records: Buffer.from(records) }
    : fetched;
}
