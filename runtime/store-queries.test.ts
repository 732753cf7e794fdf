import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { string, unvalidatedJson } from "../serdes/index.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { count, mean, sum } from "../topology/aggregators.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { minutes, tumbling } from "../topology/windows.js";
import type { StreamsConfig } from "./config.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { KafkaStreams } from "./streams.js";

const PARTITIONS = 3;
const MINUTE_MS = 60_000;
const START_MS = Date.UTC(2026, 10, 22, 10);
const window = { startMs: START_MS, endMs: START_MS + MINUTE_MS };

interface Purchase {
  readonly cents: number;
  readonly atMs: number;
}

/** Windows of a minute, and totals over all time, of the same purchases. */
function purchases() {
  const builder = new StreamsBuilder();
  const grouped = builder
    .stream("in", { key: string, value: unvalidatedJson<Purchase>(), timestamp: (p) => p.atMs })
    .groupByKey();
  const perMinute = grouped
    .windowedBy(tumbling({ sizeMs: MINUTE_MS, graceMs: minutes(2) }))
    .aggregate("per-minute", { n: count(), cents: sum((p) => p.cents), average: mean((p) => p.cents) });
  const totals = grouped.aggregate("totals", { n: count(), cents: sum((p) => p.cents) });
  return { topology: builder.build(), perMinute, totals };
}

let stateDir: string;
let log: EmbeddedLog;
let probe: LogProbe;
const opened: KafkaStreams[] = [];

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "millrace-queries-"));
  log = new EmbeddedLog({ file: ":memory:" });
  const client = new EmbeddedTransport({ log });
  await client.connect();
  probe = new LogProbe(client);
  await probe.createTopic("in", PARTITIONS);
});

afterEach(async () => {
  for (const streams of opened.splice(0)) await streams.close();
  await probe.close();
  log.close();
  await rm(stateDir, { recursive: true, force: true });
});

function create(config: Partial<StreamsConfig> & { readonly instance?: string } = {}) {
  const { instance = "1", ...rest } = config;
  const tables = purchases();
  const streams = new KafkaStreams(tables.topology, {
    applicationId: "app",
    transport: new EmbeddedTransport({ log }),
    stateDir: join(stateDir, instance),
    commitIntervalMs: 5,
    ...rest,
  });
  opened.push(streams);
  return { streams, ...tables };
}

async function running(config: Partial<StreamsConfig> & { readonly instance?: string } = {}) {
  const made = create(config);
  await made.streams.start();
  await eventually("RUNNING", async () => made.streams.state === "RUNNING");
  return made;
}

function purchase(user: string, cents: number, atMs = START_MS) {
  return { key: user, value: JSON.stringify({ cents, atMs }) };
}

const users = Array.from({ length: 40 }, (_, at) => `user-${String(at).padStart(2, "0")}`);

describe("what was committed is read", () => {
  test("a window by its table, with the types and results of its aggregators", async () => {
    const { streams, perMinute } = await running();
    await probe.write("in", [purchase("ann", 250), purchase("ann", 50, START_MS + 59_999), purchase("bob", 7)]);
    await probe.caughtUp("app", "in");
    expect(streams.store(perMinute).get({ key: "ann", window })).toEqual({ n: 2, cents: 300, average: 150 });
    expect(streams.store(perMinute).get({ key: "bob", window })?.cents).toBe(7);
    expect(streams.store(perMinute).get({ key: "eve", window })).toBeUndefined();
    expect(streams.store(perMinute).get({ key: "ann", window: { startMs: 0 } })).toBeUndefined();
  });

  test("the windows of one key by start, within half-open times", async () => {
    const { streams, perMinute } = await running();
    const starts = [0, 1, 2].map((minute) => START_MS + minute * MINUTE_MS);
    await probe.write(
      "in",
      starts.map((atMs, at) => purchase("ann", at, atMs + 5)),
    );
    await probe.caughtUp("app", "in");
    const store = streams.store(perMinute);
    const found = [...store.fetch("ann")];
    expect(found.map((row) => [row.key, row.window.startMs, row.value.cents, row.timestampMs])).toEqual(
      starts.map((startMs, at) => ["ann", startMs, at, startMs + 5]),
    );
    const between = [...store.fetch("ann", { fromMs: starts[1] as number, toMs: starts[2] as number })];
    expect(between.map((row) => row.window)).toEqual([
      { startMs: starts[1], endMs: (starts[1] as number) + MINUTE_MS },
    ]);
    expect([...store.fetch("eve")]).toEqual([]);
  });

  test("all windows and all rows, over every partition", async () => {
    const { streams, perMinute, totals } = await running();
    await probe.write(
      "in",
      users.flatMap((user, at) => [purchase(user, at), purchase(user, 1, START_MS + MINUTE_MS)]),
    );
    await probe.caughtUp("app", "in");
    const all = [...streams.store(perMinute).fetchAll()];
    expect(all).toHaveLength(2 * users.length);
    const late = [...streams.store(perMinute).fetchAll({ fromMs: START_MS + MINUTE_MS })];
    expect(late.map(({ key }) => key).sort()).toEqual(users);
    const rows = new Map([...streams.store(totals).range()].map(({ key, value }) => [key, value.cents]));
    expect(rows).toEqual(new Map(users.map((user, at) => [user, at + 1])));
  });

  test("a range of keys is half open, in the order of their bytes within a partition", async () => {
    const { streams, totals } = await running();
    await probe.write(
      "in",
      users.map((user) => purchase(user, 1)),
    );
    await probe.caughtUp("app", "in");
    const keys = [...streams.store(totals).range({ from: "user-10", to: "user-20" })].map(({ key }) => key);
    expect([...keys].sort()).toEqual(users.slice(10, 20));
  });

  test("more rows than one slice, each once", async () => {
    const { streams, perMinute, totals } = await running();
    const many = Array.from({ length: 7_000 }, (_, at) => `u${at}`);
    await probe.write(
      "in",
      many.map((user) => purchase(user, 2)),
    );
    await probe.caughtUp("app", "in");
    const keys = (rows: Iterable<{ readonly key: string }>): string[] => [...rows].map(({ key }) => key).sort();
    expect(keys(streams.store(totals).range())).toEqual([...many].sort());
    expect(keys(streams.store(perMinute).fetchAll())).toEqual([...many].sort());
  });

  test("a filtered and mapped table shows what its operators make of the rows", async () => {
    const { streams, totals } = await running();
    await probe.write("in", [purchase("ann", 250), purchase("bob", 7)]);
    await probe.caughtUp("app", "in");
    const rich = totals.filter((total) => total.cents > 100).mapValues((total, { key }) => `${key}: ${total.cents}`);
    expect(streams.store(rich).get("ann")).toBe("ann: 250");
    expect(streams.store(rich).get("bob")).toBeUndefined();
    expect([...streams.store(rich).range()].map(({ value }) => value)).toEqual(["ann: 250"]);
  });

  test("by its name a store gives the same, and says its kind", async () => {
    const { streams } = await running();
    await probe.write("in", [purchase("ann", 250)]);
    await probe.caughtUp("app", "in");
    const store = streams.store("per-minute");
    expect(store).toMatchObject({ kind: "window", name: "per-minute", sizeMs: MINUTE_MS });
    if (store.kind === "window") expect(store.get({ key: "ann", window })).toEqual({ n: 1, cents: 250, average: 250 });
    expect(() => streams.store("nowhere")).toThrow(/no store "nowhere"; it has "per-minute", "totals"/);
  });

  test("segments that expire while they are read are left out from then on", async () => {
    const { streams, perMinute } = await running();
    const many = Array.from({ length: 1_500 }, (_, at) => `u${at}`);
    await probe.write(
      "in",
      many.map((user) => purchase(user, 2)),
    );
    await probe.caughtUp("app", "in");
    const rows = streams.store(perMinute).fetchAll();
    expect(rows.next().done).toBe(false);
    // An hour later every one of those windows is closed and its segment dropped, in each partition.
    await probe.write(
      "in",
      many.map((user) => purchase(user, 1, START_MS + 60 * MINUTE_MS)),
    );
    await probe.caughtUp("app", "in");
    const starts = new Set([...rows].map((row) => row.window.startMs));
    expect(starts.has(START_MS + 60 * MINUTE_MS)).toBe(true);
  });
});

