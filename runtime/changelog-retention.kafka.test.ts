import { rm } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { int64, string } from "../serdes/serde.js";
import { windowed } from "../serdes/windowed.js";
import { type LocalKafka, startLocalKafka } from "../testing/kafka/local-kafka.js";
import { eventually, type ProbeRecord } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { tumbling } from "../topology/windows.js";
import { Application } from "./engine.suite.js";

const PARTITIONS = 2;
const WINDOW_MS = 300_000;
const GRACE_MS = 3_600_000;
const USERS = 50;
const YEAR_AGO_MS = Math.floor((Date.now() - 365 * 24 * 3_600_000) / WINDOW_MS) * WINDOW_MS;

let kafka: LocalKafka;

beforeAll(async () => {
  // Retention is looked at every second, as it is every five minutes by default.
  kafka = await startLocalKafka({
    properties: { "log.retention.check.interval.ms": "1000", "log.initial.task.delay.ms": "100" },
  });
});

afterAll(() => kafka.stop());

/** Purchases per user and five minutes. */
function perUser(input: string, output: string): ProcessorTopology {
  const builder = new StreamsBuilder();
  builder
    .stream(input, { key: string, value: string })
    .groupByKey()
    .windowedBy(tumbling({ sizeMs: WINDOW_MS, graceMs: GRACE_MS }))
    .count("per-user")
    .toStream()
    .to(output);
  return builder.build();
}

/** One window after the other from a year ago on: `each` records of every user in each. */
class Replay {
  readonly counts = new Map<string, number>();
  #windows = 0;

  windows(count: number, each: number): ProbeRecord[] {
    const records: ProbeRecord[] = [];
    for (let made = 0; made < count; made++) {
      const startMs = YEAR_AGO_MS + this.#windows++ * WINDOW_MS;
      for (let round = 0; round < each; round++) {
        for (let user = 0; user < USERS; user++)
          records.push(this.#record(`user-${user}`, startMs, startMs + Math.floor((round * WINDOW_MS) / each)));
      }
    }
    return records;
  }

  /** Windows that are still open take more records, the latest event times stay what they are. */
  again(windows: number, users = USERS): ProbeRecord[] {
    const startMs = YEAR_AGO_MS + (this.#windows - windows) * WINDOW_MS;
    return Array.from({ length: windows * users }, (_, at) => {
      const windowMs = startMs + Math.floor(at / users) * WINDOW_MS;
      return this.#record(`user-${at % users}`, windowMs, windowMs);
    });
  }

  #record(user: string, windowMs: number, timestampMs: number): ProbeRecord {
    const key = `${user}@${windowMs}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
    return { key: user, value: "purchase", timestampMs };
  }
}

async function replaying() {
  const application = await Application.open(kafka.brokers);
  const input = await application.topic("in", PARTITIONS);
  const output = await application.topic("out", PARTITIONS);
  const topology = perUser(input, output);
  return {
    application,
    probe: application.probe,
    input,
    output,
    topology,
    changelog: `${application.id}-per-user-changelog`,
  };
}

async function lastCounts(application: Application, output: string): Promise<Map<string, number>> {
  const key = windowed(string, { sizeMs: WINDOW_MS });
  const records = await application.probe.read(output);
  return new Map(
    records.map((record) => {
      const { key: user, window } = key.deserialize(record.key as Buffer);
      return [`${user}@${window.startMs}`, int64.deserialize(record.value as Buffer)];
    }),
  );
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

/** Resolves when the broker has gone over all its topics several times, and has deleted what is a year old where it may. */
async function retentionHasRun(application: Application): Promise<void> {
  const doomed = ["doomed-1", "doomed-2", "doomed-3"];
  // One after the other: each goes in a later round than the one before.
  for (const what of doomed) {
    const topic = await application.topic(what, 1, { "retention.ms": "604800000" });
    await application.probe.write(topic, [{ key: "old", value: "old", timestampMs: YEAR_AGO_MS }]);
    await eventually(`the broker deletes ${topic}`, async () => sum(await application.probe.lows(topic)) === 1);
  }
}

test("a replay of purchases a year old keeps its changelog: after the state directory is wiped, everything is restored", async () => {
  const { application, probe, input, output, topology, changelog } = await replaying();
  const replay = new Replay();
  const before = await application.start(topology);
  await probe.write(input, replay.windows(30, 4));
  await probe.caughtUp(application.id, input);
  await retentionHasRun(application);
  await before.streams.close();
  const kept = (await probe.read(changelog)).length;
  // By default cuts wait for ten minutes, so nothing of 30 windows may be gone.
  expect(await probe.lows(changelog)).toEqual([0, 0]);
  await rm(application.stateDir(), { recursive: true });

  const after = await (await application.start(topology)).runs(PARTITIONS);
  expect(after.restored("per-user")).toBe(kept);
  // The last ten windows are open, an hour and more of grace included: their counts go on from what was restored.
  await probe.write(input, replay.again(10));
  await probe.caughtUp(application.id, input);
  expect(await lastCounts(application, output)).toEqual(replay.counts);
});

test("the changelog of a long replay is cut as windows expire, and still restores every window that is open", async () => {
  const { application, probe, input, output, topology, changelog } = await replaying();
  const replay = new Replay();
  const config = { changelogDeleteDelayMs: 200 };
  const before = await application.start(topology, config);
  let lows = [0, 0];
  let story = "";
  for (let stretch = 0; stretch < 4; stretch++) {
    // A cut is as fine as the commits are: what one commit wrote is kept or cut together.
    for (let part = 0; part < 8; part++) {
      await probe.write(input, replay.windows(5, 2));
      await probe.caughtUp(application.id, input);
    }
    await eventually(
      () => `the changelog is cut: ${story}`,
      async () => {
        // Records now and then keep commits coming, and with them the looking for what has expired.
        await probe.write(input, replay.again(1, 5));
        const rows = await liveRows(before.streams);
        const from = await probe.lows(changelog);
        const records = sum(await probe.highs(changelog)) - sum(from);
        story = `it begins at ${from.join(", ")} and has ${records} records for ${rows} live rows`;
        const isCut = from.every((low, partition) => low > (lows[partition] as number)) && records <= 4 * rows;
        if (isCut) lows = from;
        return isCut;
      },
    );
  }
  // A window is kept for 65 minutes, and dropped with its segment of half of that: at most 97.5 minutes, which hold 20 windows, and not the 160 there were.
  const rows = await liveRows(before.streams);
  expect(rows).toBeGreaterThan(0);
  expect(rows).toBeLessThanOrEqual(20 * USERS);
  await probe.caughtUp(application.id, input);
  await before.streams.close();
  await rm(application.stateDir(), { recursive: true });

  const after = await (await application.start(topology, config)).runs(PARTITIONS);
  expect(after.restored("per-user")).toBeGreaterThan(0);
  await probe.write(input, replay.again(10));
  await probe.caughtUp(application.id, input);
  expect(await lastCounts(application, output)).toEqual(replay.counts);
});

async function liveRows({ metrics }: { readonly metrics: { text(): Promise<string> } }): Promise<number> {
  const text = await metrics.text();
  return sum([...text.matchAll(/^millrace_store_rows\{[^}]*\} (\d+)$/gm)].map(([, value]) => Number(value)));
}
