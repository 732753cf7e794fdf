import type { NewTopic, TopicAdmin } from "millrace";
import { SettingsError } from "./settings.js";

/** The names of the app's topics. */
export interface TopicNames {
  readonly inputTopic: string;
  readonly outputTopic: string;
  readonly lateTopic: string;
  readonly expiredTopic: string;
  readonly deadLetterTopic: string;
}

// A simulated or replayed event time may lie anywhere; since Kafka 4.0 a broker refuses records over an hour ahead of its clock.
const ANY_TIMESTAMP = {
  "message.timestamp.type": "CreateTime",
  "message.timestamp.after.max.ms": "9223372036854775807",
};
/** Event times may be old, and a broker deletes by record timestamp: ten year-old records were gone after 255 s (protocol 23). */
const OUTPUT = { "retention.ms": "-1", ...ANY_TIMESTAMP };
/** A dead letter is its input and the headers that say why (protocol 23). */
const HEADER_ROOM_BYTES = 64 * 1024;
const KAFKA_MESSAGE_BYTES_MAX = 1_048_588;

/**
 * Makes the topic of the purchases when it is missing.
 *
 * @throws SettingsError when it exists with another partition count: the same user would be in another partition
 */
export async function ensureInputTopic(
  admin: TopicAdmin,
  {
    topic,
    partitions,
    replicationFactor,
  }: { readonly topic: string; readonly partitions: number; readonly replicationFactor: number },
): Promise<void> {
  // Asked first: whoever may only write to a topic that is there needs no leave to create one.
  const found = await admin.describe([topic], "Write");
  if (found.length === 0) await admin.create([{ topic, partitions, replicationFactor, configs: ANY_TIMESTAMP }]);
  const [existing] = found.length === 0 ? await admin.describe([topic], "Write") : found;
  if (existing !== undefined && existing.partitions !== partitions) {
    throw new SettingsError([
      `--partitions: topic "${topic}" has ${existing.partitions} partitions, not ${partitions}; use --partitions ${existing.partitions} or another INPUT_TOPIC`,
    ]);
  }
}

/**
 * Makes the output topics that are missing, as wide as the input. An existing one stays as it is.
 *
 * @returns one line for each thing about an existing topic that loses records
 */
export async function ensureOutputTopics(
  admin: TopicAdmin,
  names: TopicNames,
  { partitions, replicationFactor }: { readonly partitions: number; readonly replicationFactor: number },
): Promise<readonly string[]> {
  const outputs = [names.outputTopic, names.lateTopic, names.expiredTopic, names.deadLetterTopic];
  const existing = new Set((await admin.describe(outputs, "Write")).map(({ topic }) => topic));
  const configs = await admin.configs([names.inputTopic, ...existing]);
  const deadLetterBytesMax = messageBytesMax(configs.get(names.inputTopic)) + HEADER_ROOM_BYTES;
  const wanted = outputs.map((topic): NewTopic => {
    const room = topic === names.deadLetterTopic ? { "max.message.bytes": String(deadLetterBytesMax) } : {};
    return { topic, partitions, replicationFactor, configs: { ...OUTPUT, ...room } };
  });
  await admin.create(wanted.filter(({ topic }) => !existing.has(topic)));
  return warnings(configs, names, [...existing]);
}

/** One line for each thing about these output topics that loses records. */
export async function topicWarnings(
  admin: TopicAdmin,
  names: TopicNames,
  existing: readonly string[],
): Promise<readonly string[]> {
  return warnings(await admin.configs([names.inputTopic, ...existing]), names, existing);
}

type Configs = Awaited<ReturnType<TopicAdmin["configs"]>>;

function warnings(configs: Configs, names: TopicNames, existing: readonly string[]): string[] {
  const deadLetterBytesMax = messageBytesMax(configs.get(names.inputTopic)) + HEADER_ROOM_BYTES;
  return existing.flatMap((topic) => {
    const needed = topic === names.deadLetterTopic ? deadLetterBytesMax : undefined;
    return warningsOf(topic, configs.get(topic) ?? {}, needed);
  });
}

function messageBytesMax(configs: Readonly<Record<string, string>> | undefined): number {
  return Number(configs?.["max.message.bytes"] ?? KAFKA_MESSAGE_BYTES_MAX);
}

function warningsOf(
  topic: string,
  configs: Readonly<Record<string, string>>,
  neededBytesMax: number | undefined,
): string[] {
  const warnings: string[] = [];
  const isDeleted = (configs["cleanup.policy"] ?? "delete").includes("delete");
  const retentionMs = Number(configs["retention.ms"] ?? -1);
  if (isDeleted && retentionMs >= 0) {
    warnings.push(
      `topic "${topic}" has retention.ms=${retentionMs}: the broker deletes results whose event time is older, even when they are written now; set retention.ms=-1`,
    );
  }
  const retentionBytes = Number(configs["retention.bytes"] ?? -1);
  if (isDeleted && retentionBytes >= 0) {
    warnings.push(
      `topic "${topic}" has retention.bytes=${retentionBytes}: the broker deletes the oldest results beyond it; set retention.bytes=-1`,
    );
  }
  if (neededBytesMax !== undefined && messageBytesMax(configs) < neededBytesMax) {
    warnings.push(
      `topic "${topic}" has max.message.bytes=${messageBytesMax(configs)}: a dead letter may need ${neededBytesMax}, and one that is refused stops the application; set max.message.bytes=${neededBytesMax}`,
    );
  }
  return warnings;
}
