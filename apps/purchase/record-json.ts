import { deserializeLoaded, type Serde } from "millrace/serdes";
import { avroFormat } from "./avro-format.js";
import type { ReadRecord } from "./reader.js";
import { connectRegistry, type FormatSettings } from "./registry.js";
import type { TopicNames } from "./topics.js";

/** Turns what is no JSON into it, as console and page read it; undefined where everything is JSON. */
export function jsonOf(
  settings: FormatSettings & TopicNames,
): (<R extends Pick<ReadRecord, "topic" | "value">>(record: R) => Promise<R>) | undefined {
  const registry = connectRegistry(settings);
  if (registry === undefined) return undefined;
  const { readers } = avroFormat(registry, settings, "");
  const serdes = new Map<string, Pick<Serde<unknown>, "deserialize">>([
    [settings.inputTopic, readers.purchase],
    [settings.expiredTopic, readers.purchase],
    [settings.lateTopic, readers.late],
    [settings.outputTopic, readers.userWindow],
  ]);
  return async (record) => {
    const serde = serdes.get(record.topic);
    if (serde === undefined || record.value === null) return record;
    try {
      const value = Buffer.from(JSON.stringify(await deserializeLoaded(serde, record.value)), "utf8");
      return { ...record, value };
    } catch {
      return record; // the pipeline sends it to the dead letters; the console shows it as what it is
    }
  };
}
