import { describe, expect, test } from "vitest";
import { eventually } from "../testing/log-probe.suite.js";
import { MINUTE_MS, PARTITIONS, purchase, START_MS, useQueries } from "./query-fixture.suite.js";

const instances = useQueries();
const window = { startMs: START_MS, endMs: START_MS + MINUTE_MS };
const users = Array.from({ length: 40 }, (_, at) => `user-${String(at).padStart(2, "0")}`);

describe("what was committed is read", () => {
  test("a window by its table, with the types and results of its aggregators", async () => {
    const { streams, perMinute } = await instances.running();
    await instances.write([purchase("ann", 250), purchase("ann", 50, START_MS + 59_999), purchase("bob", 7)]);
    expect(streams.store(perMinute).get({ key: "ann", window })).toEqual({ n: 2, cents: 300, average: 150 });
    expect(streams.store(perMinute).get({ key: "bob", window })?.cents).toBe(7);
    expect(streams.store(perMinute).get({ key: "eve", window })).toBeUndefined();
    expect(streams.store(perMinute).get({ key: "ann", window: { startMs: 0 } })).toBeUndefined();
  });

  test("the windows of one key by start, within half-open times", async () => {
    const { streams, perMinute } = await instances.running();
    const starts = [0, 1, 2].map((minute) => START_MS + minute * MINUTE_MS);
    await instances.probe.write(
      "in",
      starts.map((atMs, at) => purchase("ann", at, atMs + 5)),
    );
    await instances.probe.caughtUp("app", "in");
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
    const { streams, perMinute, totals } = await instances.running();
    await instances.probe.write(
      "in",
      users.flatMap((user, at) => [purchase(user, at), purchase(user, 1, START_MS + MINUTE_MS)]),
    );
    await instances.probe.caughtUp("app", "in");
    const all = [...streams.store(perMinute).fetchAll()];
    expect(all).toHaveLength(2 * users.length);
    const late = [...streams.store(perMinute).fetchAll({ fromMs: START_MS + MINUTE_MS })];
    expect(late.map(({ key }) => key).sort()).toEqual(users);
    const rows = new Map([...streams.store(totals).range()].map(({ key, value }) => [key, value.cents]));
    expect(rows).toEqual(new Map(users.map((user, at) => [user, at + 1])));
  });

  test("a range of keys is half open, in the order of their bytes within a partition", async () => {
    const { streams, totals } = await instances.running();
    await instances.probe.write(
      "in",
      users.map((user) => purchase(user, 1)),
    );
    await instances.probe.caughtUp("app", "in");
    const keys = [...streams.store(totals).range({ from: "user-10", to: "user-20" })].map(({ key }) => key);
    expect([...keys].sort()).toEqual(users.slice(10, 20));
  });

  test("more rows than one slice, each once", async () => {
    const { streams, perMinute, totals } = await instances.running();
    const many = Array.from({ length: 7_000 }, (_, at) => `u${at}`);
    await instances.probe.write(
      "in",
      many.map((user) => purchase(user, 2)),
    );
    await instances.probe.caughtUp("app", "in");
    const keys = (rows: Iterable<{ readonly key: string }>): string[] => [...rows].map(({ key }) => key).sort();
    expect(keys(streams.store(totals).range())).toEqual([...many].sort());
    expect(keys(streams.store(perMinute).fetchAll())).toEqual([...many].sort());
  });

  test("a filtered and mapped table shows what its operators make of the rows", async () => {
    const { streams, totals } = await instances.running();
    await instances.write([purchase("ann", 250), purchase("bob", 7)]);
    const rich = totals.filter((total) => total.cents > 100).mapValues((total, { key }) => `${key}: ${total.cents}`);
    expect(streams.store(rich).get("ann")).toBe("ann: 250");
    expect(streams.store(rich).get("bob")).toBeUndefined();
    expect([...streams.store(rich).range()].map(({ value }) => value)).toEqual(["ann: 250"]);
  });

  test("by its name a store gives the same, and says its kind", async () => {
    const { streams } = await instances.running();
    await instances.write([purchase("ann", 250)]);
    const store = streams.store("per-minute");
    expect(store).toMatchObject({ kind: "window", name: "per-minute", sizeMs: MINUTE_MS });
    if (store.kind === "window") expect(store.get({ key: "ann", window })).toEqual({ n: 1, cents: 250, average: 250 });
    expect(() => streams.store("nowhere")).toThrow(/no store "nowhere"; it has "per-minute", "totals"/);
  });

  test("segments that expire while they are read are left out from then on", async () => {
    const { streams, perMinute } = await instances.running();
    const many = Array.from({ length: 1_500 }, (_, at) => `u${at}`);
    await instances.probe.write(
      "in",
      many.map((user) => purchase(user, 2)),
    );
    await instances.probe.caughtUp("app", "in");
    const rows = streams.store(perMinute).fetchAll();
    expect(rows.next().done).toBe(false);
    // An hour later every one of those windows is closed and its segment dropped, in each partition.
    await instances.probe.write(
      "in",
      many.map((user) => purchase(user, 1, START_MS + 60 * MINUTE_MS)),
    );
    await instances.probe.caughtUp("app", "in");
    const starts = new Set([...rows].map((row) => row.window.startMs));
    expect(starts.has(START_MS + 60 * MINUTE_MS)).toBe(true);
  });
});

describe("what is not committed is not seen", () => {
  test("a query never counts a record whose offset is not committed", async () => {
    const { streams, totals } = await instances.running({ commitIntervalMs: 200 });
    await instances.write([purchase("ann", 1)]);
    const consumed = streams.metrics.counter("records_consumed_total", { topic: "in" });
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic: "in", partition }));
    let isBehind = false;
    for (let round = 0; round < 100; round++) {
      await instances.probe.write("in", [purchase("ann", 1)]);
      await new Promise((resolve) => setTimeout(resolve, 5));
      const processed = consumed.value;
      const seen = streams.store(totals).get("ann")?.n ?? 0;
      const offsets = await instances.probe.transport.topics.committedOffsets("app", partitions, {
        requireStable: false,
      });
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
    const { streams, totals } = instances.create();
    expect(codeOf(() => streams.store(totals).get("ann"))).toBe("NOT_RUNNING");
    await streams.start();
    await eventually("RUNNING", async () => streams.state === "RUNNING");
    expect(streams.store(totals).get("ann")).toBeUndefined();
    await streams.close();
    expect(codeOf(() => streams.store(totals).get("ann"))).toBe("NOT_RUNNING");
    expect(codeOf(() => [...streams.store(totals).range()])).toBe("NOT_RUNNING");
  });

  test("while it joins", async () => {
    const { streams, totals } = instances.create();
    await streams.start();
    expect(codeOf(() => streams.store(totals).get("ann"))).toBe("STORE_RESTORING");
  });

  test("an iterator whose task goes to another instance ends with an error, and reads nothing that is old", async () => {
    const first = await instances.running();
    const many = Array.from({ length: 9_000 }, (_, at) => `u${at}`);
    await instances.write(many.map((user) => purchase(user, 2)));
    const rows = first.streams.store(first.totals).range();
    for (let at = 0; at < 10; at++) rows.next();
    const second = await instances.running({ instance: "2" });
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
