// npm run build && node --max-semi-space-size=8 --import tsx bench/tasks.ts [--records 3000000] [--users 1000000] [--hours 0.6] [--dist dist]
// What the pipeline's tasks cost without a broker: they process, commit and write to SQLite; nothing is fetched or sent. For profiles, and for pairs of runs of
// two builds, which differ by 2 % where runs with a broker differ by 5. The load is made first, into a file, and is not counted.
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import type { StreamsMetrics } from "../metrics/metrics.js";
import type { Committer } from "../runtime/commit.js";
import type { StreamTask } from "../runtime/task.js";
import type { PartitionBatch, ProduceResult, TopicAdmin, TransactionalProducer } from "../runtime/transport.js";
import { Batches } from "./batches.js";
import { PurchaseSource } from "./purchase-source.js";

const { values: flags } = parseArgs({
  options: {
    records: { type: "string", default: "3000000" },
    users: { type: "string", default: "1000000" },
    hours: { type: "string", default: "0.6" },
    dist: { type: "string", default: "dist" },
  },
});

/** A module as it was built: what runs is compiled by another compiler than tsx, and `millrace` in the app is that build as well. */
async function built<T>(path: string): Promise<T> {
  return (await import(pathToFileURL(resolve(flags.dist, path)).href)) as T;
}

const [app, metrics, commit, names, log, task, taskMetrics, clock, directory, stores] = await Promise.all([
  built<typeof import("../apps/purchase/topology.js")>("apps/purchase/topology.js"),
  built<typeof import("../metrics/metrics.js")>("metrics/metrics.js"),
  built<typeof import("../runtime/commit.js")>("runtime/commit.js"),
  built<typeof import("../runtime/internal-topics.js")>("runtime/internal-topics.js"),
  built<typeof import("../runtime/logger.js")>("runtime/logger.js"),
  built<typeof import("../runtime/task.js")>("runtime/task.js"),
  built<typeof import("../runtime/task-metrics.js")>("runtime/task-metrics.js"),
  built<typeof import("../runtime/thread-clock.js")>("runtime/thread-clock.js"),
  built<typeof import("../runtime/topic-directory.js")>("runtime/topic-directory.js"),
  built<typeof import("../stores/open-stores.js")>("stores/open-stores.js"),
]);

const PARTITIONS = 9;
const START_MS = 1_760_000_000_000;
/** What a fetch brings of one partition while there is a backlog, and so what a task processes before the next has its turn. */
const TURN_RECORDS = 12_000;
const WRITE_EVERY_COMMITS = 2;
const HEADER_BYTES = 8;
const END_OF_ROUND = -1;
const HANDLERS = { deserialization: "fail", processing: "fail", production: "fail" } as const;
const GROUP = { groupId: "bench", generationId: 1, memberId: "one", groupInstanceId: "one" };
const STAMP = { producerId: 1n, producerEpoch: 0, baseSequence: 0, transactional: true };

/** A file of batches, each behind its partition and its length, and an end behind each round of all partitions. */
function writeLoad(file: string, records: number): void {
  const source = new PurchaseSource({ seed: 42, users: Number(flags.users), partitions: PARTITIONS, late: 0.1 });
  const out = openSync(file, "w");
  const header = Buffer.alloc(HEADER_BYTES);
  const offsets = new Array<number>(PARTITIONS).fill(0);
  for (let made = 0; made < records; ) {
    const round = new Batches("in");
    for (const end = Math.min(records, made + TURN_RECORDS * PARTITIONS); made < end; made++) {
      const ingestionMs = START_MS + Math.floor((made * Number(flags.hours) * 3_600_000) / records);
      const { partition, key, value } = source.next(ingestionMs);
      round.append(partition, ingestionMs, key, value);
    }
    for (const { partition, batch } of round.all) {
      const bytes = batch.seal(undefined, BigInt(offsets[partition] as number));
      offsets[partition] = (offsets[partition] as number) + batch.count;
      header.writeInt32LE(partition, 0);
      header.writeInt32LE(bytes.length, 4);
      writeSync(out, header);
      writeSync(out, bytes);
    }
    header.writeInt32LE(END_OF_ROUND, 0);
    writeSync(out, header);
  }
  closeSync(out);
}

