import type { ProcessorTopology } from "../../topology/processor-topology.js";
import type { StreamsConfig } from "../config.js";
import { type Logger, silentLogger } from "../logger.js";

/** What a `KafkaStreams` or `run` takes. */
export interface BuiltApplication {
  readonly topology: ProcessorTopology;
  readonly config: StreamsConfig;
}

export interface BuildContext {
  /** Where the lines of this thread go: the main thread's logger, with the thread's number. For the transport. */
  readonly logger: Logger;
}

export type BuildApplication<D> = (data: D, context: BuildContext) => BuiltApplication;

export interface ApplicationOptions {
  /** Stream threads. Default 1, which is the main thread. */
  readonly threads?: number;
  /** Default: says nothing. */
  readonly logger?: Logger;
}

/** Builds the application here; with `threads`, `KafkaStreams` has it built once more in each of them. */
export type Application<D> = (data: D, options?: ApplicationOptions) => BuiltApplication;

/**
 * An application that can be built in every stream thread: a topology and its connections are objects with functions, and
 * those cannot go from one thread to another. It is the default export of a module of its own, which starts nothing.
 *
 * @param moduleUrl `import.meta.url`
 * @param build called with the same data in each thread: it must give the same topology each time
 *
 * @example
 * // counts.ts
 * export default defineApplication(import.meta.url, ({ brokers }: { brokers: string[] }, { logger }) => ({
 *   topology: countsTopology(),
 *   config: { applicationId: "counts", transport: new KafkaJsTransport({ client: { brokers }, logger }) },
 * }));
 *
 * // main.ts
 * const { topology, config } = counts({ brokers: ["localhost:9092"] }, { threads: 4 });
 * process.exitCode = await run(topology, config);
 */
export function defineApplication<D>(moduleUrl: string, build: BuildApplication<D>): Application<D> {
  return (data, { threads = 1, logger = silentLogger } = {}) => {
    const { topology, config } = build(data, { logger });
    return { topology, config: { logger, ...config, threads: { count: threads, module: new URL(moduleUrl), data } } };
  };
}
