import { Simulator } from "../../apps/purchase/simulator.js";
import { UnavailableError } from "../../runtime/errors.js";
import { partitionOf } from "../../runtime/partitioner.js";
import { RecordBatch } from "../../runtime/record-batch.js";
import type { Producer, Transport } from "../../runtime/transport.js";
import type { LoggedRecord } from "./log-reader.js";
import { identity } from "./oracle.js";

export interface LoadOptions {
  readonly topic: string;
  readonly partitions: number;
  readonly users: number;
  readonly perSecond: number;
  readonly seed: number;
}

const TICK_MS = 100;
const START_MS = Date.UTC(2026, 10, 22, 10);
/** A minute of ingestion time a second: windows close, segments expire and changelogs are cut while it runs. */
const TIME_SCALE = 60;

/**
 * Purchases at a steady rate, some late, some expired, some no purchase at all. What a broker that dies did or did not
 * take is not asked: the input topic tells.
 */
export class Load {
  readonly #options: LoadOptions;
  readonly #producer: Producer;
  readonly #simulator: Simulator;
  readonly #invalid = new Set<string>();
  #ingestionMs = START_MS;
  #ticking: Promise<void> = Promise.resolve();
  #isRunning = false;
  #failure: unknown;
  /** Acknowledged. */
  written = 0;
  #unavailable = 0;

  constructor(transport: Transport, options: LoadOptions) {
    this.#options = options;
    this.#producer = transport.openProducer();
    const { seed, users, partitions } = options;
    const lateByMs = { from: 30 * 60_000, to: 60 * 60_000 };
    this.#simulator = new Simulator({
      ...{ seed, users, partitions, partitionOf, lateByMs },
      ...{ late: 0.1, expired: 0.01, invalid: 0.01 },
    });
  }

  isInvalid(record: Pick<LoggedRecord, "key" | "value">): boolean {
    return this.#invalid.has(identity(record));
  }

  start(): void {
    this.#isRunning = true;
    this.#ticking = this.#run().catch((error: unknown) => {
      this.#failure = error;
    });
  }

  /** Waits for what is on its way. @throws what the load could not go on from */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#ticking;
    if (this.#failure !== undefined) throw this.#failure;
  }

  close(): Promise<void> {
    return this.#producer.close();
  }

  async #run(): Promise<void> {
    while (this.#isRunning) {
      const beganMs = performance.now();
      await this.#tick();
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, TICK_MS - (performance.now() - beganMs))));
    }
  }

  async #tick(): Promise<void> {
    const records = Math.ceil((this.#options.perSecond * TICK_MS) / 1_000);
    const batches = new Map<number, RecordBatch>();
    for (let made = 0; made < records; made++) {
      this.#ingestionMs += (TICK_MS * TIME_SCALE) / records;
      const { partition, key, value, ingestionTimeMs, expected } = this.#simulator.next(this.#ingestionMs);
      if (expected.kind === "invalid") this.#invalid.add(identity({ key, value }));
      const batch = batches.get(partition) ?? new RecordBatch();
      batch.append(ingestionTimeMs, key, value, []);
      batches.set(partition, batch);
    }
    try {
      const { topic } = this.#options;
      const results = await this.#producer.produce(
        [...batches].map(([partition, batch]) => ({ topic, partition, batch })),
      );
      const refused = results.find((result) => "refusal" in result);
      if (refused !== undefined) throw new Error(`the load was refused: ${JSON.stringify(refused)}`);
      this.written += records;
      this.#unavailable = 0;
    } catch (error) {
      if (!(error instanceof UnavailableError) || ++this.#unavailable > 20) throw error;
    }
  }
}
