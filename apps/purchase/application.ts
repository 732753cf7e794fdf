import { defineApplication } from "millrace";
import { avroFormat } from "./avro-format.js";
import { type ConnectionSettings, connectKafka } from "./connection.js";
import { JSON_FORMAT } from "./format.js";
import { connectRegistry, type FormatSettings } from "./registry.js";
import type { COMPRESSION, EMISSION, ENGINE, INSTANCE, REPLICATION } from "./setting-table.js";
import type { Values } from "./settings.js";
import type { TopicNames } from "./topics.js";
import { purchaseTopology, STORE } from "./topology.js";

export type PipelineSettings = ConnectionSettings &
  FormatSettings &
  TopicNames &
  Values<typeof EMISSION & typeof ENGINE & typeof INSTANCE & typeof REPLICATION & typeof COMPRESSION>;

/** The pipeline on a real Kafka, as each stream thread builds it from the settings. */
export default defineApplication(import.meta.url, (settings: PipelineSettings, { logger }) => {
  const { applicationId, groupInstanceId, processingGuarantee, stateCacheBytesMax } = settings;
  const registry = connectRegistry(settings);
  const changelog = `${applicationId}-${STORE}-changelog`;
  const format = registry === undefined ? JSON_FORMAT : avroFormat(registry, settings, changelog);
  return {
    topology: purchaseTopology({ ...settings, format }).build(),
    config: {
      applicationId,
      transport: connectKafka("run", settings, logger),
      stateDir: settings.stateDir,
      ...(groupInstanceId === undefined ? {} : { groupInstanceId }),
      guarantee: processingGuarantee,
      commitIntervalMs: settings.commitIntervalMs,
      sessionTimeoutMs: settings.sessionTimeoutMs,
      transactionTimeoutMs: settings.transactionTimeoutMs,
      compression: settings.compression,
      replicationFactor: settings.replicationFactor,
      cacheBytesMax: stateCacheBytesMax,
      bufferedBytesMax: settings.bufferedBytesMax,
      autoOffsetReset: settings.autoOffsetReset,
      onClose: settings.onClose,
      onThreadFailure: () => settings.onThreadFailure,
      standbyReplicas: settings.standbyReplicas,
    },
  };
});
