import type { EmbeddedLog } from "../../runtime/embedded/embedded-log.js";
import { BATCH } from "../../runtime/record-batch.js";
import type { Network } from "./network.js";

const LATE_MS = 150;
/** A transaction that is older might time out before its markers are there, which a broker does not do to it. */
const AGE_MS_MAX = 400;

/**
 * Lets commits end as on a broker: it has decided, and says so, before the markers are in the partitions. Until then the
 * records are not stable, the offsets are pending, and the next transaction of the same producer has to wait.
 */
export class LateMarkers {
  readonly #pending = new Map<bigint, () => void>();
  /** By the broker's clock, which is what a transaction times out by. */
  readonly #startedMs = new Map<bigint, number>();

  constructor(log: EmbeddedLog, network: Network, share: number) {
    const { transactions } = log;
    const [append, addPartitions, addOffsets, initialize, end] = [
      transactions.append.bind(transactions),
      transactions.addPartitions.bind(transactions),
      transactions.addOffsets.bind(transactions),
      transactions.initialize.bind(transactions),
      transactions.end.bind(transactions),
    ];
    const touch = (producerId: bigint): void => {
      this.#pending.get(producerId)?.();
      if (!this.#startedMs.has(producerId)) this.#startedMs.set(producerId, log.nowMs());
    };
    transactions.append = (partition, configs, batch) => {
      touch(batch.readBigInt64BE(BATCH.producerId));
      return append(partition, configs, batch);
    };
    transactions.addPartitions = (producer, partitions) => {
      touch(producer.producerId);
      addPartitions(producer, partitions);
    };
    transactions.addOffsets = (producer, groupId, offsets) => {
      touch(producer.producerId);
      addOffsets(producer, groupId, offsets);
    };
    transactions.initialize = (...args) => {
      this.writeAll();
      return initialize(...args);
    };
    transactions.end = (producer, outcome) => {
      const { producerId } = producer;
      const startedMs = this.#startedMs.get(producerId) ?? log.nowMs();
      this.#startedMs.delete(producerId);
      if (outcome === "abort" || log.nowMs() - startedMs > AGE_MS_MAX || !network.random.happens(share))
        return end(producer, outcome);
      // Refuses whom the end itself would refuse.
      addOffsets(producer, "", []);
      const write = (): void => {
        if (this.#pending.get(producerId) !== write) return;
        this.#pending.delete(producerId);
        log.write(() => end(producer, outcome));
      };
      this.#pending.set(producerId, write);
      network.time.schedule(network.broker, network.random.fraction() * LATE_MS, write);
    };
  }

  /** Before the broker's clock jumps: that ends open transactions, never decided ones. */
  writeAll(): void {
    for (const write of [...this.#pending.values()]) write();
  }
}
