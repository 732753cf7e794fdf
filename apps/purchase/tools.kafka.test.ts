import { existsSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { LoadStream } from "../../bench/load.js";
import type { PipelineProcess } from "../../bench/pipeline-process.js";
import { buildIfStale, NO_DIFFERENCES, Pipeline } from "./pipeline.suite.js";

const PARTITIONS = 3;
const START_MS = Date.UTC(2026, 10, 22, 10);
const HOUR_MS = 3_600_000;

beforeAll(buildIfStale);

function openLoad(pipeline: Pipeline, seed: number): Promise<LoadStream> {
  const { input: topic } = pipeline;
  return LoadStream.open(pipeline.probe.transport, { topic, users: 200, partitions: PARTITIONS, late: 0.1, seed });
}

async function ended(process: PipelineProcess): Promise<{ readonly code: number | string; readonly output: string }> {
  const code = await process.ended;
  return { code, output: process.output };
}

interface Row {
  readonly key: string;
  readonly window_start: string;
  readonly transaction_count: number;
  readonly late_transaction: number;
  readonly total_cents: number;
}

/** Every row is as the purchases sum up, and each window that cannot have expired is there. */
function expectSums(rows: readonly Row[], load: LoadStream): void {
  const found = new Map<string, object>();
  for (const row of rows) {
    const sums = { count: row.transaction_count, late: row.late_transaction, cents: row.total_cents };
    found.set(`${row.key}@${Date.parse(row.window_start)}`, sums);
  }
  const isLive = (key: string): boolean => found.has(key) || Number(key.split("@")[1]) >= START_MS;
  expect(found).toEqual(new Map([...load.expected].filter(([key]) => isLive(key))));
}

describe("reset", () => {
  test("after it the pipeline reads everything again, to the same sums; while an instance lives it is refused", async () => {
    const pipeline = await Pipeline.open();
    const load = await openLoad(pipeline, 21);
    await load.produce(20_000, START_MS, HOUR_MS);
    const first = pipeline.start();
    await pipeline.caughtUp();
    const environment = { STATE_DIR: pipeline.stateDir() };

    const refused = await ended(pipeline.command(["reset", "--yes"], environment));
    expect(refused.code).toBe(1);
    expect(refused.output).toMatch(/has 1 live members; stop every instance first/);
    expect(await first.end("SIGTERM")).toBe(0);
    expect(await pipeline.differences(load.expected)).toEqual(NO_DIFFERENCES);

    const dry = await ended(pipeline.command(["reset", "--dry-run"], environment));
    expect(dry.code).toBe(0);
    expect(dry.output).toContain(`would delete, for application "${pipeline.applicationId}"`);
    expect(dry.output).toContain(pipeline.changelog);
    expect(dry.output).toContain(pipeline.stateDir());
    expect(existsSync(pipeline.stateDir())).toBe(true);
    expect(await pipeline.probe.lag(pipeline.applicationId, pipeline.input)).toBe(0);

    // Nobody can be asked here, and it does not go on without an answer.
    const silent = await ended(pipeline.command(["reset"], environment));
    expect(silent.code).toBe(2);
    expect(silent.output).toMatch(/--yes: is needed/);

    const done = await ended(pipeline.command(["reset", "--yes", "--outputs"], environment));
    expect(done).toMatchObject({ code: 0, output: expect.stringContaining("done:") });
    expect(existsSync(`${pipeline.stateDir()}/${pipeline.applicationId}`)).toBe(false);
    const { topics: admin } = pipeline.probe.transport;
    const topics = await admin.describe([pipeline.changelog, pipeline.output, pipeline.input]);
    expect(topics.map(({ topic }) => topic)).toEqual([pipeline.input]);

    const again = pipeline.start();
    await pipeline.ready(again);
    await pipeline.caughtUp();
    expect(await again.end("SIGTERM")).toBe(0);
    expect(await pipeline.differences(load.expected)).toEqual(NO_DIFFERENCES);
    expect(await pipeline.lateIds()).toHaveLength(load.lateIds.size);
  });
});

describe("queries of two running instances", () => {
  test("lag, SQL, one user's windows, forwarding and an offline state agree with the sums of the purchases", async () => {
    const pipeline = await Pipeline.open();
    const load = await openLoad(pipeline, 22);
    await load.produce(20_000, START_MS, HOUR_MS);
    const instances = [pipeline.start("1"), pipeline.start("2")];
    for (const instance of instances) await pipeline.ready(instance);
    await pipeline.caughtUp();

    const behind = await ended(pipeline.command(["lag", "--json", "--sample-ms", "100"]));
    expect(behind.code).toBe(0);
    expect(JSON.parse(behind.output)).toMatchObject({ group: pipeline.applicationId, lag: 0, seconds_left: 0 });

    const sql = encodeURIComponent("select * from purchases_per_user");
    const rows: Row[] = [];
    for (const instance of instances) {
      const answer = await instance.get(`/sql?q=${sql}&limit=10000`);
      const body = JSON.parse(answer?.text ?? "") as { readonly rows: readonly Row[]; readonly is_complete: boolean };
      expect(body.is_complete).toBe(true);
      rows.push(...body.rows);
    }
    expectSums(rows, load);

    // Whoever is asked, about a user of either: one of them has to ask the other.
    const user = rows[0]?.key as string;
    const windows = rows.filter(({ key }) => key === user).map((row) => row.total_cents);
    for (const instance of instances) {
      const answer = await instance.get(`/stores/purchases-per-user/keys/${user}`);
      const body = JSON.parse(answer?.text ?? "") as { readonly rows: { readonly value: Row }[] };
      expect(body.rows.map(({ value }) => value.total_cents).sort()).toEqual([...windows].sort());
    }
    for (const instance of instances) expect(await instance.end("SIGTERM")).toBe(0);

    const offline: Row[] = [];
    for (const instance of ["1", "2"]) {
      const process = pipeline.command(
        ["query", "--offline", "--json", "--limit", "10000", "select * from purchases_per_user"],
        {
          STATE_DIR: pipeline.stateDir(instance),
        },
      );
      const { code, output } = await ended(process);
      expect(code).toBe(0);
      offline.push(...(JSON.parse(output) as { readonly rows: readonly Row[] }).rows);
    }
    // Each has what it had when it last worked on a partition; together they have all of the newest.
    const newest = new Map(offline.map((row) => [`${row.key} ${row.window_start}`, row]));
    for (const row of offline) {
      const other = newest.get(`${row.key} ${row.window_start}`);
      if (other === undefined || row.transaction_count > other.transaction_count)
        newest.set(`${row.key} ${row.window_start}`, row);
    }
    expectSums([...newest.values()], load);
  });
});

describe("doctor", () => {
  test("on a broker that is there, all is well or has a way out; on one that is not, it fails", async () => {
    const pipeline = await Pipeline.open();
    await pipeline.probe.createTopic(pipeline.input, PARTITIONS);
    const environment = { STATE_DIR: pipeline.stateDir(), HTTP_PORT: "0" };
    const well = await ended(pipeline.command(["doctor", "--json"], environment));
    expect(well.code).toBe(0);
    const findings = JSON.parse(well.output) as { readonly check: string; readonly result: string }[];
    expect(findings.map(({ check }) => check)).toEqual([
      "node",
      "state directory",
      "http port",
      "brokers",
      "acls",
      "input topic",
      "output topics",
      "group",
      "clock",
    ]);
    expect(new Set(findings.map(({ result }) => result))).toEqual(new Set(["ok"]));
    const ill = await ended(pipeline.command(["doctor"], { ...environment, KAFKA_BROKERS: "127.0.0.1:1" }));
    expect(ill.code).toBe(1);
    expect(ill.output).toMatch(/failed +brokers/);
  });
});
