import { type ConnectionSettings, closeOnStop, connectKafka } from "./connection.js";
import { LiveConsole } from "./console.js";
import type { CommandIo } from "./io.js";
import { type RecordDisplay, RecordLines } from "./json-lines.js";
import { TopicReader } from "./reader.js";
import { jsonOf } from "./record-json.js";
import type { FormatSettings } from "./registry.js";
import type { JSON_OUTPUT } from "./setting-table.js";
import type { Values } from "./settings.js";
import type { TopicNames } from "./topics.js";

export type LiveSettings = ConnectionSettings & FormatSettings & TopicNames & Values<typeof JSON_OUTPUT>;

/** The `live` command: what comes from now on, as a plain read-committed reader sees it. */
export async function live(settings: LiveSettings, io: CommandIo): Promise<number> {
  const transport = connectKafka("live", settings, io.logger);
  const { inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic } = settings;
  const console = displayOf(settings, io);
  const toJson = jsonOf(settings);
  const forget = closeOnStop(transport, io.stop);
  try {
    await transport.connect();
    const reader = new TopicReader(transport, {
      topics: [inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic],
      from: "latest",
      onRecord:
        toJson === undefined ? (record) => console.add(record) : async (record) => console.add(await toJson(record)),
      onWaiting: (topic) => console.print(`waiting for topic ${topic} to be created`),
      onTrouble: (message) => console.print(`${message}; trying again`),
      signal: io.stop,
    });
    await reader.start();
    console.start();
    await reader.run();
  } catch (error) {
    if (!io.stop.aborted) throw error;
  } finally {
    forget();
    console.stop();
    await transport.close();
  }
  return 0;
}

/** The console for people, or a line for each record for programs. */
export function displayOf(settings: TopicNames & Values<typeof JSON_OUTPUT>, io: CommandIo): RecordDisplay {
  if (settings.json) return new RecordLines(settings, io.stdout);
  return new LiveConsole(settings, io.stdout, io.environment);
}
