import { GRACE_MS } from "../apps/purchase/model.js";
import { Simulator } from "../apps/purchase/simulator.js";
import { partitionOf } from "../runtime/partitioner.js";
import type { Producer, Transport } from "../runtime/transport.js";
import { Batches } from "./batches.js";
import { makeTopic, send } from "./purchase-load.js";

export interface LoadOptions {
  readonly topic: string;
  readonly users: number;
  readonly partitions: number;
  readonly late: number;
  readonly seed: number;
}

/** What the aggregates must be in the end: by `user@windowStartMs`, summed from the generated purchases with a plain Map. */
export type Expected = Map<string, { count: number; late: number; cents: number }>;

const ROUND_RECORDS = 20_000;

/** Fills a topic of its own with purchases, and knows what the pipeline must make of them. */
export class LoadStream {
  readonly expected: Expected = new Map();
  /** Transaction ids of the late purchases. */
  readonly lateIds = new Set<string>();
  readonly #topic: string;
  readonly #producer: Producer;
  readonly #simulator: Simulator;

  private constructor(transport: Transport, { topic, users, partitions, late, seed }: LoadOptions) {
    this.#topic = topic;
    this.#producer = transport.openProducer();
    const lateByMs = { from: GRACE_MS / 2, to: GRACE_MS };
    this.#simulator = new Simulator({ seed, users, late, lateByMs, expired: 0, invalid: 0, partitions, partitionOf });
  }

  /** Makes the topic. */
  static async open(transport: Transport, options: LoadOptions): Promise<LoadStream> {
    const { topic, partitions } = options;
    await makeTopic(transport, topic, partitions);
    return new LoadStream(transport, options);
  }

  /** Writes `records` purchases, ingested evenly over `[startMs, startMs + spanMs)`. */
  async produce(records: number, startMs: number, spanMs: number): Promise<void> {
    for (let made = 0; made < records; ) {
      const round = Math.min(ROUND_RECORDS, records - made);
      const batches = new Batches(this.#topic);
      for (let at = 0; at < round; at++, made++) {
        const record = this.#simulator.next(startMs + Math.floor((made * spanMs) / records));
        batches.append(record.partition, record.ingestionTimeMs, record.key, record.value);
        if (record.expected.kind !== "purchase") continue;
        add(this.expected, record.expected);
        if (record.expected.isLate) this.lateIds.add(record.expected.transactionId);
      }
      await send(this.#producer, batches.all);
    }
  }

  close(): Promise<void> {
    return this.#producer.close();
  }
}

function add(
  expected: Expected,
  purchase: {
    readonly userId: string;
    readonly windowStartMs: number;
    readonly isLate: boolean;
    readonly amountCents: number;
  },
): void {
  const key = `${purchase.userId}@${purchase.windowStartMs}`;
  const sum = expected.get(key) ?? { count: 0, late: 0, cents: 0 };
  sum.count++;
  if (purchase.isLate) sum.late++;
  sum.cents += purchase.amountCents;
  expected.set(key, sum);
}
