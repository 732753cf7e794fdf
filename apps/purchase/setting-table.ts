import type { z } from "zod";
import {
  brokers,
  byteSize,
  countOrAuto,
  decimal,
  durationRange,
  kafkaName,
  oneOf,
  onOff,
  replicationFactor,
  share,
  text,
  token,
  webAddress,
  wholeNumber,
} from "./setting-types.js";

export interface Setting<T> {
  /** The variable of the environment; undefined for what only a flag says. */
  readonly variable: string | undefined;
  readonly schema: z.ZodType<T, string>;
  readonly default: T;
  readonly help: string;
  /** The default as `--help` shows it, where it is not plain text. */
  readonly defaultText: string | undefined;
  /** Never shown, and readable from the file that `…_FILE` names. */
  readonly isSecret: boolean;
}

type Extras<T> = Partial<Pick<Setting<T>, "defaultText" | "isSecret">>;

function setting<T>(
  variable: string,
  schema: z.ZodType<T, string>,
  fallback: T,
  help: string,
  extras: Extras<T> = {},
): Setting<T> {
  return { variable, schema, default: fallback, help, defaultText: undefined, isSecret: false, ...extras };
}

function optional<T>(
  variable: string,
  schema: z.ZodType<T, string>,
  help: string,
  extras: Extras<T | undefined> = {},
): Setting<T | undefined> {
  return setting<T | undefined>(variable, schema as z.ZodType<T | undefined, string>, undefined, help, extras);
}

function flag<T>(schema: z.ZodType<T, string>, fallback: T, help: string, defaultText?: string): Setting<T> {
  return { variable: undefined, schema, default: fallback, help, defaultText, isSecret: false };
}

const topicName = kafkaName(249);
const MINUTE_MS = 60_000;

