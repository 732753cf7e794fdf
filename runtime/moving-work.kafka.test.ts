import { rm } from "node:fs/promises";
import { expect, inject, test } from "vitest";
import { int64, string } from "../serdes/serde.js";
import { eventually, type LogProbe, type ProbeRecord } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { decodeCommitMetadata } from "./commit-metadata.js";
import { Application } from "./engine.suite.js";
import { KafkaJsTransport } from "./kafkajs/transport.js";
import { silentLogger } from "./logger.js";
import type { Fetcher, FetcherOptions } from "./transport.js";

const counted = (value: Uint8Array | null): number => int64.deserialize(value as Buffer);

// ---- a task that restores ----

const LARGE_ROWS = 200_000;
const LARGE = 0;
const SMALL_PARTITIONS = [1, 2];
const WRITE_ROUND = 20_000;

/** Restores as from a slow broker: a fetch of the large changelog alone is not answered before it is let. */
class SlowRestore extends KafkaJsTransport {
  letGo = (): void => undefined;
  heldBack = 0;
  readonly #isLet = new Promise<void>((resolve) => {
    this.letGo = resolve;
  });

  override openFetcher(options: FetcherOptions): Fetcher {
    const inner = super.openFetcher(options);
    if (options.name !== "restore") return inner;
    return {
      fetch: async (request) => {
        if (request.positions.every(({ partition, offset }) => partition === LARGE && offset > 0)) {
          this.heldBack++;
          await this.#isLet;
        }
        return inner.fetch(request);
      },
      close: () => inner.close(),
    };
  }
}

function largeRows(from: number, count: number): ProbeRecord[] {
  return Array.from({ length: count }, (_, at) => ({ key: `large-${from + at}`, value: "x", partition: LARGE }));
}

async function lastCounts(probe: LogProbe, output: string): Promise<Map<string, number>> {
  return new Map((await probe.read(output)).map(({ key, value }) => [String(key), counted(value)]));
}

test("a task that restores a large changelog holds up no other: their records are counted and committed meanwhile", async () => {
  const application = await Application.open();
  const { probe, id } = application;
  const [input, output] = [await application.topic("in", 3), await application.topic("out", 3)];
  const builder = new StreamsBuilder();
  builder.stream(input, { key: string, value: string }).groupByKey().count("counts").toStream().to(output);
  const topology = builder.build();
  const small: ProbeRecord[] = SMALL_PARTITIONS.map((partition) => ({
    key: `small-${partition}`,
    value: "x",
    partition,
  }));
  const before = await application.start(topology);
  await probe.write(input, small);
  for (let from = 0; from < LARGE_ROWS; from += WRITE_ROUND) await probe.write(input, largeRows(from, WRITE_ROUND));
  await probe.caughtUp(id, input);
  await before.streams.close();
  await rm(application.stateDir(), { recursive: true });

  const transport = new SlowRestore({ client: { brokers: [...inject("kafkaBrokers")] }, logger: silentLogger });
  const after = await application.start(topology, { transport });
  const large = () => after.streams.status.tasks.find((task) => task.id === `0_${LARGE}`);
  await eventually("the large one is left alone with its restore", () => transport.heldBack > 0);
  // What comes while it restores, of its own partition too.
  const again = largeRows(0, 1_000);
  await probe.write(input, [...small, ...again]);
  const committed = async (): Promise<number[]> => {
    const partitions = [LARGE, ...SMALL_PARTITIONS].map((partition) => ({ topic: input, partition }));
    const offsets = await probe.transport.topics.committedOffsets(id, partitions, { requireStable: false });
    return partitions.map(({ partition }) => offsets.find((one) => one.partition === partition)?.offset ?? -1);
  };
  await eventually("the small ones commit", async () => (await committed()).slice(1).every((offset) => offset === 2));
  expect(large()?.state).toBe("restoring");
  expect(large()?.done).toBeLessThan(LARGE_ROWS);
  expect((await committed())[0]).toBe(LARGE_ROWS);
  const meanwhile = await lastCounts(probe, output);
  for (const { key } of small) expect(meanwhile.get(key as string)).toBe(2);

  transport.letGo();
  await after.runs(3);
  await probe.caughtUp(id, input);
  const counts = await lastCounts(probe, output);
  const twice = [...counts].filter(([, count]) => count === 2).map(([key]) => key);
  expect(counts.size).toBe(LARGE_ROWS + small.length);
  expect(new Set(twice)).toEqual(new Set([...small, ...again].map(({ key }) => key)));
  expect(new Set(counts.values())).toEqual(new Set([1, 2]));
});

