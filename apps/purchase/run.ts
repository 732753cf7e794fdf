import { type HttpRoute, type KafkaStreams, run, type Transport } from "millrace";
import type { Dashboard } from "millrace/dashboard";
import { avroFormat } from "./avro-format.js";
import { type ConnectionSettings, connectKafka } from "./connection.js";
import { JSON_FORMAT } from "./format.js";
import type { CommandIo } from "./io.js";
import { jsonOf } from "./live.js";
import { purchasePage } from "./page.js";
import { connectRegistry, type FormatSettings } from "./registry.js";
import type { RestoreBar } from "./restore-bar.js";
import type { COMPRESSION, EMISSION, ENGINE, EXPECTED, HTTP, INSTANCE, REPLICATION } from "./setting-table.js";
import { SettingsError, type Values } from "./settings.js";
import { ensureOutputTopics, type TopicNames } from "./topics.js";
import { purchaseTopology, STORE } from "./topology.js";

export type RunSettings = ConnectionSettings &
  FormatSettings &
  TopicNames &
  Values<
    typeof EMISSION &
      typeof ENGINE &
      typeof INSTANCE &
      typeof HTTP &
      typeof REPLICATION &
      typeof COMPRESSION &
      typeof EXPECTED
  >;

/** The `run` command: one instance of the pipeline on a real Kafka, until it is told to end. */
export async function runPipeline(settings: RunSettings, io: CommandIo, bar: RestoreBar): Promise<number> {
  const transport = connectKafka("run", settings, io.logger);
  const registry = connectRegistry(settings);
  const changelog = `${settings.applicationId}-${STORE}-changelog`;
  const format = registry === undefined ? JSON_FORMAT : avroFormat(registry, settings, changelog);
  const topology = purchaseTopology({ ...settings, format }).build();
  const { applicationId, stateDir, groupInstanceId, commitIntervalMs, sessionTimeoutMs, transactionTimeoutMs } =
    settings;
  const { processingGuarantee } = settings;
  const { compression, replicationFactor, stateCacheBytesMax, bufferedBytesMax, autoOffsetReset, onClose } = settings;
  const config = {
    applicationId,
    transport,
    stateDir,
    ...(groupInstanceId === undefined ? {} : { groupInstanceId }),
    guarantee: processingGuarantee,
    commitIntervalMs,
    sessionTimeoutMs,
    transactionTimeoutMs,
    compression,
    replicationFactor,
    cacheBytesMax: stateCacheBytesMax,
    bufferedBytesMax,
    autoOffsetReset,
    onClose,
    logger: io.logger,
    onSourcesFound: () => makeOutputTopics(transport, settings, io),
  };
  let page: Dashboard | undefined;
  const routes = (streams: KafkaStreams): readonly HttpRoute[] => {
    page = purchasePage(streams, { applicationId, topology, transport, topics: settings, toJson: jsonOf(settings) });
    return page.routes;
  };
  try {
    return await run(topology, config, {
      http: { host: settings.httpHost, port: settings.httpPort, token: settings.httpToken, routes },
      onStart: (streams) => bar.watch(() => streams.status),
    });
  } finally {
    await page?.close();
    bar.stop();
  }
}

/** Before the first record is read: a result must never meet a topic that is not there. */
async function makeOutputTopics(transport: Transport, settings: RunSettings, io: CommandIo): Promise<void> {
  const { inputTopic, replicationFactor, partitions } = settings;
  const [input] = await transport.topics.describe([inputTopic], "Read");
  if (input === undefined) return;
  if (partitions !== undefined && input.partitions !== partitions) {
    throw new SettingsError([
      `--partitions: topic "${inputTopic}" has ${input.partitions} partitions, not ${partitions}`,
    ]);
  }
  const warnings = await ensureOutputTopics(transport.topics, settings, {
    partitions: input.partitions,
    replicationFactor,
  });
  for (const warning of warnings) io.logger.warn({}, warning);
}
