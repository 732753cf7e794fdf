import {
  type FetchedPartition,
  type Fetcher,
  type Headers,
  RecordCursor,
  type Transport,
  UnavailableError,
} from "millrace";

/** One record as it lies in its topic. Key and value are views: valid during the call only. */
export interface ReadRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Headers;
}

export interface ReaderOptions {
  readonly topics: readonly string[];
  readonly from: "earliest" | "latest";
  /** The next record waits for what it returns. */
  readonly onRecord: (record: ReadRecord) => void | Promise<void>;
  /** Called once for each topic that is not there yet, with what is said about it. */
  readonly onWaiting: (topic: string) => void;
  /** The brokers are away; the reader tries again. */
  readonly onTrouble: (message: string) => void;
  /** A broker has answered, with records or without. */
  readonly onAnswer?: () => void;
  readonly signal: AbortSignal;
}

const WAIT_MS = 250;
const BYTES_MAX = 8 * 1024 * 1024;
const PARTITION_BYTES_MAX = 1024 * 1024;
/** How often topics that are missing, and those that may have grown, are looked for. */
const LOOK_UP_MISSING_MS = 500;
const LOOK_UP_MS = 5_000;
/** After trouble with the broker: the transport has already tried for as long as it may. */
const RETRY_MS = 1_000;

/**
 * A plain reader without a group: sees what is committed, remembers nothing, disturbs nobody. Topics that do not exist
 * yet are read from their beginning once they do. Runs until `signal` aborts.
 */
export class TopicReader {
  readonly #transport: Transport;
  readonly #options: ReaderOptions;
  readonly #fetcher: Fetcher;
  /** By topic, the next offset of each partition. */
  readonly #positions = new Map<string, number[]>();
  readonly #waitedFor = new Set<string>();
  #nextLookUpMs = 0;

  constructor(transport: Transport, options: ReaderOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#fetcher = transport.openFetcher({ readCommitted: true, name: "live" });
  }

  /** Finds where to start. What is written after this resolves is read. */
  async start(): Promise<void> {
    await this.#lookUp(this.#options.from);
    this.#options.onAnswer?.();
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    try {
      while (!signal.aborted) await this.#tryStep();
    } finally {
      await this.#fetcher.close();
    }
  }

  async #tryStep(): Promise<void> {
    try {
      await this.#step();
      this.#options.onAnswer?.();
    } catch (error) {
      if (this.#options.signal.aborted) return;
      if (!(error instanceof UnavailableError)) throw error;
      this.#options.onTrouble(error.message);
      await pause(RETRY_MS, this.#options.signal);
    }
  }

  async #step(): Promise<void> {
    if (Date.now() >= this.#nextLookUpMs) await this.#lookUp("earliest");
    const positions = [...this.#positions].flatMap(([topic, offsets]) =>
      offsets.map((offset, partition) => ({ topic, partition, offset })),
    );
    if (positions.length === 0) return pause(LOOK_UP_MISSING_MS, this.#options.signal);
    const fetched = await this.#fetcher.fetch({
      positions,
      maxWaitMs: WAIT_MS,
      bytesMax: BYTES_MAX,
      partitionBytesMax: PARTITION_BYTES_MAX,
    });
    for (const part of fetched) await this.#take(part);
  }

  async #take(part: FetchedPartition): Promise<void> {
    const offsets = this.#positions.get(part.topic);
    if (offsets === undefined) return;
    if (part.fault === "unavailable") {
      this.#positions.delete(part.topic);
      this.#nextLookUpMs = 0;
      return pause(RETRY_MS, this.#options.signal);
    }
    if (part.fault === "out-of-range") {
      // Deleted from under the reader, or the topic was made anew: what is left of it is read from its beginning.
      offsets[part.partition] = part.logStartOffset;
      return;
    }
    const cursor = new RecordCursor(part);
    while (cursor.next()) {
      const { offset, timestampMs, key, value, headers } = cursor;
      const { topic, partition } = part;
      const pending = this.#options.onRecord({ topic, partition, offset, timestampMs, key, value, headers });
      if (pending !== undefined) await pending;
    }
    offsets[part.partition] = cursor.nextOffset;
  }

  async #lookUp(from: "earliest" | "latest"): Promise<void> {
    const { topics, onWaiting } = this.#options;
    const found = await this.#transport.topics.describe(topics, "Read");
    this.#nextLookUpMs = Date.now() + (found.length === topics.length ? LOOK_UP_MS : LOOK_UP_MISSING_MS);
    for (const topic of topics) {
      const partitions = found.find((one) => one.topic === topic)?.partitions ?? 0;
      if (partitions === 0 && !this.#waitedFor.has(topic)) {
        this.#waitedFor.add(topic);
        onWaiting(topic);
      }
      const known = this.#positions.get(topic) ?? [];
      const fresh = Array.from({ length: partitions - Math.min(known.length, partitions) }, (_, index) => ({
        topic,
        partition: known.length + index,
      }));
      if (fresh.length === 0) continue;
      const offsets = await this.#transport.topics.offsets(fresh, from);
      for (const { partition, offset } of offsets) known[partition] = offset;
      this.#positions.set(topic, known);
    }
  }
}

/** Resolves after this long, or as soon as `signal` aborts. */
export function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, durationMs);
    signal.addEventListener("abort", done, { once: true });
  });
}
