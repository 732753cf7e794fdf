import { SingleBar } from "cli-progress";
import { type Producer, partitionOf } from "millrace";
import { avroFormat } from "./avro-format.js";
import { type ConnectionSettings, closeOnStop, connectKafka } from "./connection.js";
import type { CommandIo } from "./io.js";
import { JsonLines } from "./json-lines.js";
import { Pacer } from "./pacer.js";
import { pause } from "./reader.js";
import { connectRegistry, type FormatSettings } from "./registry.js";
import { send } from "./sender.js";
import type { COMPRESSION, JSON_OUTPUT, REPLICATION, SIMULATOR } from "./setting-table.js";
import type { Values } from "./settings.js";
import { type SimulatedRecord, Simulator } from "./simulator.js";
import { isTerminal, widthOf } from "./terminal.js";
import { formatCount, formatDuration, joined } from "./text.js";
import { ensureInputTopic } from "./topics.js";

export type SimulatorSettings = Values<typeof SIMULATOR>;
export type ProduceSettings = SimulatorSettings &
  FormatSettings &
  ConnectionSettings &
  Values<typeof REPLICATION & typeof COMPRESSION & typeof JSON_OUTPUT> & { readonly inputTopic: string };

/** Records sent at once: large enough for whole batches, small enough to stop between two. */
const CHUNK_MAX = 5_000;
/** How long a chunk on its way may take after a signal. */
const FINISH_MAX_MS = 5_000;

/** Sends simulated purchases until `count` or `signal`, at their rate. `onMade` comes before each is sent. */
export async function sendPurchases(
  producer: Producer,
  settings: SimulatorSettings & { readonly inputTopic: string },
  {
    seed,
    signal,
    onMade,
    onSent,
    encode = asItIs,
  }: {
    readonly seed: number;
    readonly signal: AbortSignal;
    readonly onMade?: (record: SimulatedRecord) => void;
    readonly onSent?: (count: number) => void;
    /** From the simulator's JSON to what is sent. */
    readonly encode?: (record: SimulatedRecord) => SimulatedRecord;
  },
): Promise<void> {
  const {
    rate,
    count = Number.POSITIVE_INFINITY,
    users,
    late,
    lateBy,
    expired,
    invalid,
    timeScale,
    partitions,
    inputTopic,
  } = settings;
  const simulator = new Simulator({ seed, users, late, lateByMs: lateBy, expired, invalid, partitions, partitionOf });
  const pacer = new Pacer({ rate, timeScale, startWallClockMs: Date.now() });
  while (simulator.made < count && !signal.aborted) {
    const due = pacer.due(Date.now(), Math.min(CHUNK_MAX, count - simulator.made));
    if (due.length === 0) {
      // At least a few milliseconds: at a high rate the timer decides how many go together, not the rate.
      await pause(Math.max(5, pacer.idleMs(Date.now())), signal);
      continue;
    }
    const records = due.map((ingestionTimeMs) => simulator.next(ingestionTimeMs));
    if (onMade !== undefined) for (const record of records) onMade(record);
    await send(producer, inputTopic, records.map(encode));
    onSent?.(records.length);
  }
}

function asItIs(record: SimulatedRecord): SimulatedRecord {
  return record;
}

/** Purchases as Avro; what is no purchase stays the bytes that it is. */
async function encoder(settings: ProduceSettings): Promise<(record: SimulatedRecord) => SimulatedRecord> {
  const registry = connectRegistry(settings);
  if (registry === undefined) return asItIs;
  const { readers } = avroFormat(registry, { ...settings, lateTopic: "", outputTopic: "" }, "");
  const { purchase } = readers;
  await purchase.prepare?.("write");
  return (record) => {
    if (record.expected.kind === "invalid" || record.value === null) return record;
    return { ...record, value: Buffer.from(purchase.serialize(JSON.parse(record.value.toString("utf8")))) };
  };
}

export function seedOf({ seed }: SimulatorSettings): number {
  return seed ?? Math.floor(Math.random() * 1_000_000);
}

/** The `produce` command: the simulator into a topic of a real Kafka. */
export async function produce(settings: ProduceSettings, io: CommandIo): Promise<number> {
  const transport = connectKafka("produce", settings, io.logger);
  const { inputTopic: topic, partitions, replicationFactor, compression } = settings;
  const seed = seedOf(settings);
  const counts = { sent: 0, late: 0, expired: 0, invalid: 0 };
  const startedMs = Date.now();
  const progress = showProgress(settings, io);
  const forget = closeOnStop(transport, io.stop, FINISH_MAX_MS);
  try {
    const encode = await encoder(settings);
    await transport.connect();
    await ensureInputTopic(transport.topics, { topic, partitions, replicationFactor });
    await sendPurchases(transport.openProducer({ compression }), settings, {
      seed,
      signal: io.stop,
      encode,
      onMade: ({ expected }) => {
        if (expected.kind === "invalid") counts.invalid++;
        else if (expected.isLate) counts.late++;
        if (expected.kind === "purchase" && expected.isExpired) counts.expired++;
      },
      onSent: (sent) => {
        counts.sent += sent;
        progress.update(counts.sent);
      },
    });
  } finally {
    forget();
    progress.stop();
    await transport.close();
  }
  const summary = { topic, ...counts, seed, durationMs: Date.now() - startedMs };
  if (settings.json) new JsonLines(io.stdout).write("summary", summaryFields(summary));
  else io.stdout.write(`${joined(summaryParts(summary), widthOf(io.stdout, io.environment))}\n`);
  return 0;
}

interface Summary {
  readonly topic: string;
  readonly sent: number;
  readonly late: number;
  readonly expired: number;
  readonly invalid: number;
  readonly seed: number;
  readonly durationMs: number;
}

function summaryFields({ topic, sent, late, expired, invalid, seed, durationMs }: Summary) {
  return { topic, produced: sent, late, expired, invalid, seed, seconds: durationMs / 1_000 };
}

function summaryParts({ topic, sent, late, expired, invalid, seed, durationMs }: Summary): readonly string[] {
  return [
    `${formatCount(sent)} produced to ${topic}`,
    `${formatCount(late)} late`,
    `${formatCount(expired)} expired`,
    `${formatCount(invalid)} invalid`,
    `seed ${seed}`,
    formatDuration(durationMs),
  ];
}

interface Progress {
  update(sent: number): void;
  stop(): void;
}

const REPORT_MS = 5_000;

/** For programs an event now and then; for people a bar where the end is known and there is a terminal to draw it on, else a line. */
function showProgress({ count, json }: ProduceSettings, io: CommandIo): Progress {
  let sent = 0;
  if (!json && count !== undefined && isTerminal(io.stderr, io.environment)) {
    const bar = new SingleBar({
      format: "{bar} {percentage}%  {value} of {total} purchases  {eta_formatted} left",
      hideCursor: true,
      stream: io.stderr,
    });
    bar.start(count, 0);
    return { update: (now) => bar.update(now), stop: () => bar.stop() };
  }
  let reported = 0;
  const timer = setInterval(() => {
    const perSecond = Math.round(((sent - reported) * 1_000) / REPORT_MS);
    reported = sent;
    if (json) new JsonLines(io.stdout).write("progress", { produced: sent, records_per_second: perSecond });
    else io.stderr.write(`${formatCount(sent)} purchases sent, ${formatCount(perSecond)}/s\n`);
  }, REPORT_MS);
  return {
    update: (now) => {
      sent = now;
    },
    stop: () => clearInterval(timer),
  };
}