/** Takes batches as a broker does: they are sealed, and get the offsets that follow. */
class ProducerToNowhere implements TransactionalProducer {
  readonly transactionalId = "bench";
  readonly #offsets = new Map<string, number>();

  async produce(batches: readonly PartitionBatch[]): Promise<readonly ProduceResult[]> {
    return batches.map(({ topic, partition, batch }) => {
      const name = `${topic}-${partition}`;
      const baseOffset = this.#offsets.get(name) ?? 0;
      batch.seal(STAMP);
      this.#offsets.set(name, baseOffset + batch.count);
      return { baseOffset };
    });
  }

  announce(): void {}
  begin(): void {}
  async initialize(): Promise<void> {}
  async sendOffsets(): Promise<void> {}
  async commit(): Promise<void> {}
  async abort(): Promise<void> {}
  async close(): Promise<void> {}
}

function openTasks(directory: string, registry: StreamsMetrics): StreamTask[] {
  const topics = { inputTopic: "in", outputTopic: "out", lateTopic: "late", expiredTopic: "expired" };
  const topology = app.purchaseTopology({ ...topics, deadLetterTopic: "dead", emit: "update" }).build();
  const [subTopology] = topology.subTopologies;
  if (subTopology === undefined) throw new RangeError("the purchase topology has one sub-topology");
  return Array.from({ length: PARTITIONS }, (_, partition) => {
    const state = stores.openTaskState({ file: join(directory, `${partition}.sqlite`), stores: subTopology.stores });
    return new task.StreamTask({
      ...{ subTopology, partition, state, clocks: {}, topicIds: {}, commitNumber: 0 },
      handlers: HANDLERS,
      metrics: new taskMetrics.TaskMetrics(registry, subTopology),
      topicName: ({ name }) => name,
      partitionCount: () => PARTITIONS,
      startOffsets: [{ topic: "in", partition, offset: 0 }],
    });
  });
}

function openCommitter(registry: StreamsMetrics): Committer {
  const producer = new ProducerToNowhere();
  return new commit.Committer({
    ...{ guarantee: "exactly_once", outputs: producer, transactions: producer, metrics: registry, handlers: HANDLERS },
    // Never asked: the tasks know how wide every topic is.
    directory: new directory.TopicDirectory({} as TopicAdmin),
    names: new names.TopicNames("bench"),
    logger: log.silentLogger,
    clock: new clock.ThreadClock(registry, 1),
    now: Date.now,
  });
}

/** Gives one round to the tasks; false at the end of the load. */
function readRound(input: number, tasks: readonly StreamTask[]): boolean {
  const header = Buffer.alloc(HEADER_BYTES);
  while (readSync(input, header) > 0) {
    const partition = header.readInt32LE(0);
    if (partition === END_OF_ROUND) return true;
    const records = Buffer.allocUnsafeSlow(header.readInt32LE(4));
    readSync(input, records);
    const reader = tasks[partition] as StreamTask;
    const end = { highWatermark: Number.MAX_SAFE_INTEGER, lastStableOffset: Number.MAX_SAFE_INTEGER };
    const offset = reader.queues[0]?.fetchPosition ?? 0;
    reader.add({ topic: "in", partition, offset, records, aborted: [], ...end, logStartOffset: 0, fault: undefined });
  }
  return false;
}

async function main(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "millrace-tasks-"));
  try {
    const file = join(scratch, "load");
    writeLoad(file, Number(flags.records));
    const registry = new metrics.StreamsMetrics({ applicationId: "bench" });
    const tasks = openTasks(scratch, registry);
    const committer = openCommitter(registry);
    const input = openSync(file, "r");
    const before = process.cpuUsage();
    let [records, commits] = [0, 0];
    while (readRound(input, tasks)) {
      for (const one of tasks) {
        for (let done = -1; done !== 0; records += done) done = one.process(TURN_RECORDS, { waitForOthers: true });
        if (!one.isDirty) continue;
        await committer.commit([one.take()], GROUP);
        if (++commits % WRITE_EVERY_COMMITS === 0) for (const other of tasks) other.write();
      }
    }
    const { user, system } = process.cpuUsage(before);
    closeSync(input);
    console.log(`${records} records: ${((user + system) / records).toFixed(2)} µs of CPU each`);
    for (const one of tasks) one.close();
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

await main();