// ---- repartition topics ----

const COLORS = ["amber", "blue", "cyan", "dun"];
const FENCES = 3;
const PER_ROUND = 400;

function byColor(input: string, output: string): ProcessorTopology {
  const builder = new StreamsBuilder();
  const colors = builder.stream(input, { key: string, value: string }).groupBy((color) => color, { key: string });
  colors.count("by-color", { cache: false }).toStream().to(output);
  return builder.build();
}

/** Does what a second instance with its transactional id would: the commit in flight is undone, and its session is dropped. */
async function fence({ probe, id }: Application, input: string): Promise<void> {
  const [committed] = await probe.transport.topics.committedOffsets(id, [{ topic: input, partition: 0 }], {
    requireStable: false,
  });
  const transactionalId = decodeCommitMetadata(committed?.metadata ?? "", [])?.owner as string;
  const zombie = probe.transport.openTransactionalProducer({ transactionalId, transactionTimeoutMs: 10_000 });
  await zombie.initialize();
  await zombie.close();
}

test.each(["exactly_once", "at_least_once"] as const)(
  "%s: a repartition topic is purged up to what is committed, and nothing that a dropped session still needs is gone",
  async (guarantee) => {
    const application = await Application.open();
    const { probe, id } = application;
    const [input, output] = [await application.topic("in", 2), await application.topic("out", 2)];
    const topology = byColor(input, output);
    const repartition = topology.subTopologies.flatMap(({ sources }) => sources.flatMap(({ topics }) => topics));
    const internal = `${id}-${repartition.find((ref) => ref.internal)?.name}`;
    let rounds = 0;
    const round = async (): Promise<void> => {
      rounds++;
      const records = Array.from({ length: PER_ROUND }, (_, at) => ({
        ...{ key: `${at}`, value: COLORS[at % COLORS.length] as string },
        partition: at % 2,
      }));
      await probe.write(input, records);
    };
    const committed = async (): Promise<number[]> => {
      const partitions = [0, 1].map((partition) => ({ topic: internal, partition }));
      const offsets = await probe.transport.topics.committedOffsets(id, partitions, { requireStable: false });
      return partitions.map(({ partition }) => offsets.find((one) => one.partition === partition)?.offset ?? 0);
    };
    const counts = async (): Promise<Map<string, number[]>> => {
      const found = new Map<string, number[]>(COLORS.map((color) => [color, []]));
      for (const { key, value } of await probe.read(output)) found.get(String(key))?.push(counted(value));
      return found;
    };

    const first = await (await application.start(topology, { guarantee })).runs(4);
    await round();
    await probe.caughtUp(id, input);
    for (let turn = 0; turn < FENCES; turn++) {
      await round();
      await fence(application, input);
      // The next session begins where Kafka says, and purges what lies before.
      await round();
      await probe.caughtUp(id, input);
      await probe.caughtUp(id, internal);
    }
    expect(first.streams.metrics.counter("rebalances_total", {}).value).toBeGreaterThan(FENCES);
    await first.streams.close();

    // It purges at its start, while new records come and are committed.
    const second = await application.start(topology, { guarantee });
    await second.runs(4);
    let story = "";
    await eventually(
      () => story,
      async () => {
        await round();
        const lows = await probe.lows(internal);
        const upTo = await committed();
        story = `${internal} begins at ${lows.join(", ")}, committed is ${upTo.join(", ")}`;
        for (const [partition, low] of lows.entries()) expect(low).toBeLessThanOrEqual(upTo[partition] as number);
        const used = upTo.filter((offset) => offset > 0);
        return used.length > 0 && lows.every((low, partition) => low > 0 === (upTo[partition] as number) > 0);
      },
      15_000,
    );
    await probe.caughtUp(id, input);
    await probe.caughtUp(id, internal);
    await second.streams.close();
    await rm(application.stateDir(), { recursive: true });

    // Without its own files it has the changelog and what the repartition topic still holds.
    await (await application.start(topology, { guarantee })).runs(4);
    await round();
    await probe.caughtUp(id, input);
    await probe.caughtUp(id, internal);
    const once = Array.from({ length: (rounds * PER_ROUND) / COLORS.length }, (_, at) => at + 1);
    for (const [color, numbers] of await counts()) {
      const all = new Set(numbers);
      expect(
        once.filter((number) => !all.has(number)),
        color,
      ).toEqual([]);
      // Under at_least_once what is sent to a repartition topic again counts again.
      if (guarantee === "exactly_once") expect(numbers, color).toEqual(once);
    }
  },
);
