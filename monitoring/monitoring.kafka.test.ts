import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KafkaJsTransport, KafkaStreams, StreamsBuilder, serveHttp, silentLogger, tumbling } from "millrace";
import { NotLoadedError, type Serde, string } from "millrace/serdes";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { parse } from "yaml";
import { buildIfStale } from "../bench/build-if-stale.js";
import { PipelineProcess } from "../bench/pipeline-process.js";
import { freePort } from "../testing/kafka/free-port.js";
import { eventually, LogProbe, unique } from "../testing/log-probe.suite.js";
import { ROWS } from "./panels.js";
import { hurried, RealPrometheus } from "./real-prometheus.suite.js";

const CLI = fileURLToPath(new URL("../dist/apps/purchase/cli.js", import.meta.url));
const RULES = new URL("prometheus/rules/", import.meta.url);
const ALERT_TIMEOUT_MS = 60_000;

/** A serde that cannot read until its gate is open, as one whose schema registry is away. */
class Gate implements Serde<string> {
  readonly name = "gated";
  #opened: Promise<void> | undefined;
  #open: () => void = () => undefined;

  close(): void {
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.#opened = undefined;
    this.#open();
  }

  serialize(value: string): Uint8Array {
    return string.serialize(value);
  }

  deserialize(bytes: Uint8Array): string {
    const opened = this.#opened;
    if (opened !== undefined) throw new NotLoadedError("the gate is closed", () => opened);
    return string.deserialize(bytes);
  }
}

const brokers = inject("kafkaBrokers");
const directory = mkdtempSync(join(tmpdir(), "millrace-monitoring-"));
const connect = (): KafkaJsTransport =>
  new KafkaJsTransport({ client: { brokers: [...brokers] }, logger: silentLogger });
const purchases = unique("purchases");
const patient = unique("patient");
const gate = new Gate();
const probe = new LogProbe(connect());
const cleanup: (() => Promise<unknown>)[] = [];
let prometheus: RealPrometheus;
let pipelinePort: number;
let pipeline: PipelineProcess;
let producer: PipelineProcess;

function purchaseCommand(...parameters: string[]): PipelineProcess {
  const topics = { OUTPUT_TOPIC: "out", LATE_TOPIC: "late", EXPIRED_TOPIC: "expired", DEAD_LETTER_TOPIC: "dead" };
  const named = Object.entries(topics).map(([variable, name]) => [variable, `${purchases}-${name}`]);
  const started = new PipelineProcess(
    {
      ...Object.fromEntries(named),
      INPUT_TOPIC: `${purchases}-in`,
      APPLICATION_ID: purchases,
      KAFKA_BROKERS: brokers.join(","),
      HTTP_PORT: String(pipelinePort),
      STATE_DIR: join(directory, "pipeline"),
    },
    [CLI, ...parameters],
  );
  cleanup.push(() => started.end("SIGKILL"));
  return started;
}

/** One partition, counted in windows; what it reads goes through the gate. */
async function startPatient(): Promise<number> {
  await probe.createTopic(`${patient}-in`, 1);
  await probe.createTopic(`${patient}-out`, 1);
  const builder = new StreamsBuilder();
  const windows = tumbling({ sizeMs: 1_000, graceMs: 1_000 });
  const counts = builder.stream(`${patient}-in`, { key: string, value: gate }).groupByKey().windowedBy(windows);
  counts
    .count("counts")
    .toStream()
    .map((count, { key }) => ({ key: key.key, value: String(count) }), { key: string, value: string })
    .to(`${patient}-out`);
  const config = { applicationId: patient, transport: connect(), stateDir: join(directory, "patient") };
  const streams = new KafkaStreams(builder.build(), config);
  const http = await serveHttp(streams, { port: 0 });
  cleanup.push(async () => {
    gate.open();
    await streams.close();
    await http.close();
  });
  await streams.start();
  await eventually("it runs", () => streams.state === "RUNNING");
  return http.port;
}

const write = (count: number): Promise<void> =>
  probe.write(
    `${patient}-in`,
    Array.from({ length: count }, (_, at) => ({ key: `k${at % 10}`, value: "v" })),
  );

/** Takes over its transactional id, as another instance with its identity would. */
async function fencePatient(): Promise<void> {
  const state = join(directory, "patient");
  const identity = readdirSync(state, { recursive: true, encoding: "utf8" }).find((f) => f.endsWith("identity.json"));
  const { uuid } = JSON.parse(readFileSync(join(state, identity ?? ""), "utf8")) as { readonly uuid: string };
  const transactionalId = `${patient}-${uuid}-1`;
  const rival = probe.transport.openTransactionalProducer({ transactionalId, transactionTimeoutMs: 10_000 });
  await rival.initialize();
  await rival.close();
}

const fires = (alert: string): Promise<void> =>
  eventually(`${alert} fires`, async () => (await prometheus.firing()).has(alert), ALERT_TIMEOUT_MS);
