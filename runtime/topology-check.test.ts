import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { string } from "../serdes/serde.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { type AnyAggregator, count, countIf } from "../topology/aggregators.js";
import { StreamsBuilder } from "../topology/dsl.js";
import type { KStream } from "../topology/dsl-types.js";
import type { ProcessorTopology, SubTopology } from "../topology/processor-topology.js";
import { encodeCommitMetadata } from "./commit-metadata.js";
import { encodeStores } from "./definition-hashes.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { Instance } from "./engine.suite.js";

let stateDir: string;
let log: EmbeddedLog;
let probe: LogProbe;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "millrace-check-"));
  log = new EmbeddedLog({ file: ":memory:" });
  probe = new LogProbe(new EmbeddedTransport({ log }));
  await probe.transport.connect();
  await probe.createTopic("in", 2);
});

afterEach(async () => {
  log.close();
  await rm(stateDir, { recursive: true, force: true });
});

function build(shape: (input: KStream<string, string>) => void): ProcessorTopology {
  const builder = new StreamsBuilder();
  shape(builder.stream("in", { key: string, value: string }));
  return builder.build();
}

const counts = build((input) => input.groupByKey().count("counts"));

/** Runs it on one record of each partition, then ends it. */
async function run(topology: ProcessorTopology): Promise<Instance> {
  const transport = new EmbeddedTransport({ log });
  const instance = new Instance(topology, { applicationId: "app", transport, stateDir, commitIntervalMs: 5 });
  await instance.streams.start();
  await probe.write(
    "in",
    [0, 1].map((partition) => ({ key: `k${partition}`, value: "v", partition })),
  );
  await eventually("everything is read, or it has stopped", async () => {
    if (instance.streams.failure !== undefined) return true;
    // What came through the repartition topic is state only when that is read as well.
    return (await probe.lag("app", "in")) === 0 && (await probe.lag("app", "app-counts-repartition")) === 0;
  });
  await instance.streams.close();
  return instance;
}

/** What a commit of some other release leaves beside the position of partition 0. */
async function commit(metadata: string): Promise<void> {
  const { transport } = probe;
  const times = { sessionTimeoutMs: 6_000, rebalanceTimeoutMs: 6_000, heartbeatIntervalMs: 1_000 };
  const member = transport.openGroupMember({ groupId: "app", groupInstanceId: "other", ...times });
  const assign = (): Map<string, Uint8Array> => new Map();
  const joined = await member.join({ topics: ["in"], metadata: new Uint8Array(), assign });
  const producer = transport.openTransactionalProducer({ transactionalId: "other", transactionTimeoutMs: 10_000 });
  await producer.initialize();
  producer.begin();
  const group = { groupId: "app", groupInstanceId: "other", ...joined };
  await producer.sendOffsets(group, [{ topic: "in", partition: 0, offset: 1, metadata }]);
  await producer.commit();
  await member.leave();
}

async function refusalOf(topology: ProcessorTopology): Promise<string> {
  const { failure } = (await run(topology)).streams;
  expect(failure).toMatchObject({ code: "TOPOLOGY_CHANGED" });
  return failure?.message ?? "";
}

const fields = (of: Readonly<Record<string, AnyAggregator<unknown>>>): ProcessorTopology =>
  build((input) => input.groupByKey().aggregate("sums", of));

