export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** A header may stand several times; its value may be null. */
export type Header = readonly [name: string, value: Uint8Array | null];
export type Headers = readonly Header[];

/**
 * What every callback gets beside the value: read-only, reused for the next record, valid during the call only.
 *
 * `timestampMs` is the event time once an extractor has set it, `recordTimestampMs` Kafka's own. Behind a repartition
 * topic both are the repartition record's. A row that a table emits at a commit comes from many records or from none:
 * its topic is "", its offset -1, it has no headers, and `recordTimestampMs` is its own timestamp.
 */
export interface RecordContext<K = unknown> {
  readonly key: K;
  readonly timestampMs: number;
  readonly recordTimestampMs: number;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly headers: Headers;
}

/** The one record context of a task, filled anew for each record. */
export class CurrentRecord implements RecordContext {
  key: unknown = null;
  timestampMs = -1;
  recordTimestampMs = -1;
  topic = "";
  partition = -1;
  offset = -1;
  headers: Headers = [];
}