export const CONNECTION = {
  kafkaBrokers: optional("KAFKA_BROKERS", brokers, "Kafka's brokers, as host:port,host:port"),
  kafkaSsl: setting("KAFKA_SSL", onOff, false, "talk TLS", { defaultText: "off" }),
  kafkaSslCa: optional("KAFKA_SSL_CA", text, "file with the certificate authority, PEM"),
  kafkaSslCert: optional("KAFKA_SSL_CERT", text, "file with the client's certificate, PEM"),
  kafkaSslKey: optional("KAFKA_SSL_KEY", text, "file with the client's key, PEM"),
  kafkaSaslMechanism: optional(
    "KAFKA_SASL_MECHANISM",
    oneOf("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
  ),
  kafkaSaslUsername: optional("KAFKA_SASL_USERNAME", text, "SASL user"),
  kafkaSaslPassword: optional("KAFKA_SASL_PASSWORD", text, "SASL password", { isSecret: true }),
};

export const INPUT = {
  inputTopic: setting("INPUT_TOPIC", topicName, "purchases", "topic of the purchases"),
};

export const TOPICS = {
  ...INPUT,
  outputTopic: setting("OUTPUT_TOPIC", topicName, "purchase-aggregates", "topic of the aggregates"),
  lateTopic: setting("LATE_TOPIC", topicName, "late-purchases", "topic of the late events"),
  expiredTopic: setting("EXPIRED_TOPIC", topicName, "expired-purchases", "topic of what came behind the watermark"),
  deadLetterTopic: setting("DEAD_LETTER_TOPIC", topicName, "purchases-dead-letter", "topic of what is no purchase"),
};

export const EMISSION = {
  emit: setting(
    "EMIT",
    oneOf("update", "final"),
    "update",
    "update: one record per changed window and commit; final: one per closed window",
  ),
};

export const LOGGING = {
  logLevel: setting(
    "LOG_LEVEL",
    oneOf("trace", "debug", "info", "warn", "error", "fatal", "silent"),
    "info",
    "trace to fatal, or silent",
  ),
  logFormat: optional("LOG_FORMAT", oneOf("text", "json"), "text or json", {
    defaultText: "text on a terminal, else json",
  }),
};

/** Of commands that speak to people at a terminal: their log only when something is wrong. */
export const QUIET_LOGGING = { ...LOGGING, logLevel: { ...LOGGING.logLevel, default: "error" as const } };

export const EXPECTED = {
  partitions: flag<number | undefined>(
    wholeNumber(1, 10_000, 9),
    undefined,
    "partitions the input topic must have; another count is refused",
    "any",
  ),
};

export const COMPRESSION = {
  compression: setting(
    "COMPRESSION",
    oneOf("none", "gzip", "snappy", "lz4", "zstd"),
    "none",
    "of what is written to Kafka; all but gzip need a package of their own",
  ),
};

export const REPLICATION = {
  replicationFactor: setting(
    "REPLICATION_FACTOR",
    replicationFactor,
    -1,
    "of topics that are created; -1 is the broker's default",
  ),
};

export const ENGINE = {
  processingGuarantee: setting<"exactly_once" | "at_least_once">(
    "PROCESSING_GUARANTEE",
    oneOf("exactly_once", "at_least_once"),
    "exactly_once",
    "exactly_once: outputs in the transaction of their commit; at_least_once: before it, seen at once, repeated after a crash",
  ),
  commitIntervalMs: setting("COMMIT_INTERVAL_MS", wholeNumber(1, 3_600_000, 100), 100, "milliseconds between commits"),
  stateCacheBytesMax: setting(
    "STATE_CACHE_BYTES_MAX",
    byteSize,
    64 * 2 ** 20,
    "changed state in memory before an early commit",
    { defaultText: "64MiB" },
  ),
  bufferedBytesMax: setting(
    "BUFFERED_BYTES_MAX",
    byteSize,
    16 * 2 ** 20,
    "fetched bytes in memory before fetching pauses",
    { defaultText: "16MiB" },
  ),
};

export const INSTANCE = {
  applicationId: setting("APPLICATION_ID", kafkaName(200), "purchases", "group id, and prefix of internal topics"),
  groupInstanceId: optional("GROUP_INSTANCE_ID", kafkaName(249), "static member id", {
    defaultText: "kept in the state directory",
  }),
  stateDir: setting("STATE_DIR", text, "./state", "directory of the state; one process each"),
  sessionTimeoutMs: setting(
    "SESSION_TIMEOUT_MS",
    wholeNumber(1_000, 1_800_000, 45_000),
    45_000,
    "silence after which the group drops this instance",
  ),
  transactionTimeoutMs: setting(
    "TRANSACTION_TIMEOUT_MS",
    wholeNumber(1_000, 900_000, 10_000),
    10_000,
    "more than the commit interval, at most the broker's maximum",
  ),
  threads: setting<number | "auto">(
    "THREADS",
    countOrAuto(1, 1_024, 2),
    1,
    "stream threads; auto = one for each core, but no more than partitions are expected",
  ),
  standbyReplicas: setting("STANDBY_REPLICAS", wholeNumber(0, 100, 0), 0, "copies of the state on other instances"),
  autoOffsetReset: setting(
    "AUTO_OFFSET_RESET",
    oneOf("earliest", "latest"),
    "earliest",
    "where a new application starts; latest = what comes from now on",
  ),
  onClose: setting(
    "ON_CLOSE",
    oneOf("leave", "stay"),
    "leave",
    "stay keeps this member's partitions for a rolling restart",
  ),
  onThreadFailure: setting(
    "ON_THREAD_FAILURE",
    oneOf("shutdown-client", "replace-thread"),
    "shutdown-client",
    "after an error that no new session can mend: end, or begin again up to five times",
  ),
};

export const FORMAT = {
  format: setting("FORMAT", oneOf("json", "avro"), "json", "of values; avro needs a schema registry"),
  schemaRegistryUrl: optional("SCHEMA_REGISTRY_URL", webAddress, "its Confluent API, as http://localhost:8081"),
  schemaRegistryUsername: optional("SCHEMA_REGISTRY_USERNAME", text, "its user"),
  schemaRegistryPassword: optional("SCHEMA_REGISTRY_PASSWORD", text, "its password", { isSecret: true }),
};

export const HTTP = {
  httpHost: setting("HTTP_HOST", text, "127.0.0.1", "address of the HTTP endpoints"),
  httpPort: setting("HTTP_PORT", wholeNumber(0, 65_535, 8080), 8080, "their port; 0 = any"),
  httpToken: optional("HTTP_TOKEN", token, "what every request but those of the probes must show", { isSecret: true }),
  applicationServer: optional("APPLICATION_SERVER", webAddress, "where other instances ask this one for rows", {
    defaultText: "its HTTP address, unless that is 0.0.0.0",
  }),
};

export const JSON_OUTPUT = { json: flag(onOff, false, "as JSON, for programs", "off") };

export const RESET = {
  dryRun: flag(onOff, false, "show what would be deleted, and delete nothing", "off"),
  yes: flag(onOff, false, "do not ask", "off"),
  outputs: flag(onOff, false, "delete the output topics as well", "off"),
  ...JSON_OUTPUT,
};

export const LAG = {
  sampleMs: flag(wholeNumber(100, 60_000, 1_000), 1_000, "milliseconds between the two looks that give the pace"),
  ...JSON_OUTPUT,
};

export const QUERY = {
  user: flag<string | undefined>(text, undefined, "instead of SQL: the windows of this user", "none"),
  from: flag<string | undefined>(text, undefined, "with --user: windows that start then or later, ISO time", "all"),
  to: flag<string | undefined>(text, undefined, "with --user: windows that start before, ISO time", "all"),
  limit: flag(wholeNumber(1, 10_000, 100), 1_000, "rows at most"),
  offline: flag(onOff, false, "read STATE_DIR instead of asking an instance", "off"),
  ...JSON_OUTPUT,
};

export const DOCTOR = { ...JSON_OUTPUT };

export const SIMULATOR = {
  rate: flag(decimal(0, 1_000_000, 100), 100, "purchases per second; 0 = as fast as possible"),
  count: flag<number | undefined>(
    wholeNumber(1, 1_000_000_000, 20_000),
    undefined,
    "stop after this many",
    "without end",
  ),
  users: flag(wholeNumber(1, 1_000_000, 1_000), 1_000, "how many users buy"),
  late: flag(share, 0.1, "share of late events, as 0.02 or 2%"),
  lateBy: flag(durationRange, { from: 30 * MINUTE_MS, to: 60 * MINUTE_MS }, "how late they are", "30m..60m"),
  expired: flag(share, 0, "share of events behind the watermark"),
  invalid: flag(share, 0, "share of records that are no purchase"),
  timeScale: flag(decimal(0.001, 100_000, 60), 1, "event and ingestion time go this much faster than the clock"),
  seed: flag<number | undefined>(
    wholeNumber(0, Number.MAX_SAFE_INTEGER, 42),
    undefined,
    "the same seed makes the same purchases",
    "random",
  ),
  partitions: flag(wholeNumber(1, 10_000, 9), 9, "partitions of the input topic"),
};
