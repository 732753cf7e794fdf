import { addProcessMetrics } from "../metrics/process-metrics.js";
import { StreamsError } from "../topology/errors.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import type { StreamsConfig } from "./config.js";
import { type HttpEndpoints, type HttpOptions, serveHttp } from "./http-endpoints.js";
import { isLoopback } from "./http-guard.js";
import { type Logger, silentLogger } from "./logger.js";
import { KafkaStreams } from "./streams.js";

export interface RunOptions {
  /** Undefined: no endpoints. */
  readonly http?: HttpOptions;
  /** Told where the endpoints are, and the application, before it starts: for consoles. */
  readonly onStart?: (streams: KafkaStreams, endpoints: HttpEndpoints | undefined) => void;
}

/** What a shell expects of a process that ended by a signal: 128 and the signal's number. */
const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
type EndSignal = keyof typeof SIGNAL_EXIT_CODES;

const CLOSE_TIMEOUT_MS = 9_000;

/**
 * Runs a topology as a process: serves its endpoints, closes it cleanly on the first SIGTERM or SIGINT and at once on the
 * second, and says with which code the process should exit: 0 closed, 1 failed.
 *
 * @throws ConfigError before anything was started
 */
export async function run(
  topology: ProcessorTopology,
  config: StreamsConfig,
  options: RunOptions = {},
): Promise<number> {
  const logger: Logger = config.logger ?? silentLogger;
  const streams = new KafkaStreams(topology, config);
  addProcessMetrics(streams.metrics.registry, config.applicationId);
  const stopListening = closeOnSignal(streams, logger);
  let endpoints: HttpEndpoints | undefined;
  try {
    if (options.http !== undefined) {
      endpoints = await serveHttp(streams, options.http);
      logger.info(
        { host: endpoints.host, port: endpoints.port },
        `listening at http://${endpoints.host}:${endpoints.port}/`,
      );
      if (!isLoopback(endpoints.host) && options.http.token === undefined)
        logger.warn({}, `whoever reaches ${endpoints.host}:${endpoints.port} can read it: set a token (HTTP_TOKEN)`);
    }
    options.onStart?.(streams, endpoints);
    await streams.start({ applicationServer: endpoints && addressOf(endpoints) });
    await streams.finished;
    if (streams.failure !== undefined) throw streams.failure;
    return 0;
  } catch (error) {
    logger.error(
      { code: error instanceof StreamsError ? error.code : undefined },
      error instanceof Error ? error.message : String(error),
    );
    return 1;
  } finally {
    stopListening();
    await endpoints?.close();
  }
}

/** Where others reach the endpoints; undefined for one that listens on all addresses and cannot know by which it is reached. */
function addressOf({ host, port }: HttpEndpoints): string | undefined {
  if (host === "0.0.0.0" || host === "::") return undefined;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function closeOnSignal(streams: KafkaStreams, logger: Logger): () => void {
  let signals = 0;
  const onSignal = (signal: EndSignal): void => {
    signals++;
    if (signals > 1) process.exit(SIGNAL_EXIT_CODES[signal]);
    logger.info({ signal }, `${signal}: finishing, committing and leaving; once more ends at once`);
    void streams.close({ timeoutMs: CLOSE_TIMEOUT_MS }).then(() => {
      // A broker that does not answer must not hold the process: what is not committed is processed again.
      if (streams.state !== "NOT_RUNNING" && streams.state !== "ERROR") process.exit(0);
    });
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return () => {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  };
}
