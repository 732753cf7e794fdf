import { describe, expect, test } from "vitest";
import application from "./application.js";
import {
  COMPRESSION,
  CONNECTION,
  EMISSION,
  ENGINE,
  FORMAT,
  HTTP,
  INSTANCE,
  LOGGING,
  REPLICATION,
  SIMULATOR,
  TOPICS,
} from "./setting-table.js";
import { flagName, readSettings, SettingsError, type Sources } from "./settings.js";

const RUN = {
  ...CONNECTION,
  ...TOPICS,
  ...EMISSION,
  ...FORMAT,
  ...LOGGING,
  ...REPLICATION,
  ...COMPRESSION,
  ...ENGINE,
  ...INSTANCE,
  ...HTTP,
};

function read(
  environment: Record<string, string>,
  flags: Record<string, unknown> = {},
  files: Record<string, string> = {},
) {
  const readFile = (path: string): string => {
    const content = files[path];
    if (content === undefined) throw new Error("no such file");
    return content;
  };
  return readSettings(RUN, { environment, flags, readFile });
}

function faults(
  environment: Record<string, string>,
  flags: Record<string, unknown> = {},
  files: Record<string, string> = {},
): readonly string[] {
  try {
    read(environment, flags, files);
  } catch (error) {
    if (error instanceof SettingsError) return error.faults;
    throw error;
  }
  return [];
}

function simulator(flags: Sources["flags"]) {
  return readSettings(SIMULATOR, { environment: {}, flags });
}

test("without anything set, every setting has its documented default", () => {
  expect(read({})).toEqual({
    kafkaBrokers: undefined,
    kafkaSsl: false,
    kafkaSslCa: undefined,
    kafkaSslCert: undefined,
    kafkaSslKey: undefined,
    kafkaSaslMechanism: undefined,
    kafkaSaslUsername: undefined,
    kafkaSaslPassword: undefined,
    applicationId: "purchases",
    groupInstanceId: undefined,
    stateDir: "./state",
    processingGuarantee: "exactly_once",
    commitIntervalMs: 100,
    sessionTimeoutMs: 45_000,
    transactionTimeoutMs: 10_000,
    threads: 1,
    standbyReplicas: 0,
    replicationFactor: -1,
    compression: "none",
    stateCacheBytesMax: 67_108_864,
    bufferedBytesMax: 16_777_216,
    autoOffsetReset: "earliest",
    onClose: "leave",
    onThreadFailure: "shutdown-client",
    inputTopic: "purchases",
    outputTopic: "purchase-aggregates",
    lateTopic: "late-purchases",
    expiredTopic: "expired-purchases",
    deadLetterTopic: "purchases-dead-letter",
    format: "json",
    emit: "update",
    schemaRegistryUrl: undefined,
    schemaRegistryUsername: undefined,
    schemaRegistryPassword: undefined,
    httpHost: "127.0.0.1",
    httpPort: 8080,
    httpToken: undefined,
    applicationServer: undefined,
    logLevel: "info",
    logFormat: undefined,
  });
  expect(simulator({})).toMatchObject({
    late: 0.1,
    lateBy: { from: 1_800_000, to: 3_600_000 },
    expired: 0,
    invalid: 0,
    timeScale: 1,
    partitions: 9,
  });
});

test("a flag wins over the environment, the environment over the default, an empty variable is not set", () => {
  expect(read({ COMMIT_INTERVAL_MS: "250" }).commitIntervalMs).toBe(250);
  expect(read({ COMMIT_INTERVAL_MS: "250" }, { commitIntervalMs: "500" }).commitIntervalMs).toBe(500);
  expect(read({ COMMIT_INTERVAL_MS: "" }).commitIntervalMs).toBe(100);
});

test("brokers are a comma list, sizes may have a unit, booleans have words", () => {
  const values = read({
    KAFKA_BROKERS: "one:9092, [::1]:9093",
    STATE_CACHE_BYTES_MAX: "1 GiB",
    BUFFERED_BYTES_MAX: "65536",
    KAFKA_SSL: "TRUE",
  });
  expect(values.kafkaBrokers).toEqual(["one:9092", "[::1]:9093"]);
  expect(values.stateCacheBytesMax).toBe(1_073_741_824);
  expect(values.bufferedBytesMax).toBe(65_536);
  expect(values.kafkaSsl).toBe(true);
});

test.each([
  ["KAFKA_BROKERS", "localhost"],
  ["KAFKA_BROKERS", "one:9092,,two:9092"],
  ["KAFKA_BROKERS", "one:99999"],
  ["KAFKA_SSL", "maybe"],
  ["KAFKA_SASL_MECHANISM", "GSSAPI"],
  ["APPLICATION_ID", "my app"],
  ["GROUP_INSTANCE_ID", "a/b"],
  ["PROCESSING_GUARANTEE", "at_most_once"],
  ["COMMIT_INTERVAL_MS", "0"],
  ["COMMIT_INTERVAL_MS", "1e3"],
  ["SESSION_TIMEOUT_MS", "soon"],
  ["TRANSACTION_TIMEOUT_MS", "999"],
  ["THREADS", "two"],
  ["STANDBY_REPLICAS", "-1"],
  ["REPLICATION_FACTOR", "0"],
  ["STATE_CACHE_BYTES_MAX", "64 MB"],
  ["BUFFERED_BYTES_MAX", "1KiB"],
  ["AUTO_OFFSET_RESET", "none"],
  ["ON_CLOSE", "go"],
  ["ON_THREAD_FAILURE", "restart"],
  ["INPUT_TOPIC", "."],
  ["OUTPUT_TOPIC", "täglich"],
  ["FORMAT", "xml"],
  ["SCHEMA_REGISTRY_URL", "registry:8081"],
  ["COMPRESSION", "brotli"],
  ["EMIT", "append"],
  ["HTTP_PORT", "65536"],
  ["LOG_LEVEL", "loud"],
  ["LOG_FORMAT", "xml"],
])("%s=%s is one fault, which begins with the key", (key, value) => {
  const found = faults({ [key]: value });
  expect(found).toHaveLength(1);
  expect(found[0]).toMatch(new RegExp(`^${key}: ".*" must be `));
  expect(found[0]).not.toContain("\n");
});

