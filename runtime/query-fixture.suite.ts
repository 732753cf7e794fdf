import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import { string, unvalidatedJson } from "../serdes/index.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { count, mean, sum } from "../topology/aggregators.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { minutes, tumbling } from "../topology/windows.js";
import type { StreamsConfig } from "./config.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { KafkaStreams } from "./streams.js";

export const PARTITIONS = 3;
export const MINUTE_MS = 60_000;
export const START_MS = Date.UTC(2026, 10, 22, 10);

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

export function purchase(user: string, cents: number, atMs = START_MS) {
  return { key: user, value: JSON.stringify({ cents, atMs }) };
}

type InstanceConfig = Partial<StreamsConfig> & { readonly instance?: string };

/** Instances of one application on an embedded log, made anew for each test of the file that calls `useQueries`. */
export class QueriedInstances {
  stateDir = "";
  probe!: LogProbe;
  #log!: EmbeddedLog;
  readonly opened: KafkaStreams[] = [];

  async open(partitions: number): Promise<void> {
    this.stateDir = await mkdtemp(join(tmpdir(), "millrace-queries-"));
    this.#log = new EmbeddedLog({ file: ":memory:" });
    const client = new EmbeddedTransport({ log: this.#log });
    await client.connect();
    this.probe = new LogProbe(client);
    await this.probe.createTopic("in", partitions);
  }

  async close(): Promise<void> {
    for (const streams of this.opened.splice(0)) await streams.close();
    await this.probe.close();
    this.#log.close();
    await rm(this.stateDir, { recursive: true, force: true });
  }

  create({ instance = "1", ...config }: InstanceConfig = {}) {
    const tables = purchases();
    const streams = new KafkaStreams(tables.topology, {
      applicationId: "app",
      transport: new EmbeddedTransport({ log: this.#log }),
      stateDir: join(this.stateDir, instance),
      commitIntervalMs: 5,
      ...config,
    });
    this.opened.push(streams);
    return { streams, ...tables };
  }

  async running(config: InstanceConfig = {}) {
    const made = this.create(config);
    await made.streams.start();
    await eventually("RUNNING", async () => made.streams.state === "RUNNING");
    return made;
  }

  /** Writes purchases, and waits until they are in the state. */
  async write(records: readonly ReturnType<typeof purchase>[]): Promise<void> {
    await this.probe.write("in", records);
    await this.probe.caughtUp("app", "in");
  }
}

export function useQueries(partitions = PARTITIONS): QueriedInstances {
  const instances = new QueriedInstances();
  beforeEach(() => instances.open(partitions));
  afterEach(() => instances.close());
  return instances;
}