const resolves = (alert: string): Promise<void> =>
  eventually(`${alert} resolves`, async () => !(await prometheus.firing()).has(alert), ALERT_TIMEOUT_MS);

/** Until it is called off: what a test feeds the patient beside its steps. */
function feeding(count: number): () => Promise<void> {
  let isOver = false;
  const loop = (async () => {
    while (!isOver) {
      await write(count);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  })();
  return async () => {
    isOver = true;
    await loop;
  };
}

beforeAll(async () => {
  await buildIfStale();
  await probe.transport.connect();
  pipelinePort = await freePort();
  const flags = ["--partitions=3", "--rate=300", "--late=0.1", "--expired=0.3", "--invalid=0.02"];
  producer = purchaseCommand("produce", ...flags);
  pipeline = purchaseCommand("run");
  const patientPort = await startPatient();
  await eventually(
    () => `the pipeline runs; it said:\n${pipeline.output}`,
    () => pipeline.isReady(),
  );
  const targets = [`127.0.0.1:${pipelinePort}`, `127.0.0.1:${patientPort}`];
  prometheus = await RealPrometheus.start(await freePort(), directory, targets);
  const isUp = async (): Promise<boolean> => (await prometheus.query("count(up == 1)"))[0]?.value[1] === "2";
  await eventually("both are scraped", isUp);
}, 120_000);

afterAll(async () => {
  await prometheus?.stop();
  for (const end of cleanup) await end();
  const names = ["in", "out", "late", "expired", "dead", "purchases-per-user-changelog"];
  const topics = [...names.map((name) => `${purchases}-${name}`), `${patient}-in`, `${patient}-out`];
  await probe.transport.topics.delete([...topics, `${patient}-counts-changelog`]);
  await probe.close();
  rmSync(directory, { recursive: true, force: true });
});

test("promtool finds nothing to say about a live answer of /metrics", async () => {
  const { text = "" } = (await pipeline.get("/metrics")) ?? {};
  expect(text).toContain("millrace_info{");
  expect(execFileSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" })).toBe("");
});

describe("a real Prometheus has data for", () => {
  /** Said only while a store is being restored. */
  const MAY_BE_EMPTY = /millrace_restore_remaining_records|millrace_restored_records_total/;
  const panels = ROWS.flatMap((row) =>
    row.panels.flatMap(({ title, queries }) => queries.map((one) => ({ title, ...one }))),
  );

  test.each(panels)("the panel $title: $expr", async ({ expr }) => {
    const asked = expr.replaceAll("$__rate_interval", "5s").replaceAll(/\$(application|instance)\b/g, ".*");
    if (MAY_BE_EMPTY.test(expr)) await prometheus.query(asked);
    else await eventually(`data for ${asked}`, async () => (await prometheus.query(asked)).length > 0, 15_000);
  });

  const rules = readdirSync(RULES).flatMap((file) => {
    const text = hurried(readFileSync(new URL(file, RULES), "utf8"));
    const { groups } = parse(text) as { groups: { rules: { record?: string; alert?: string; expr: string }[] }[] };
    return groups.flatMap((group) => group.rules);
  });

  test.each(rules.flatMap(({ record }) => record ?? []))("the recorded %s", async (record) => {
    await eventually(`data for ${record}`, async () => (await prometheus.query(record)).length > 0, 15_000);
  });

  test.each(rules.filter(({ alert }) => alert !== undefined))(
    "the alert $alert, or nothing, as it should be",
    ({ expr }) => expect(prometheus.query(expr)).resolves.toBeDefined(),
  );
});

describe("alerts fire, and resolve after", () => {
  test("growing lag, and stream time that stands still while records wait", async () => {
    await write(100);
    await eventually("stream time is known", async () => {
      const series = `millrace_stream_time_timestamp_seconds{application_id="${patient}"}`;
      return (await prometheus.query(series)).length > 0;
    });
    gate.close();
    const stop = feeding(200);
    await Promise.all([fires("MillraceLagGrowing"), fires("MillraceStreamTimeStuck")]);
    gate.open();
    await stop();
    await Promise.all([resolves("MillraceLagGrowing"), resolves("MillraceStreamTimeStuck")]);
  });

  test("a failed task", async () => {
    expect(await prometheus.firing()).not.toContain("MillraceTaskFailed");
    await fencePatient();
    await write(10);
    await fires("MillraceTaskFailed");
    await resolves("MillraceTaskFailed");
  });

  test("dropped late records", async () => {
    await fires("MillraceLateRecordsDropped");
    await producer.end("SIGTERM");
    await resolves("MillraceLateRecordsDropped");
  });

  test("a stopped instance", async () => {
    await resolves("MillraceInstanceDown");
    await pipeline.end("SIGKILL");
    await fires("MillraceInstanceDown");
    pipeline = purchaseCommand("run");
    await resolves("MillraceInstanceDown");
  });
});