test("threads are a number, or one for each core", () => {
  expect(read({ THREADS: "3" }).threads).toBe(3);
  expect(read({ THREADS: "auto" }).threads).toBe("auto");
});

test.each(["shutdown-client", "replace-thread"] as const)("a thread that fails for good is given %s", (action) => {
  const { config } = application(read({ ON_THREAD_FAILURE: action, KAFKA_BROKERS: "one:9092" }));
  expect(config.onThreadFailure?.(new Error("broken"))).toBe(action);
});

test("avro needs a registry, and its user a password", () => {
  expect(faults({ FORMAT: "avro" })).toEqual(["FORMAT: avro needs SCHEMA_REGISTRY_URL"]);
  expect(faults({ FORMAT: "avro", SCHEMA_REGISTRY_URL: "http://registry:8081" })).toEqual([]);
  expect(faults({ SCHEMA_REGISTRY_USERNAME: "ann" })).toEqual([
    "SCHEMA_REGISTRY_USERNAME: needs SCHEMA_REGISTRY_PASSWORD beside it, and the other way round",
  ]);
});

test("every fault is found at once, and one that came from a flag names both", () => {
  expect(faults({ HTTP_PORT: "x", EMIT: "y" }, { threads: "z" })).toEqual([
    'EMIT: "y" must be update or final',
    'THREADS (--threads): "z" must be auto, or a whole number from 1 to 1024, for example 2',
    'HTTP_PORT: "x" must be a whole number from 0 to 65535, for example 8080',
  ]);
});

describe("a secret", () => {
  const sasl = { KAFKA_SASL_MECHANISM: "PLAIN", KAFKA_SASL_USERNAME: "ann" };

  test("is read from the file its _FILE variable or flag names, without the last line break", () => {
    const files = { "/run/secret": "s3cret\n" };
    expect(read({ ...sasl, KAFKA_SASL_PASSWORD_FILE: "/run/secret" }, {}, files).kafkaSaslPassword).toBe("s3cret");
    expect(read(sasl, { kafkaSaslPasswordFile: "/run/secret" }, files).kafkaSaslPassword).toBe("s3cret");
  });

  test("is set one way only, and its file must be there", () => {
    expect(faults({ HTTP_TOKEN: "a", HTTP_TOKEN_FILE: "/x" })).toEqual([
      "HTTP_TOKEN: is set, and so is HTTP_TOKEN_FILE; set one of them",
    ]);
    expect(faults({ HTTP_TOKEN_FILE: "/x" })).toEqual(['HTTP_TOKEN_FILE: cannot read "/x": no such file']);
  });

  test("that is wrong is not shown", () => {
    expect(faults({ HTTP_TOKEN: "too short" })).toEqual([
      expect.stringMatching(/^HTTP_TOKEN: its value must be 12 to 512 /),
    ]);
  });

  test("needs the rest of its login", () => {
    expect(faults(sasl)).toEqual(["KAFKA_SASL_MECHANISM: needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"]);
    expect(faults({ KAFKA_SASL_PASSWORD: "x" })).toEqual([
      "KAFKA_SASL_MECHANISM: is not set, but a SASL user or password is",
    ]);
  });
});

test("settings that contradict each other are faults of the one to change", () => {
  expect(faults({ COMMIT_INTERVAL_MS: "10000" })).toEqual([
    "TRANSACTION_TIMEOUT_MS: 10000 must be more than COMMIT_INTERVAL_MS, which is 10000",
  ]);
  expect(faults({ LATE_TOPIC: "purchases" })).toEqual([
    'LATE_TOPIC: is "purchases", as INPUT_TOPIC is; topics must differ',
  ]);
  expect(faults({ KAFKA_SSL_CA: "/ca.pem" })).toEqual([
    "KAFKA_SSL_CA: is set, but KAFKA_SSL is off; set KAFKA_SSL=true",
  ]);
  expect(faults({ KAFKA_SSL: "on", KAFKA_SSL_CERT: "/c.pem" })).toEqual([
    "KAFKA_SSL_CERT: needs KAFKA_SSL_KEY beside it, and the other way round",
  ]);
});

test("the simulator takes shares, ranges of durations and a rate of 0", () => {
  expect(simulator({ late: "2%", expired: "0.01", lateBy: "500ms..1.5h", rate: "0", timeScale: "0.5" })).toMatchObject({
    late: 0.02,
    expired: 0.01,
    lateBy: { from: 500, to: 5_400_000 },
    rate: 0,
    timeScale: 0.5,
  });
  for (const [flag, value] of Object.entries({
    late: "1.1",
    lateBy: "60m..30m",
    rate: "-1",
    partitions: "0",
    count: "many",
    seed: "-1",
  })) {
    expect(() => simulator({ [flag]: value })).toThrow(`${flagName(flag)}: `);
  }
});
