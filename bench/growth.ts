// npx tsx bench/growth.ts [--windows 1000] [--per-window 2000] [--users 1000]
// Event time through 1,000 windows of five minutes: resident memory, state directory and changelog must not grow with it.
// Compares the pipeline at window 1,000 with itself at window 100, and exits 1 when a bound is broken.
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { WINDOW_MS } from "../apps/purchase/model.js";
import { KafkaJsTransport } from "../runtime/kafkajs/transport.js";
import { silentLogger } from "../runtime/logger.js";
import type { Transport } from "../runtime/transport.js";
import { startLocalKafka } from "../testing/kafka/local-kafka.js";
import { check } from "./check.js";
import { LoadStream } from "./load.js";
import { PipelineProcess, until } from "./pipeline-process.js";

const { values: flags } = parseArgs({
  options: {
    windows: { type: "string", default: "1000" },
    "per-window": { type: "string", default: "2000" },
    users: { type: "string", default: "1000" },
  },
});
const windows = Number(flags.windows);
const perWindow = Number(flags["per-window"]);
const PARTITIONS = 3;
const START_MS = 1_760_000_100_000;
const TIMEOUT_MS = 120_000;
const REST_MS = 4_000;
/** How far the producer may run ahead: the pipeline must see event time pass, not a backlog. */
const AHEAD_WINDOWS = 20;
const PIPELINE = fileURLToPath(new URL("./growth-pipeline.ts", import.meta.url));

const BOUNDS = { residentMemory: 1.15, stateDirectory: 1.3, changelogPerLiveRow: 4 };

interface Measure {
  readonly residentBytes: number;
  readonly stateBytes: number;
  readonly changelogRecords: number;
  readonly liveRows: number;
}

async function directoryBytes(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true });
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function span(transport: Transport, topic: string): Promise<number> {
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition }));
  const total = (offsets: readonly { readonly offset: number }[]): number =>
    offsets.reduce((sum, { offset }) => sum + offset, 0);
  return (
    total(await transport.topics.offsets(partitions, "latest")) -
    total(await transport.topics.offsets(partitions, "earliest"))
  );
}

class Run {
  constructor(
    readonly transport: Transport,
    readonly pipeline: PipelineProcess,
    readonly applicationId: string,
    readonly input: string,
    readonly stateDir: string,
  ) {}

  async committed(): Promise<number> {
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic: this.input, partition }));
    const offsets = await this.transport.topics.committedOffsets(this.applicationId, partitions, {
      requireStable: false,
    });
    return offsets.reduce((sum, { offset }) => sum + (offset ?? 0), 0);
  }

  async caughtUp(records: number): Promise<void> {
    await until(
      async () => {
        if (this.pipeline.hasEnded) throw new Error(`the pipeline ended:\n${this.pipeline.output}`);
        return (await this.committed()) >= records;
      },
      `${records} records committed`,
      TIMEOUT_MS,
      50,
    );
  }

  async measure(): Promise<Measure> {
    // Expired changelog records are deleted up to two seconds after their segment, and looked for once a second.
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    await until(() => this.#areRowsCounted(), "the rows of the store are counted", TIMEOUT_MS);
    const rows = [...(await this.pipeline.metric("millrace_store_rows")).values()];
    return {
      residentBytes: this.pipeline.use().rssBytes,
      stateBytes: await directoryBytes(this.stateDir),
      changelogRecords: await span(this.transport, `${this.applicationId}-purchases-per-user-changelog`),
      liveRows: rows.reduce((sum, value) => sum + value, 0),
    };
  }

  /** Since what is there now has come to rest. */
  async #areRowsCounted(): Promise<boolean> {
    const ages = await this.pipeline.metric("millrace_store_rows_age_seconds");
    return ages.size > 0 && [...ages.values()].every((seconds) => seconds < REST_MS / 1_000);
  }
}

async function drive(run: Run, load: LoadStream): Promise<{ readonly early: Measure; readonly late: Measure }> {
  let early: Measure | undefined;
  for (let window = 1; window <= windows; window++) {
    await load.produce(perWindow, START_MS + (window - 1) * WINDOW_MS, WINDOW_MS);
    if (window % 10 === 0) await run.caughtUp((window - AHEAD_WINDOWS) * perWindow);
    if (window % 100 === 0) console.log(`window ${window} of ${windows}`);
    // A few records an interval keep commits coming, so that what expired is seen.
    if (window === Math.round(windows / 10)) {
      await run.caughtUp(window * perWindow);
      early = await run.measure();
    }
  }
  await run.caughtUp(windows * perWindow);
  return { early: early as Measure, late: await run.measure() };
}

function report(early: Measure, late: Measure): boolean {
  const rows = [
    {
      what: "resident memory, MB",
      early: early.residentBytes / 1e6,
      late: late.residentBytes / 1e6,
      ratio: late.residentBytes / early.residentBytes,
      bound: BOUNDS.residentMemory,
    },
    {
      what: "state directory, MB",
      early: early.stateBytes / 1e6,
      late: late.stateBytes / 1e6,
      ratio: late.stateBytes / early.stateBytes,
      bound: BOUNDS.stateDirectory,
    },
    {
      what: "changelog records per live row",
      early: early.changelogRecords / early.liveRows,
      late: late.changelogRecords / late.liveRows,
      ratio: late.changelogRecords / late.liveRows,
      bound: BOUNDS.changelogPerLiveRow,
    },
  ];
  const table = new Table({
    head: ["", `window ${Math.round(windows / 10)}`, `window ${windows}`, "figure", "at most", ""],
    style: { head: [], border: [] },
  });
  for (const { what, early: before, late: after, ratio, bound } of rows) {
    table.push([
      what,
      before.toFixed(1),
      after.toFixed(1),
      ratio.toFixed(2),
      bound.toFixed(2),
      ratio <= bound ? "ok" : "TOO MUCH",
    ]);
  }
  console.log(table.toString());
  return rows.every(({ ratio, bound }) => ratio <= bound);
}

async function main(): Promise<void> {
  const kafka = process.env.KAFKA_BROKERS === undefined ? await startLocalKafka() : undefined;
  const brokers = kafka?.brokers ?? (process.env.KAFKA_BROKERS ?? "").split(",");
  const transport = new KafkaJsTransport({ client: { brokers: [...brokers] }, logger: silentLogger });
  const applicationId = `growth-${Date.now()}`;
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-growth-"));
  try {
    await transport.connect();
    const input = `${applicationId}-in`;
    const load = await LoadStream.open(transport, {
      topic: input,
      users: Number(flags.users),
      partitions: PARTITIONS,
      late: 0.1,
      seed: 7,
    });
    for (const suffix of ["out", "late", "expired", "dead"]) {
      await transport.topics.create([
        {
          topic: `${applicationId}-${suffix}`,
          partitions: PARTITIONS,
          replicationFactor: -1,
          configs: { "retention.ms": "-1" },
        },
      ]);
    }
    const pipeline = new PipelineProcess({}, [
      "--import",
      "tsx",
      PIPELINE,
      brokers.join(","),
      applicationId,
      input,
      stateDir,
    ]);
    const run = new Run(transport, pipeline, applicationId, input, stateDir);
    const { early, late } = await drive(run, load);
    await pipeline.end("SIGTERM");
    const result = await check(transport, `${applicationId}-out`, load.expected);
    console.log(JSON.stringify(result));
    const isRight = result.missing + result.different + result.unexpected === 0;
    process.exitCode = report(early, late) && isRight ? 0 : 1;
    await load.close();
  } finally {
    await transport.close();
    await kafka?.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

await main();
