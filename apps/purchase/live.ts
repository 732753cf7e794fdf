import { type Transport, UnavailableError } from "millrace";
import { type ConnectionSettings, closeOnStop, connectKafka } from "./connection.js";
import { LiveConsole } from "./console.js";
import type { CommandIo } from "./io.js";
import { type RecordDisplay, RecordLines } from "./json-lines.js";
import { BrokerWatch } from "./outage.js";
import { pause, TopicReader } from "./reader.js";
import { jsonOf } from "./record-json.js";
import type { FormatSettings } from "./registry.js";
import type { JSON_OUTPUT } from "./setting-table.js";
import type { Values } from "./settings.js";
import type { TopicNames } from "./topics.js";

export type LiveSettings = ConnectionSettings & FormatSettings & TopicNames & Values<typeof JSON_OUTPUT>;

/** So long a request may take before it is tried again: somebody looks on. */
const REQUEST_TIMEOUT_MS = 5_000;
/** As `run` does: a cluster that comes up together with its clients is there by then. */
const CONNECT_PATIENCE_MS = 5 * 60_000;
const CONNECT_RETRY_MS = 1_000;

/** The `live` command: what comes from now on, as a plain read-committed reader sees it. */
export async function live(settings: LiveSettings, io: CommandIo): Promise<number> {
  const transport = connectKafka("live", settings, io.logger, { requestTimeout: REQUEST_TIMEOUT_MS });
  const { inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic } = settings;
  const console = displayOf(settings, io);
  const toJson = jsonOf(settings);
  const forget = closeOnStop(transport, io.stop);
  const watch = new BrokerWatch((settings.kafkaBrokers ?? []).join(","), (outage) => console.outage(outage));
  console.start();
  try {
    const reader = new TopicReader(transport, {
      topics: [inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic],
      from: "latest",
      onRecord:
        toJson === undefined ? (record) => console.add(record) : async (record) => console.add(await toJson(record)),
      onWaiting: (topic) => console.print(`waiting for topic ${topic} to be created`),
      onTrouble: (message) => watch.trouble(message),
      onAnswer: () => watch.heard(),
      signal: io.stop,
    });
    await startPatiently(transport, reader, { watch, signal: io.stop });
    await reader.run();
  } catch (error) {
    if (!io.stop.aborted) throw error;
  } finally {
    forget();
    watch.stop();
    console.stop();
    await transport.close();
  }
  return 0;
}

/** @throws UnavailableError when no broker has answered in time; what no waiting mends, at once */
async function startPatiently(
  transport: Transport,
  reader: TopicReader,
  { watch, signal }: { readonly watch: BrokerWatch; readonly signal: AbortSignal },
): Promise<void> {
  const giveUpMs = performance.now() + CONNECT_PATIENCE_MS;
  for (;;) {
    try {
      await transport.connect();
      return await reader.start();
    } catch (error) {
      if (!(error instanceof UnavailableError) || signal.aborted || performance.now() > giveUpMs) throw error;
      watch.trouble(error.message);
      await pause(CONNECT_RETRY_MS, signal);
    }
  }
}

/** The console for people, or a line for each record for programs. */
export function displayOf(settings: TopicNames & Values<typeof JSON_OUTPUT>, io: CommandIo): RecordDisplay {
  if (settings.json) return new RecordLines(settings, io.stdout);
  return new LiveConsole(settings, io.stdout, io.environment);
}
