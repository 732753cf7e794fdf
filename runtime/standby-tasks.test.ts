import { mkdtemp, open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { int64, string } from "../serdes/index.js";
import { windowed } from "../serdes/windowed.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { tumbling } from "../topology/windows.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { type Logger, silentLogger } from "./logger.js";
import { KafkaStreams } from "./streams.js";
import type { Fetcher, FetcherOptions } from "./transport.js";

const KEYS = 50;
/** One window takes all. */
const SIZE_MS = 3_600_000;
const WINDOWS = tumbling({ sizeMs: SIZE_MS, graceMs: 0 });
const KEY = windowed(string, { sizeMs: SIZE_MS });
const EVENT_TIME_MS = 1_700_000_000_000;
const CHANGELOG = "app-counts-changelog";

/** A standby on it can be held back for as long as one likes. */
class HaltingTransport extends EmbeddedTransport {
  #halt: Promise<void> = Promise.resolve();
  #isHalted = false;
  waiting = 0;

  override openFetcher(options: FetcherOptions): Fetcher {
    const inner = super.openFetcher(options);
    if (options.name !== "standby") return inner;
    return {
      fetch: async (request) => {
        if (this.#isHalted) this.waiting++;
        await this.#halt;
        return inner.fetch(request);
      },
      close: () => inner.close(),
    };
  }

  /** From its next fetch on. Returns what lets it go. */
  halt(): () => void {
    let letGo = (): void => undefined;
    this.#isHalted = true;
    this.#halt = new Promise((resolve) => {
      letGo = () => {
        this.#isHalted = false;
        resolve();
      };
    });
    return letGo;
  }
}

async function counting() {
  const directory = await mkdtemp(join(tmpdir(), "millrace-standby-"));
  const log = new EmbeddedLog({ file: ":memory:" });
  const probe = new LogProbe(new EmbeddedTransport({ log }));
  await probe.transport.connect();
  for (const topic of ["in", "out"]) await probe.createTopic(topic, 1);
  const builder = new StreamsBuilder();
  // Only changelogs of windows are cut.
  const windows = builder.stream("in", { key: string, value: string }).groupByKey().windowedBy(WINDOWS);
  windows.count("counts").toStream().to("out");
  const topology = builder.build();
  const running: KafkaStreams[] = [];
  const warnings: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (_: object, message: string) => void warnings.push(message) };
  onTestFinished(async () => {
    for (const streams of running) await streams.close();
    await probe.close();
    log.close();
    await rm(directory, { recursive: true, force: true });
  });
  /** One record of each, counted. */
  const write = async (...keys: string[]): Promise<void> => {
    await probe.write(
      "in",
      keys.map((key) => ({ key, value: "x", timestampMs: EVENT_TIME_MS })),
    );
    await probe.caughtUp("app", "in");
  };
  const stateDir = (instance: string): string => join(directory, instance);
  return {
    ...{ log, probe, warnings, stateDir },
    start: async (instance: string, transport = new EmbeddedTransport({ log })): Promise<KafkaStreams> => {
      const streams = new KafkaStreams(topology, {
        ...{ applicationId: "app", transport, stateDir: stateDir(instance), standbyReplicas: 1, logger },
        onClose: "leave",
      });
      running.push(streams);
      await streams.start();
      return streams;
    },
    write,
    /** One record of every key, counted. */
    round: () => write(...Array.from({ length: KEYS }, (_, at) => `key-${at}`)),
    lastCounts: async (): Promise<Map<string, number>> =>
      new Map(
        (await probe.read("out")).map(({ key, value }) => [
          KEY.deserialize(key as Buffer).key,
          int64.deserialize(value as Buffer),
        ]),
      ),
  };
}

const counts = (each: number): Map<string, number> =>
  new Map(Array.from({ length: KEYS }, (_, at) => [`key-${at}`, each]));

const copied = ({ metrics }: KafkaStreams): number =>
  metrics.counter("standby_records_total", { store: "counts" }).value;

async function runs(streams: KafkaStreams, state: "running" | "standby"): Promise<void> {
  await eventually(
    () => `${state}; it is ${streams.state} with ${JSON.stringify(streams.status.tasks)}`,
    () => streams.status.tasks.some((task) => task.id === "0_0" && task.state === state),
    15_000,
  );
}

test("a running standby that falls off its changelog begins again at the low watermark, and takes over with what lies there", async () => {
  const app = await counting();
  const first = await app.start("1");
  await runs(first, "running");
  const transport = new HaltingTransport({ log: app.log });
  const second = await app.start("2", transport);
  await runs(second, "standby");
  await app.write("expired");
  await app.round();
  await eventually("the copy has the first round", () => copied(second) === KEYS + 1);

  const letGo = transport.halt();
  await eventually("the standby is held back", () => transport.waiting > 0);
  await app.round();
  const [low] = await app.probe.highs(CHANGELOG);
  // Every key again but one, which is gone with the cut as the rows of an expired window are.
  await app.round();
  await app.probe.transport.topics.deleteRecords([{ topic: CHANGELOG, partition: 0, offset: low as number }]);
  letGo();
  await eventually("the copy has the last round", () => copied(second) === 2 * KEYS + 1);
  expect(app.warnings).toEqual([expect.stringMatching(/^standby 0_0 begins again: changelog .* does not hold offset/)]);

  await first.close();
  await runs(second, "running");
  expect(second.metrics.counter("restored_records_total", { store: "counts" }).value).toBe(0);
  await app.write("expired");
  await app.round();
  expect(await app.lastCounts()).toEqual(counts(4).set("expired", 1));
});

test("a damaged standby file is wiped, which is said, and read again from the changelog's start", async () => {
  const app = await counting();
  const first = await app.start("1");
  await runs(first, "running");
  const second = await app.start("2");
  await runs(second, "standby");
  await app.round();
  await eventually("the copy has the round", () => copied(second) === KEYS);
  await second.close();
  const names = await readdir(app.stateDir("2"), { recursive: true });
  const file = names.find((name) => name.includes("counts") && /\.(db|sqlite3?)$/.test(name)) as string;
  const damaged = await open(join(app.stateDir("2"), file), "r+");
  await damaged.write(Buffer.alloc(8_192, 0xa5), 0, 8_192, 0);
  await damaged.close();

  const back = await app.start("2");
  await runs(back, "standby");
  await eventually("the copy is read again", () => copied(back) === KEYS);
  expect(app.warnings).toEqual([expect.stringMatching(/^standby 0_0 begins again: .* is damaged/)]);
  await first.close();
  await runs(back, "running");
  await app.round();
  expect(await app.lastCounts()).toEqual(counts(2));
});
