import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { int64, string } from "../serdes/index.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { ProcessingGuarantee } from "./config.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { KafkaStreams } from "./streams.js";
import type { CommittedOffset, FetchRequest } from "./transport.js";

const INPUT = [{ topic: "in", partition: 0 }];

let stateDir: string;
let log: EmbeddedLog;
let probe: LogProbe;
let started: KafkaStreams[];

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "millrace-stale-opening-"));
  log = new EmbeddedLog({ file: ":memory:" });
  probe = new LogProbe(new EmbeddedTransport({ log }));
  started = [];
  await probe.transport.connect();
  await probe.createTopic("in", 1);
  await probe.createTopic("out", 1);
});

afterEach(async () => {
  for (const streams of started) await streams.close();
  await probe.close();
  log.close();
  await rm(stateDir, { recursive: true, force: true });
});

async function start(
  transport: EmbeddedTransport,
  directory: string,
  guarantee: ProcessingGuarantee = "exactly_once",
): Promise<KafkaStreams> {
  const builder = new StreamsBuilder();
  const records = builder.stream("in", { key: string, value: string });
  records.groupByKey().count("counts", { cache: false }).toStream().to("out", { value: int64 });
  const config = { applicationId: "app", transport, stateDir: join(stateDir, directory), commitIntervalMs: 5 };
  const streams = new KafkaStreams(builder.build(), { ...config, guarantee });
  started.push(streams);
  await streams.start();
  return streams;
}

/** Another instance reads on, until everything is committed, and is closed. */
async function readOn(records: number): Promise<void> {
  await probe.write(
    "in",
    Array.from({ length: records }, () => ({ key: "ann", value: "x" })),
  );
  const other = await start(new EmbeddedTransport({ log }), "other");
  await probe.caughtUp("app", "in");
  await other.close();
}

const committed = (): Promise<readonly CommittedOffset[]> =>
  probe.transport.topics.committedOffsets("app", INPUT, { requireStable: true });

const cut = (offset: number): Promise<void> =>
  probe.transport.topics.deleteRecords(INPUT.map((at) => ({ ...at, offset })));

/** A process that was stopped with this answer in its hands: its first opening goes on from it. */
function awoken(answer: readonly CommittedOffset[]): EmbeddedTransport {
  const transport = new EmbeddedTransport({ log });
  const { topics } = transport;
  const ask = topics.committedOffsets.bind(topics);
  let held: readonly CommittedOffset[] | undefined = answer;
  topics.committedOffsets = async (groupId, partitions, options) => {
    const now = await ask(groupId, partitions, options);
    if (!options.requireStable || held === undefined) return now;
    const before = held;
    held = undefined;
    return before;
  };
  return transport;
}

async function counted(): Promise<number[]> {
  return (await probe.read("out")).map(({ value }) => int64.deserialize(value as Buffer));
}

const upTo = (most: number): number[] => Array.from({ length: most }, (_, at) => at + 1);

describe("a process that was stopped in the midst of opening, while another went on, opens its tasks again", () => {
  async function goesOn(streams: KafkaStreams): Promise<void> {
    await eventually(
      () => `it runs; it is ${streams.state} (${streams.failure?.message ?? streams.status.reason})`,
      () => streams.state === "RUNNING" || streams.failure !== undefined,
    );
    expect(streams.failure).toBeUndefined();
    await probe.write("in", [{ key: "ann", value: "x" }]);
    await probe.caughtUp("app", "in");
    // 2 records before it was stopped, 3 while it was, 1 now: each once.
    expect(await counted()).toEqual(upTo(6));
  }

  test("where the log was cut behind what the other has read", async () => {
    await readOn(2);
    const before = await committed();
    await readOn(3);
    await cut(5);
    await goesOn(await start(awoken(before), "awoken"));
  });

  test.each(["exactly_once", "at_least_once"] as const)(
    "where the log still has what the other has read, and the changelog what came of it: %s",
    async (guarantee) => {
      await readOn(2);
      const before = await committed();
      await readOn(3);
      await goesOn(await start(awoken(before), "awoken", guarantee));
    },
  );

  test("where nothing was committed yet when it asked, and now there is state", async () => {
    const before = await committed();
    expect(before).toEqual([{ ...INPUT[0], offset: undefined, metadata: "" }]);
    await readOn(5);
    await goesOn(await start(awoken(before), "awoken"));
  });
});

/** It has read one record, and `before` is done once, as it asks for the next. */
async function runningUntil(before: () => Promise<void>) {
  const transport = new EmbeddedTransport({ log });
  const open = transport.openFetcher.bind(transport);
  let [isDue, askedAt] = [false, -1];
  transport.openFetcher = (options) => {
    const inner = open(options);
    if (options.name !== "sources") return inner;
    const fetch = inner.fetch.bind(inner);
    const later = async (request: FetchRequest) => {
      if (isDue) {
        isDue = false;
        await before();
        askedAt = request.positions[0]?.offset ?? -1;
      }
      return fetch(request);
    };
    return Object.assign(inner, { fetch: later });
  };
  const streams = await start(transport, "1");
  await probe.write("in", [{ key: "ann", value: "x" }]);
  await probe.caughtUp("app", "in");
  isDue = true;
  await eventually("it asks for more", () => askedAt >= 0);
  expect(askedAt).toBe(1);
  return streams;
}

test("a process that was stopped while it ran, and then reads where the log has been cut, opens its tasks again", async () => {
  // What another owner would do: it reads three more, commits, and cuts the log behind itself.
  const streams = await runningUntil(async () => {
    const [at] = await committed();
    await probe.write(
      "in",
      upTo(3).map(() => ({ key: "bob", value: "x" })),
    );
    const owner = log.write(() => log.transactions.initialize("another", 10_000));
    log.write(() => log.transactions.addOffsets(owner, "app", [{ ...(at as CommittedOffset), offset: 4 }]));
    log.write(() => log.transactions.end(owner, "commit"));
    await cut(4);
  });
  await probe.write("in", [{ key: "ann", value: "x" }]);
  await eventually(
    () => `it has read all; it is ${streams.state} (${streams.failure?.message ?? streams.status.reason})`,
    async () => (await probe.lag("app", "in")) === 0 || streams.failure !== undefined,
  );
  expect(streams.failure).toBeUndefined();
  // The three of bob were the other one's; of ann it has counted each.
  expect(await counted()).toEqual(upTo(2));
});

describe("what really is not there any more still ends it, with the partition and the offsets:", () => {
  const message = "task 0_0 stands at in-0@1, but the log holds [2, 3)";

  async function deleteUnread(): Promise<void> {
    await probe.write(
      "in",
      upTo(2).map(() => ({ key: "ann", value: "x" })),
    );
    await cut(2);
  }

  async function ends(streams: KafkaStreams): Promise<void> {
    await eventually("it ends", () => streams.failure !== undefined);
    expect(streams.failure).toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
    expect(streams.failure?.message).toContain(message);
  }

  test("records deleted while nothing ran", async () => {
    await readOn(1);
    await deleteUnread();
    await ends(await start(new EmbeddedTransport({ log }), "1"));
  });

  test("records deleted before a running task has read them", async () => {
    await ends(await runningUntil(deleteUnread));
  });
});
