import type { Transport } from "millrace";
import { type ConnectionSettings, connectKafka } from "./connection.js";
import type { CommandIo } from "./io.js";
import type { INPUT, INSTANCE, LAG } from "./setting-table.js";
import type { Values } from "./settings.js";
import { tableOf } from "./table.js";
import { formatCount, formatDuration } from "./text.js";

export type LagSettings = ConnectionSettings &
  Values<typeof INPUT & Pick<typeof INSTANCE, "applicationId"> & typeof LAG>;

interface PartitionLag {
  readonly partition: number;
  /** Undefined: nothing is committed yet. */
  readonly committed: number | undefined;
  readonly end: number;
  readonly lag: number;
}

/** The `lag` command: how far the group is behind its input, and how long it will take at its pace. */
export async function lag(settings: LagSettings, io: CommandIo): Promise<number> {
  const { inputTopic: topic, applicationId, sampleMs, json } = settings;
  const transport = connectKafka("lag", settings, io.logger);
  try {
    await transport.connect();
    const before = await measure(transport, applicationId, topic);
    if (before === undefined) {
      io.stderr.write(`purchase: there is no topic "${topic}" (INPUT_TOPIC)\n`);
      return 1;
    }
    const beganMs = performance.now();
    await pause(sampleMs, io.stop);
    const now = (await measure(transport, applicationId, topic)) ?? before;
    const seconds = (performance.now() - beganMs) / 1_000;
    const rate = Math.max(0, positions(now) - positions(before)) / seconds;
    const total = sumOf(now, ({ lag }) => lag);
    const secondsLeft = total === 0 ? 0 : rate > 0 ? total / rate : undefined;
    if (json) {
      const answer = {
        group: applicationId,
        topic,
        partitions: now,
        lag: total,
        records_per_second: rate,
        seconds_left: secondsLeft ?? null,
      };
      io.stdout.write(`${JSON.stringify(answer)}\n`);
      return 0;
    }
    io.stdout.write(`${table(now)}\n`);
    io.stdout.write(
      `${applicationId} is ${formatCount(total)} behind ${topic}; ${estimate(total, rate, secondsLeft)}\n`,
    );
    return 0;
  } finally {
    await transport.close();
  }
}

function estimate(total: number, rate: number, secondsLeft: number | undefined): string {
  if (total === 0) return "it has caught up";
  if (secondsLeft === undefined) return "it does not move: is an instance running?";
  return `at ${formatCount(rate)} records a second it takes about ${formatDuration(secondsLeft * 1_000)}`;
}

async function measure(
  transport: Transport,
  group: string,
  topic: string,
): Promise<readonly PartitionLag[] | undefined> {
  const [found] = await transport.topics.describe([topic], "Read");
  if (found === undefined) return undefined;
  const partitions = Array.from({ length: found.partitions }, (_, partition) => ({ topic, partition }));
  const [ends, begins, offsets] = await Promise.all([
    transport.topics.offsets(partitions, "latest"),
    transport.topics.offsets(partitions, "earliest"),
    transport.topics.committedOffsets(group, partitions, { requireStable: false }),
  ]);
  const at = (list: readonly { readonly partition: number; readonly offset: number | undefined }[], wanted: number) =>
    list.find(({ partition }) => partition === wanted)?.offset;
  return partitions.map(({ partition }) => {
    const end = at(ends, partition) ?? 0;
    const committed = at(offsets, partition);
    return { partition, committed, end, lag: Math.max(0, end - (committed ?? at(begins, partition) ?? 0)) };
  });
}

function positions(partitions: readonly PartitionLag[]): number {
  return sumOf(partitions, ({ end, lag: behind }) => end - behind);
}

function sumOf(partitions: readonly PartitionLag[], of: (partition: PartitionLag) => number): number {
  return partitions.reduce((sum, one) => sum + of(one), 0);
}

function table(partitions: readonly PartitionLag[]): string {
  const rows = partitions.map(({ partition, committed, end, lag: behind }) => [
    String(partition),
    committed === undefined ? "-" : formatCount(committed),
    formatCount(end),
    formatCount(behind),
  ]);
  return tableOf(["partition", "committed", "end", "lag"], rows);
}

function pause(durationMs: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, durationMs);
    stop.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
