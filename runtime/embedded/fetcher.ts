import { invariant } from "../../topology/errors.js";
import { UnavailableError } from "../errors.js";
import type { FetchedPartition, Fetcher, FetcherOptions, FetchPosition, FetchRequest } from "../transport.js";
import type { EmbeddedLog } from "./embedded-log.js";
import { nextTurn } from "./turn.js";

const NOTHING = Buffer.alloc(0);

/** Reads of the log, as a broker answers them. Waits end as soon as something is appended, not at the next poll. */
export class EmbeddedFetcher implements Fetcher {
  readonly #log: EmbeddedLog;
  readonly #options: FetcherOptions;
  readonly #onClose: () => void;
  #first = 0;
  #isFetching = false;
  #isClosed = false;
  #wake: (() => void) | undefined;

  constructor(log: EmbeddedLog, options: FetcherOptions, onClose: () => void) {
    this.#log = log;
    this.#options = options;
    this.#onClose = onClose;
  }

  async fetch(request: FetchRequest): Promise<readonly FetchedPartition[]> {
    if (this.#isClosed) throw new UnavailableError(`the fetcher ${this.#options.name} was closed`);
    invariant(!this.#isFetching, "a fetcher makes one fetch at a time");
    this.#isFetching = true;
    try {
      const endMs = performance.now() + request.maxWaitMs;
      await nextTurn();
      for (;;) {
        if (this.#isClosed) return [];
        this.#log.refuseIfClosed();
        const answer = this.#read(request);
        const leftMs = endMs - performance.now();
        if (answer.length > 0 || leftMs <= 0) return answer;
        await this.#change(request.positions, leftMs);
      }
    } finally {
      this.#isFetching = false;
    }
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#wake?.();
    this.#onClose();
    return Promise.resolve();
  }

  /** Each read begins one partition further, so that a busy one cannot keep the others out for good. */
  #read({ positions, bytesMax, partitionBytesMax }: FetchRequest): FetchedPartition[] {
    this.#log.expire();
    const answer: FetchedPartition[] = [];
    let bytes = 0;
    for (let i = 0; i < positions.length; i++) {
      const position = positions[(this.#first + i) % positions.length] as FetchPosition;
      const limits = {
        bytesMax: Math.min(partitionBytesMax, bytesMax - bytes),
        oneAtLeast: bytes === 0,
        readCommitted: this.#options.readCommitted,
      };
      const found = this.#log.topics.find(position)?.read(position.offset, limits) ?? unavailable(position);
      bytes += found.records.length;
      if (found.records.length > 0 || found.fault !== undefined) answer.push(found);
    }
    this.#first = positions.length === 0 ? 0 : (this.#first + 1) % positions.length;
    return answer;
  }

  #change(positions: readonly FetchPosition[], timeoutMs: number): Promise<void> {
    const partitions = positions.flatMap((position) => this.#log.topics.find(position) ?? []);
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        for (const partition of partitions) partition.readers.delete(wake);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(wake, timeoutMs);
      for (const partition of partitions) partition.readers.add(wake);
      this.#wake = wake;
    });
  }
}

function unavailable(position: FetchPosition): FetchedPartition {
  return {
    ...position,
    records: NOTHING,
    aborted: [],
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    fault: "unavailable",
  };
}
