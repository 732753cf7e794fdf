import { BroadcastChannel, workerData } from "node:worker_threads";
import { string } from "../../serdes/serde.js";
import { StreamsBuilder } from "../../topology/dsl.js";
import type { ThreadFailureAction } from "../config.js";
import { KafkaJsTransport } from "../kafkajs/transport.js";
import { defineApplication } from "./application.js";
import type { ThreadSetup } from "./messages.js";

export interface CountingData {
  readonly applicationId: string;
  readonly brokers: readonly string[];
  readonly input: string;
  readonly output: string;
  /** Where its threads hear how they are to die. */
  readonly orders: string;
  readonly onThreadFailure?: ThreadFailureAction;
}

export interface Order {
  readonly thread: number;
  readonly how: keyof typeof WAYS_TO_DIE;
}

/** A value that a callback throws at. */
export const POISON = "poison";

const WAYS_TO_DIE = {
  throw: () => {
    setTimeout(() => {
      throw new Error("a callback threw");
    });
  },
  reject: () => void Promise.reject(new Error("a promise was rejected")),
  exit: () => process.exit(7),
  memory: () => {
    const hoard: unknown[] = [];
    for (;;) hoard.push(Array.from({ length: 1_000 }, (_, at) => `${at}`));
  },
};

const { isStreamThread, number } = (workerData ?? {}) as Partial<ThreadSetup>;

/** Every update of every count is written: one that is lost, or stands twice, shows. */
export default defineApplication(import.meta.url, (data: CountingData, { logger }) => {
  if (isStreamThread === true) {
    new BroadcastChannel(data.orders).onmessage = (message) => {
      const { thread, how } = (message as { readonly data: Order }).data;
      if (thread === number) WAYS_TO_DIE[how]();
    };
  }
  const builder = new StreamsBuilder();
  builder
    .stream(data.input, { key: string, value: string })
    .filter((value) => {
      if (value === POISON) throw new Error("poisoned");
      return true;
    })
    .groupByKey()
    .count("counts", { cache: false })
    .toStream()
    .to(data.output);
  return {
    topology: builder.build(),
    config: {
      applicationId: data.applicationId,
      transport: new KafkaJsTransport({ client: { brokers: [...data.brokers] }, logger }),
      onThreadFailure: () => data.onThreadFailure ?? "shutdown-client",
    },
  };
});
