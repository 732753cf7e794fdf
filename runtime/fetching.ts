import type { Cell, StreamsMetrics } from "../metrics/metrics.js";
import type { FetchedPartition, Fetcher, FetchPosition } from "./transport.js";
import type { Wakeup } from "./wakeup.js";

const ROUND_BYTES_MAX = 4 * 1024 * 1024;
/** Well above a batch: what the limit cuts off is sent again (with 540 KB batches, 1 MiB brought 1.8 times the data). */
const PARTITION_BYTES_MAX = 2 * 1024 * 1024;
const WAIT_MS = 500;
/**
 * While some partitions are left out of a fetch: their turn comes within milliseconds, and a broker answers one fetch after the other. With 500 ms a backlog
 * in one of nine partitions was read in steps of half a second as soon as the others had none.
 */
const PARTIAL_WAIT_MS = 20;

/** Keeps one fetch on its way while what the last one brought is processed. */
export class Fetching {
  #inFlight: Promise<void> | undefined;
  #arrived: readonly FetchedPartition[] = [];
  #failure: unknown;
  readonly #bytes = new Map<string, Cell>();

  constructor(
    readonly fetcher: Fetcher,
    readonly wakeup: Wakeup,
    readonly metrics: StreamsMetrics,
  ) {}

  /** Asks for more, unless it is asking already or what came has not been taken. `isPartial`: other partitions may soon have to be asked for. */
  pump(positions: readonly FetchPosition[], { isPartial }: { readonly isPartial: boolean }): void {
    if (this.#inFlight !== undefined || this.#arrived.length > 0 || positions.length === 0) return;
    this.#inFlight = this.#fetch(positions, isPartial ? PARTIAL_WAIT_MS : WAIT_MS);
  }

  /** What has arrived since the last call. Throws what the fetch threw. */
  take(): readonly FetchedPartition[] {
    if (this.#failure !== undefined) throw this.#failure;
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const { topic, records } of arrived) this.#count(topic, records.length);
    return arrived;
  }

  async close(): Promise<void> {
    await this.fetcher.close();
    await this.#inFlight;
  }

  async #fetch(positions: readonly FetchPosition[], maxWaitMs: number): Promise<void> {
    try {
      this.#arrived = await this.fetcher.fetch({
        positions,
        maxWaitMs,
        bytesMax: ROUND_BYTES_MAX,
        partitionBytesMax: PARTITION_BYTES_MAX,
      });
    } catch (error) {
      this.#failure = error;
    }
    this.#inFlight = undefined;
    this.wakeup.wake();
  }

  #count(topic: string, bytes: number): void {
    let cell = this.#bytes.get(topic);
    if (cell === undefined) {
      cell = this.metrics.counter("bytes_consumed_total", { topic });
      this.#bytes.set(topic, cell);
    }
    cell.value += bytes;
  }
}
