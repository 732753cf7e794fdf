import type { ResourceLimits } from "node:worker_threads";
import { StreamsMetrics } from "../metrics/metrics.js";
import { COMPRESSIONS, type Compression } from "./codecs.js";
import { type ErrorHandlers, FAIL } from "./error-handling.js";
import { ConfigError } from "./errors.js";
import { type Logger, silentLogger } from "./logger.js";
import type { Transport } from "./transport.js";

/**
 * How outputs are written. State and source positions commit together in both, so aggregates never count twice.
 * `exactly_once`: outputs are in the same transaction, and a read-committed reader sees each once. `at_least_once`:
 * they are sent before it, seen at once, and may repeat after a crash.
 */
export type ProcessingGuarantee = "exactly_once" | "at_least_once";

/**
 * What becomes of a stream thread that ends by an error no new session can mend. `shutdown-client`: the instance ends with it,
 * and with all its threads. `replace-thread`: it drops what it holds and begins again from what is committed. As in Kafka
 * Streams' StreamsUncaughtExceptionHandler.
 */
export type ThreadFailureAction = "replace-thread" | "shutdown-client";

/** The stream threads of an instance: each has its own client, tasks and stores. `defineApplication` makes this. */
export interface ThreadsConfig {
  /** 1 to 1,024. With 1 the main thread is the stream thread. More than there are partitions have nothing to do. */
  readonly count: number;
  /**
   * Its default export builds topology and configuration again in each thread: functions cannot go from one thread to
   * another. Transport and error handlers are taken from there, everything else from the main thread's configuration.
   */
  readonly module?: URL;
  /** What the module is given: plain data, copied. */
  readonly data?: unknown;
  /** Flags of Node for the threads, as a loader. Default: those of the process. */
  readonly execArgv?: readonly string[];
  /** Of Node's workers: a thread that needs more memory dies, and is replaced. Default: Node's own. */
  readonly resourceLimits?: ResourceLimits;
}

export interface StreamsConfig {
  /** Consumer group, and the first part of every internal topic's name and of the state directory. */
  readonly applicationId: string;
  readonly transport: Transport;
  /** Default `exactly_once`. */
  readonly guarantee?: ProcessingGuarantee;
  /** One process each. Default `./state`. */
  readonly stateDir?: string;
  /** Default: kept in the state directory. */
  readonly groupInstanceId?: string;
  /** Default 100. */
  readonly commitIntervalMs?: number;
  /** Default 45,000. How long an instance may be silent before its partitions go to others. */
  readonly sessionTimeoutMs?: number;
  /** Default 10,000. How long a transaction that nobody ends may hold back readers. */
  readonly transactionTimeoutMs?: number;
  /** Of everything that is written to Kafka: outputs and internal topics. All but gzip need a package of their own. Default `none`. */
  readonly compression?: Compression;
  /** Of internal topics; -1 (default) is the broker's own. */
  readonly replicationFactor?: number;
  /** Copies of each task's state on other instances: taking one over then restores only its tail. That of the group's leader counts. Default 0. */
  readonly standbyReplicas?: number;
  /** Uncommitted state and outputs in memory; more forces an early commit. Default 64 MiB. */
  readonly cacheBytesMax?: number;
  /** Fetched and unprocessed bytes; at the maximum fetching pauses. Default 16 MiB. */
  readonly bufferedBytesMax?: number;
  /** Where a partition without a committed offset starts. Default `earliest`. */
  readonly autoOffsetReset?: "earliest" | "latest";
  /** A committed offset that the log does not hold any more. Default `fail`: anything else loses or repeats records. */
  readonly onOffsetOutOfRange?: "fail" | "earliest" | "latest";
  /** `stay` keeps a static member's partitions for a rolling restart. Default `leave`. */
  readonly onClose?: "leave" | "stay";
  readonly onError?: Partial<ErrorHandlers>;
  /**
   * Asked when a stream thread fails for good. After five failures in a row without a commit the instance ends all the same.
   * Default: `shutdown-client`.
   */
  readonly onThreadFailure?: (error: Error) => ThreadFailureAction;
  /** How long expired changelog records outlive their segment. Default 10 minutes. */
  readonly changelogDeleteDelayMs?: number;
  /** Called when every source topic exists and before anything is read: the place to make output topics. Again after each restart of the session. */
  readonly onSourcesFound?: () => Promise<void>;
  /** Default: one, the main thread. */
  readonly threads?: ThreadsConfig;
  /**
   * Where other instances can ask this one for rows, as `http://10.0.0.7:8080`: questions about a key that another
   * instance has are passed on to it. Kafka Streams' `application.server`. Default: they are not.
   */
  readonly applicationServer?: string | undefined;
  readonly logger?: Logger;
  readonly metrics?: StreamsMetrics;
}

export type ResolvedConfig = Required<Omit<StreamsConfig, "groupInstanceId" | "applicationServer" | "onError">> & {
  readonly groupInstanceId: string | undefined;
  readonly applicationServer: string | undefined;
  readonly onError: ErrorHandlers;
};