describe("a topology that does not fit the state of its application is refused before it joins", () => {
  test("another aggregator in the place of a field's", async () => {
    await run(fields({ n: count() }));
    expect(await refusalOf(fields({ n: countIf(() => true) }))).toContain("field n was count and is countIf");
  });

  test("rows that were numbers and are aggregates of named fields", async () => {
    await run(counts);
    const named = build((input) => input.groupByKey().aggregate("counts", { n: count() }));
    expect(await refusalOf(named)).toMatch(/value was int64 and is json, a row was one state and is an aggregate/);
  });

  test("a store that is fed through a repartition topic now: its rows lie in the partitions of the old keys", async () => {
    await run(counts);
    const moved = build((input) => input.groupBy((value) => value, { key: string }).count("counts"));
    expect(await refusalOf(moved)).toContain('store "counts" is fed from other topics than before');
  });

  test("and one that no longer is", async () => {
    await run(build((input) => input.groupBy((value) => value, { key: string }).count("counts")));
    await run(counts).then(({ streams }) => expect(streams.failure).toMatchObject({ code: "TOPOLOGY_CHANGED" }));
  });

  test("a store that comes back after a release without it", async () => {
    await run(counts);
    expect((await run(build((input) => input.foreach(() => undefined)))).streams.failure).toBeUndefined();
    expect(await refusalOf(counts)).toMatch(/app-counts-changelog holds rows that an earlier topology left/);
  });

  test("an input with more partitions, also where no changelog topic would tell", async () => {
    const local = build((input) => input.groupByKey().count("counts", { changelog: false }));
    await run(local);
    const stores = encodeStores(local.subTopologies[0] as SubTopology, 1);
    await commit(encodeCommitMetadata({ commitNumber: 9, owner: "me", clocks: {}, stores }));
    expect(await refusalOf(local)).toContain('input of store "counts" (in) had 1 partitions and has 2');
  });

  test("positions that a newer release has committed", async () => {
    await run(counts);
    await commit(Buffer.from([3, 1]).toString("base64"));
    expect(await refusalOf(counts)).toContain("in-0 was committed by a newer release (format 3)");
  });

  test("a store whose rows no file here names: the commits alone tell", async () => {
    await run(fields({ n: count() }));
    await rm(stateDir, { recursive: true });
    expect(await refusalOf(build((input) => input.groupByKey().aggregate("totals", { n: count() })))).toMatch(
      /store "#[0-9a-f]{8}" has changed: it is gone and "totals" of the same kind is new/,
    );
  });
});

describe("what leaves the state good goes on, and the log says what becomes of it", () => {
  test.each([
    ["a field added", { n: count() }, { n: count(), m: count() }, /field m added: in rows that are there already/],
    ["a field removed", { n: count(), m: count() }, { n: count() }, /field m removed: a row loses it/],
  ] as const)("%s", async (_, before, after, said) => {
    await run(fields(before));
    const { streams, lines } = await run(fields(after));
    expect(streams.failure).toBeUndefined();
    expect(lines.map(({ message }) => message).join("\n")).toMatch(said);
  });

  test("a store that is removed in one release, and in the next one that could have been a renaming", async () => {
    await run(counts);
    const without = await run(build((input) => input.foreach(() => undefined)));
    expect(without.lines.some(({ message }) => message.includes('"counts" has changed: it is gone'))).toBe(true);
    const other = await run(build((input) => input.groupByKey().count("others")));
    expect(other.streams.failure).toBeUndefined();
    expect(other.lines.some(({ message }) => message.includes('"others" has changed: it is new'))).toBe(true);
  });

  test("a store that is removed while another sub-topology keeps one of the same kind: that one is not its heir", async () => {
    const both = (input: KStream<string, string>): KStream<string, string> => {
      input.groupBy((value) => value, { key: string }).count("by-value");
      return input;
    };
    await run(build((input) => both(input).groupByKey().count("counts")));
    const { streams, lines } = await run(build(both));
    expect(streams.failure).toBeUndefined();
    expect(lines.some(({ message }) => message.includes('"counts" has changed: it is gone'))).toBe(true);
    expect(lines.some(({ message }) => message.includes('"by-value" has changed'))).toBe(false);
  });

  test("a change that was taken is not told again, also in partitions where nothing came since", async () => {
    await run(fields({ n: count() }));
    const after = fields({ n: count(), m: count() });
    await run(after);
    expect((await run(after)).lines.filter(({ message }) => message.includes("has changed"))).toEqual([]);
  });
});
