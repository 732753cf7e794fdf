import { readFileSync } from "node:fs";
import { KafkaJsTransport, type Logger, type Transport } from "millrace";
import type { CONNECTION } from "./setting-table.js";
import { SettingsError, type Values } from "./settings.js";

export type ConnectionSettings = Values<typeof CONNECTION>;

/**
 * The way to Kafka.
 *
 * @throws SettingsError when no broker is named, or a file of the TLS settings cannot be read
 */
export function connectKafka(
  command: string,
  settings: ConnectionSettings,
  logger: Logger,
  bounds: { readonly requestTimeout?: number } = {},
): Transport {
  const { kafkaBrokers } = settings;
  if (kafkaBrokers === undefined) {
    throw new SettingsError([
      `KAFKA_BROKERS: is not set, and \`${command}\` needs it: separate processes cannot share the embedded log. \`demo\` runs producer, pipeline and console in one process without a broker`,
    ]);
  }
  const ssl = tls(settings);
  const sasl = login(settings);
  return new KafkaJsTransport({
    client: {
      clientId: `purchase-${command}`,
      brokers: [...kafkaBrokers],
      ...bounds,
      ...(ssl === undefined ? {} : { ssl }),
      ...(sasl === undefined ? {} : { sasl }),
    },
    logger,
  });
}

/** The parts of a login stand together: `readSettings` has seen to that. */
function login({
  kafkaSaslMechanism,
  kafkaSaslUsername: username = "",
  kafkaSaslPassword: password = "",
}: ConnectionSettings) {
  switch (kafkaSaslMechanism) {
    case undefined:
      return undefined;
    case "PLAIN":
      return { mechanism: "plain" as const, username, password };
    case "SCRAM-SHA-256":
      return { mechanism: "scram-sha-256" as const, username, password };
    case "SCRAM-SHA-512":
      return { mechanism: "scram-sha-512" as const, username, password };
  }
}

/**
 * Closes the connections this long after `stop`, which ends whatever still waits for a broker. Returns what forgets about it.
 */
export function closeOnStop(transport: Transport, stop: AbortSignal, delayMs = 0): () => void {
  let timer: NodeJS.Timeout | undefined;
  const onStop = (): void => {
    timer = setTimeout(() => void transport.close(), delayMs);
  };
  stop.addEventListener("abort", onStop, { once: true });
  return () => {
    clearTimeout(timer);
    stop.removeEventListener("abort", onStop);
  };
}

/** TLS as Node takes it; `true` trusts the system's authorities. */
function tls(settings: ConnectionSettings): true | { ca?: string; cert?: string; key?: string } | undefined {
  if (!settings.kafkaSsl) return undefined;
  const faults: string[] = [];
  const read = (key: string, file: string | undefined): string | undefined => {
    if (file === undefined) return undefined;
    try {
      return readFileSync(file, "utf8");
    } catch (error) {
      faults.push(
        `${key}: cannot read ${JSON.stringify(file)}: ${error instanceof Error ? error.message : String(error)}`,
      );
      return undefined;
    }
  };
  const [ca, cert, key] = [
    read("KAFKA_SSL_CA", settings.kafkaSslCa),
    read("KAFKA_SSL_CERT", settings.kafkaSslCert),
    read("KAFKA_SSL_KEY", settings.kafkaSslKey),
  ];
  if (faults.length > 0) throw new SettingsError(faults);
  if (ca === undefined && cert === undefined) return true;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}