/** Of what is bounded in bytes: less would commit or fetch again for each record. */
export const BYTES_MAX_MIN = 64 * 1024;
const THREADS_MAX = 1_024;

const APPLICATION_ID = /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,200}$/;

/** @throws ConfigError with one line for each fault */
export function resolveConfig(config: StreamsConfig): ResolvedConfig {
  const resolved: ResolvedConfig = {
    applicationId: config.applicationId,
    transport: config.transport,
    guarantee: config.guarantee ?? "exactly_once",
    stateDir: config.stateDir ?? "./state",
    groupInstanceId: config.groupInstanceId,
    commitIntervalMs: config.commitIntervalMs ?? 100,
    sessionTimeoutMs: config.sessionTimeoutMs ?? 45_000,
    transactionTimeoutMs: config.transactionTimeoutMs ?? 10_000,
    compression: config.compression ?? "none",
    replicationFactor: config.replicationFactor ?? -1,
    standbyReplicas: config.standbyReplicas ?? 0,
    cacheBytesMax: config.cacheBytesMax ?? 64 * 1024 * 1024,
    bufferedBytesMax: config.bufferedBytesMax ?? 16 * 1024 * 1024,
    autoOffsetReset: config.autoOffsetReset ?? "earliest",
    onOffsetOutOfRange: config.onOffsetOutOfRange ?? "fail",
    onClose: config.onClose ?? "leave",
    onError: { ...FAIL, ...config.onError },
    onThreadFailure: config.onThreadFailure ?? (() => "shutdown-client"),
    changelogDeleteDelayMs: config.changelogDeleteDelayMs ?? 10 * 60_000,
    onSourcesFound: config.onSourcesFound ?? (async () => undefined),
    threads: config.threads ?? { count: 1 },
    applicationServer: config.applicationServer,
    logger: config.logger ?? silentLogger,
    metrics: config.metrics ?? new StreamsMetrics({ applicationId: config.applicationId }),
  };
  const faults = faultsOf(resolved);
  if (faults.length > 0) throw new ConfigError(faults);
  return resolved;
}

function faultsOf(config: ResolvedConfig): string[] {
  const faults: string[] = [];
  if (!APPLICATION_ID.test(config.applicationId)) {
    faults.push(
      `applicationId: "${config.applicationId}" must be 1 to 200 letters, digits, dots, dashes or underscores: it is the first part of topic names`,
    );
  }
  if (!["exactly_once", "at_least_once"].includes(config.guarantee)) {
    faults.push(`guarantee: "${config.guarantee}" must be exactly_once or at_least_once`);
  }
  if (!COMPRESSIONS.includes(config.compression)) {
    faults.push(`compression: "${config.compression}" must be one of ${COMPRESSIONS.join(", ")}`);
  }
  const numbers = {
    commitIntervalMs: [1, 3_600_000],
    sessionTimeoutMs: [1_000, 1_800_000],
    transactionTimeoutMs: [1_000, 900_000],
    standbyReplicas: [0, 100],
    cacheBytesMax: [BYTES_MAX_MIN, Number.MAX_SAFE_INTEGER],
    bufferedBytesMax: [BYTES_MAX_MIN, Number.MAX_SAFE_INTEGER],
    changelogDeleteDelayMs: [0, Number.MAX_SAFE_INTEGER],
  } as const;
  for (const [key, [min, max]] of Object.entries(numbers) as [keyof typeof numbers, readonly [number, number]][]) {
    const value = config[key];
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      faults.push(`${key}: ${value} must be a whole number from ${min} to ${max}`);
    }
  }
  if (config.transactionTimeoutMs <= config.commitIntervalMs) {
    faults.push(
      `transactionTimeoutMs: ${config.transactionTimeoutMs} must be more than commitIntervalMs = ${config.commitIntervalMs}`,
    );
  }
  if (
    config.replicationFactor !== -1 &&
    !(Number.isSafeInteger(config.replicationFactor) && config.replicationFactor > 0)
  ) {
    faults.push(
      `replicationFactor: ${config.replicationFactor} must be -1 (the broker's default) or a whole number from 1`,
    );
  }
  return [...faults, ...threadFaults(config)];
}

function threadFaults({ threads, transport }: ResolvedConfig): string[] {
  const { count, module, data } = threads;
  if (!Number.isSafeInteger(count) || count < 1 || count > THREADS_MAX)
    return [`threads: ${count} must be a whole number from 1 to ${THREADS_MAX}`];
  if (count === 1) return [];
  const faults: string[] = [];
  if (!transport.allowsThreads)
    faults.push(
      `threads: ${count} threads cannot share the embedded log, which is in one thread; use 1, or a Kafka broker`,
    );
  if (module === undefined) {
    faults.push(
      `threads: ${count} threads need a module that builds the topology in each of them, as functions cannot go from one ` +
        "thread to another: see defineApplication",
    );
  }
  try {
    structuredClone(data);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    faults.push(`threads.data: cannot be given to a thread, it must be plain data (${why})`);
  }
  return faults;
}