describe("what is not committed is not seen", () => {
  test("a query never counts a record whose offset is not committed", async () => {
    const { streams, totals } = await running({ commitIntervalMs: 200 });
    await probe.write("in", [purchase("ann", 1)]);
    await probe.caughtUp("app", "in");
    const consumed = streams.metrics.counter("records_consumed_total", { topic: "in" });
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic: "in", partition }));
    let isBehind = false;
    for (let round = 0; round < 100; round++) {
      await probe.write("in", [purchase("ann", 1)]);
      await new Promise((resolve) => setTimeout(resolve, 5));
      const processed = consumed.value;
      const seen = streams.store(totals).get("ann")?.n ?? 0;
      const offsets = await probe.transport.topics.committedOffsets("app", partitions, { requireStable: false });
      expect(seen).toBeLessThanOrEqual(offsets.reduce((sum, { offset = 0 }) => sum + offset, 0));
      if (seen < processed) isBehind = true;
    }
    expect(isBehind).toBe(true);
  });
});

describe("what is not here is an error that says so", () => {
  const codeOf = (work: () => unknown): unknown => {
    try {
      return work();
    } catch (error) {
      return (error as { readonly code?: unknown }).code;
    }
  };

  test("before the start and after the end", async () => {
    const { streams, totals } = create();
    expect(codeOf(() => streams.store(totals).get("ann"))).toBe("NOT_RUNNING");
    await streams.start();
    await eventually("RUNNING", async () => streams.state === "RUNNING");
    expect(streams.store(totals).get("ann")).toBeUndefined();
    await streams.close();
    expect(codeOf(() => streams.store(totals).get("ann"))).toBe("NOT_RUNNING");
    expect(codeOf(() => [...streams.store(totals).range()])).toBe("NOT_RUNNING");
  });

  test("while it joins", async () => {
    const { streams, totals } = create();
    await streams.start();
    expect(codeOf(() => streams.store(totals).get("ann"))).toBe("STORE_RESTORING");
  });

  test("an iterator whose task goes to another instance ends with an error, and reads nothing that is old", async () => {
    const first = await running();
    const many = Array.from({ length: 9_000 }, (_, at) => `u${at}`);
    await probe.write(
      "in",
      many.map((user) => purchase(user, 2)),
    );
    await probe.caughtUp("app", "in");
    const rows = first.streams.store(first.totals).range();
    for (let at = 0; at < 10; at++) rows.next();
    const second = await running({ instance: "2" });
    await eventually("both have tasks", async () =>
      [first, second].every(({ streams }) => streams.state === "RUNNING" && streams.status.tasks.length > 0),
    );
    const tasks = first.streams.status.tasks.length + second.streams.status.tasks.length;
    expect(tasks).toBe(PARTITIONS);
    const keysOf = ({ streams, totals }: typeof first): string[] =>
      [...streams.store(totals).range()].map(({ key }) => key);
    // Each sees its own part, and together they see all.
    expect([...keysOf(first), ...keysOf(second)].sort()).toEqual([...many].sort());
    expect(["STORE_MOVED", "STORE_RESTORING"]).toContain(codeOf(() => [...rows].length));
  });
});
