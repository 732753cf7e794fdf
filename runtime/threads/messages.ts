import { workerData } from "node:worker_threads";
import type { MetricsReport } from "../../metrics/metrics.js";
import type { HeldDirectory } from "../../stores/state-directory.js";
import type { ResolvedConfig } from "../config.js";
import { ConfigError } from "../errors.js";
import { type Logger, silentLogger } from "../logger.js";
import { copyable, fromPlainError, type PlainError, toPlainError } from "./plain-error.js";
import type { ThreadState } from "./thread.js";

/** The part of a configuration that is functions and connections: a thread makes its own. */
type OwnOfEachThread =
  | "transport"
  | "onError"
  | "onThreadFailure"
  | "onSourcesFound"
  | "logger"
  | "metrics"
  | "threads";

/** What the main thread's configuration says; the rest of a thread's comes from its module. */
export type SharedConfig = Omit<ResolvedConfig, OwnOfEachThread>;

export function sharedConfig(config: ResolvedConfig): SharedConfig {
  const { transport, onError, onThreadFailure, onSourcesFound, logger, metrics, threads, ...shared } = config;
  return shared;
}

/** What a worker begins with. */
export interface ThreadSetup {
  readonly isStreamThread: true;
  /** From 1. */
  readonly number: number;
  /** URL of the module that builds topology and configuration. */
  readonly module: string;
  readonly data: unknown;
  readonly topologyHash: string;
  readonly config: SharedConfig;
  readonly directory: HeldDirectory;
  readonly groupInstanceId: string;
  readonly transactionalId: string;
}

/**
 * A module that starts an application and is loaded in that application's threads would start it in each of them.
 *
 * @throws ConfigError in a stream thread
 */
export function refuseInStreamThread(): void {
  if ((workerData as Partial<ThreadSetup> | null)?.isStreamThread !== true) return;
  throw new ConfigError([
    "threads.module: starts an application, and is loaded in its stream threads: put what builds topology and configuration into a module of its own",
  ]);
}

export type LogLevel = keyof Logger;

/** From a worker to the main thread. */
export type FromThread =
  /** The module is loaded, and the topology is the main thread's. */
  | { readonly kind: "ready" }
  /** `commits`: since the worker began. */
  | { readonly kind: "state"; readonly state: ThreadState; readonly commits: number }
  | { readonly kind: "metrics"; readonly report: MetricsReport }
  | { readonly kind: "log"; readonly level: LogLevel; readonly data: LogData; readonly message: string }
  /** Asks for `onSourcesFound`, which belongs to the main thread; the worker waits for the answer. */
  | { readonly kind: "sources-found" }
  | { readonly kind: "closed" }
  /** What no new session can mend. */
  | { readonly kind: "failed"; readonly error: PlainError };

/** From the main thread to a worker. */
export type ToThread =
  | { readonly kind: "close" }
  | { readonly kind: "report" }
  | { readonly kind: "sources-done"; readonly error: PlainError | undefined };

/** The data of a log line, its errors apart. */
export interface LogData {
  readonly plain: Readonly<Record<string, unknown>>;
  readonly errors: Readonly<Record<string, PlainError>>;
}

/** A logger whose lines go to another thread. */
export function sendingLogger(send: (message: FromThread) => void): Logger {
  const level = (name: LogLevel) => (data: object, message: string) =>
    send({ kind: "log", level: name, data: packed(data), message });
  const levels = Object.keys(silentLogger) as LogLevel[];
  return Object.fromEntries(levels.map((name) => [name, level(name)])) as unknown as Logger;
}

function packed(data: object): LogData {
  const entries = Object.entries(data);
  const errors = entries
    .filter(([, value]) => value instanceof Error)
    .map(([name, value]) => [name, toPlainError(value)]);
  const plain = entries.filter(([, value]) => !(value instanceof Error));
  return { plain: copyable(Object.fromEntries(plain)), errors: Object.fromEntries(errors) };
}

export function unpacked({ plain, errors }: LogData): Record<string, unknown> {
  return {
    ...plain,
    ...Object.fromEntries(Object.entries(errors).map(([name, error]) => [name, fromPlainError(error)])),
  };
}
