import { type ConnectionSettings, closeOnStop, connectKafka } from "./connection.js";
import { LiveConsole } from "./console.js";
import type { CommandIo } from "./io.js";
import { TopicReader } from "./reader.js";
import type { TopicNames } from "./topics.js";

/** The `live` command: what comes from now on, as a plain read-committed reader sees it. */
export async function live(settings: ConnectionSettings & TopicNames, io: CommandIo): Promise<number> {
  const transport = connectKafka("live", settings, io.logger);
  const { inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic } = settings;
  const console = new LiveConsole(settings, io.stdout, io.environment);
  const forget = closeOnStop(transport, io.stop);
  try {
    await transport.connect();
    const reader = new TopicReader(transport, {
      topics: [inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic],
      from: "latest",
      onRecord: (record) => console.add(record),
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
