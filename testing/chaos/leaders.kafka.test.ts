import { afterAll, beforeAll, expect, test } from "vitest";
import { type ProcessorTopology, StreamsBuilder } from "../../index.js";
import { Application, type Instance } from "../../runtime/engine.suite.js";
import { int64, string } from "../../serdes/index.js";
import { type LocalCluster, startJarCluster } from "../kafka/jar-cluster.js";
import { eventually } from "../log-probe.suite.js";
import { LogReader } from "./log-reader.js";

const PARTITIONS = 4;
const KEYS = 40;
const ROUNDS = 2;
/** Of a second: often enough that every fault hits commits in flight. */
const WRITE_EVERY_MS = 50;
const WRITTEN_AT_ONCE = 25;
/** Kafka's own topics, whose leaders are the coordinators of groups and transactions. */
const COORDINATORS = ["__consumer_offsets", "__transaction_state"];

let cluster: LocalCluster;

beforeAll(async () => {
  cluster = await startJarCluster();
});

afterAll(() => cluster?.stop());

/** Every record passed on as it is, and its key counted behind a repartition topic: what is lost or doubled anywhere shows. */
function counting(topics: {
  readonly input: string;
  readonly copies: string;
  readonly counts: string;
}): ProcessorTopology {
  const builder = new StreamsBuilder();
  const records = builder.stream(topics.input, { key: string, value: string });
  records.to(topics.copies);
  records
    .groupBy((id) => `key-${Number(id) % KEYS}`, { key: string })
    .count("counts")
    .toStream()
    .to(topics.counts, { value: int64 });
  return builder.build();
}

/** Writes ids, from 0 on, until it is ended. */
class Load {
  readonly #done: Promise<void>;
  written = 0;
  #ended = false;

  constructor(write: (ids: readonly string[]) => Promise<void>) {
    this.#done = this.#run(write);
  }

  async end(): Promise<void> {
    this.#ended = true;
    await this.#done;
  }

  async #run(write: (ids: readonly string[]) => Promise<void>): Promise<void> {
    while (!this.#ended) {
      await write(Array.from({ length: WRITTEN_AT_ONCE }, (_, at) => String(this.written + at)));
      this.written += WRITTEN_AT_ONCE;
      await new Promise((resolve) => setTimeout(resolve, WRITE_EVERY_MS));
    }
  }
}

/** Kills each broker in turn and starts it again. Returns who has led each partition at some time. */
async function killAll(topics: readonly string[]): Promise<ReadonlyMap<string, ReadonlySet<number>>> {
  const leaders = new Map<string, Set<number>>();
  const isSettled = async (isFine: (leader: number, inSync: readonly number[]) => boolean): Promise<boolean> => {
    const partitions = await cluster.partitions(topics);
    for (const { topic, partition, leader } of partitions) {
      if (leader < 0) continue;
      const name = `${topic}-${partition}`;
      leaders.set(name, (leaders.get(name) ?? new Set()).add(leader));
    }
    return partitions.every(({ leader, inSync }) => isFine(leader, inSync));
  };
  for (const nodeId of cluster.nodeIds) {
    await eventually("all replicas are in sync", () => isSettled((_, inSync) => inSync.length === 3));
    await cluster.kill(nodeId);
    await eventually(`broker ${nodeId} leads nothing`, () => isSettled((leader) => leader >= 0 && leader !== nodeId));
    await cluster.restart(nodeId);
  }
  return leaders;
}

function newSessions({ lines }: Instance): number {
  return lines.filter(({ message }) => message.includes("trying again")).length;
}

function modelOf(written: number): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (let id = 0; id < written; id++) counts.set(`key-${id % KEYS}`, (counts.get(`key-${id % KEYS}`) ?? 0) + 1);
  return counts;
}

test("brokers that are killed one after the other, each twice, under load: every record counts once", async () => {
  const application = await Application.open(cluster.brokers);
  const topics = {
    input: await application.topic("in", PARTITIONS),
    copies: await application.topic("copies", PARTITIONS),
    counts: await application.topic("counts", PARTITIONS),
  };
  const topology = counting(topics);
  const instances: Instance[] = [];
  for (const instance of ["1", "2"]) instances.push(await application.start(topology, { instance }));
  for (const instance of instances) await instance.running();
  const load = new Load((ids) =>
    application.probe.write(
      topics.input,
      ids.map((id) => ({ key: id, value: id })),
    ),
  );
  for (let round = 0; round < ROUNDS; round++) {
    const leaders = await killAll([...Object.values(topics), ...COORDINATORS]);
    for (const [partition, nodeIds] of leaders) expect(nodeIds.size, `leaders of ${partition}`).toBeGreaterThan(1);
  }
  await load.end();

  // Kafka's own read-committed client says what stands there.
  const reader = await LogReader.open(cluster.brokers, application.id, Object.values(topics));
  const read = { input: [] as string[], copies: [] as string[] };
  const counts = new Map<string, number>();
  const counted = (): number => [...counts.values()].reduce((sum, count) => sum + count, 0);
  try {
    await eventually(
      () => `${load.written} are counted; it is ${counted()}`,
      async () => {
        for await (const { topic, key, value } of reader.read(60)) {
          if (topic === topics.counts) counts.set(String(key), int64.deserialize(value as Buffer));
          else read[topic === topics.input ? "input" : "copies"].push(String(value));
        }
        return counted() >= load.written;
      },
    );
  } finally {
    reader.close();
  }
  for (const { streams } of instances) expect(streams.failure).toBeUndefined();
  console.log(`${load.written} records; the instances began ${instances.map(newSessions).join(" and ")} new sessions`);
  const ids = Array.from({ length: load.written }, (_, id) => String(id)).sort();
  expect(read.input.sort()).toEqual(ids);
  expect(read.copies.sort()).toEqual(ids);
  expect(counts).toEqual(modelOf(load.written));
}, 180_000);
