import { availableParallelism } from "node:os";
import { type HttpRoute, type KafkaStreams, run, type Transport } from "millrace";
import type { Dashboard } from "millrace/dashboard";
import pipeline, { type PipelineSettings } from "./application.js";
import type { CommandIo } from "./io.js";
import { purchasePage } from "./page.js";
import { jsonOf } from "./record-json.js";
import type { RestoreBar } from "./restore-bar.js";
import { RunLines } from "./run-lines.js";
import type { EXPECTED, HTTP, JSON_OUTPUT } from "./setting-table.js";
import { SettingsError, type Values } from "./settings.js";
import { ensureOutputTopics } from "./topics.js";

export type RunSettings = PipelineSettings & Values<typeof HTTP & typeof EXPECTED & typeof JSON_OUTPUT>;

/** The `run` command: one instance of the pipeline on a real Kafka, until it is told to end. */
export async function runPipeline(settings: RunSettings, io: CommandIo, bar: RestoreBar): Promise<number> {
  const { topology, config } = pipeline(settings, { threads: threadCount(settings), logger: io.logger });
  const { applicationId, transport } = config;
  let page: Dashboard | undefined;
  const routes = (streams: KafkaStreams): readonly HttpRoute[] => {
    page = purchasePage(streams, { applicationId, topology, transport, topics: settings, toJson: jsonOf(settings) });
    return page.routes;
  };
  const lines = settings.json ? new RunLines(io.stdout) : undefined;
  try {
    const onSourcesFound = (): Promise<void> => makeOutputTopics(transport, settings, io);
    const exitCode = await run(
      topology,
      { ...config, onSourcesFound },
      {
        http: { host: settings.httpHost, port: settings.httpPort, token: settings.httpToken, routes },
        onStart: (streams, endpoints) => {
          bar.watch(() => streams.status);
          lines?.watch(streams, endpoints);
        },
      },
    );
    lines?.finish(exitCode);
    return exitCode;
  } finally {
    await page?.close();
    bar.stop();
  }
}

/** A thread for each core, if there is work for all of them. */
function threadCount({ threads, partitions }: RunSettings): number {
  return threads === "auto" ? Math.min(availableParallelism(), partitions ?? Number.POSITIVE_INFINITY) : threads;
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
