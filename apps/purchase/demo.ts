import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  EmbeddedLog,
  EmbeddedTransport,
  FatalError,
  type HttpEndpoints,
  type HttpOptions,
  KafkaStreams,
  type ProcessorTopology,
  serveHttp,
} from "millrace";
import type { Dashboard } from "millrace/dashboard";
import { Account } from "./account.js";
import type { CommandIo } from "./io.js";
import { JsonLines, type RecordDisplay } from "./json-lines.js";
import { displayOf } from "./live.js";
import { aggregateOf, objectOf } from "./output.js";
import { purchasePage } from "./page.js";
import { type SimulatorSettings, seedOf, sendPurchases } from "./produce.js";
import { pause, type ReadRecord, TopicReader } from "./reader.js";
import { type ENGINE, HTTP, type JSON_OUTPUT } from "./setting-table.js";
import type { Values } from "./settings.js";
import { widthOf } from "./terminal.js";
import { formatCents, formatCount, joined } from "./text.js";
import { ensureInputTopic, ensureOutputTopics, type TopicNames } from "./topics.js";
import { purchaseTopology } from "./topology.js";

export type DemoSettings = SimulatorSettings & TopicNames & Values<typeof ENGINE & typeof HTTP & typeof JSON_OUTPUT>;

const APPLICATION_ID = "purchases-demo";
/** How long the pipeline may take for what is left when nothing more is produced. */
const SETTLE_MAX_MS = 30_000;
/** Somebody waits at the keyboard: within the ten seconds that a signal may take. */
const SETTLE_AFTER_SIGNAL_MAX_MS = 5_000;
const LOOK_MS = 50;

/**
 * The `demo` command: producer, pipeline and console in one process on an embedded log in memory. At its end it accounts
 * for every record: what the output topics hold against what was produced.
 */
export async function demo(settings: DemoSettings, io: CommandIo): Promise<number> {
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-demo-"));
  const removeState = (): void => rmSync(stateDir, { recursive: true, force: true });
  // A second signal ends the process without coming back here.
  process.once("exit", removeState);
  const log = new EmbeddedLog({ file: ":memory:" });
  try {
    return await new Demo(settings, io, log, stateDir).run();
  } finally {
    log.close();
    removeState();
    process.off("exit", removeState);
  }
}

class Demo {
  readonly #settings: DemoSettings;
  readonly #io: CommandIo;
  readonly #topology: ProcessorTopology;
  readonly #streams: KafkaStreams;
  readonly #client: EmbeddedTransport;
  readonly #account = new Account();
  readonly #console: RecordDisplay;
  readonly #readerEnd = new AbortController();
  /** Aborted when pipeline or reader fails: nobody would take or see what is produced. */
  readonly #failed = new AbortController();

  constructor(settings: DemoSettings, io: CommandIo, log: EmbeddedLog, stateDir: string) {
    this.#settings = settings;
    this.#io = io;
    this.#client = new EmbeddedTransport({ log });
    this.#console = displayOf(settings, io);
    this.#topology = purchaseTopology({ ...settings, emit: "update" }).build();
    this.#streams = new KafkaStreams(this.#topology, {
      applicationId: APPLICATION_ID,
      transport: new EmbeddedTransport({ log }),
      stateDir,
      commitIntervalMs: settings.commitIntervalMs,
      cacheBytesMax: settings.stateCacheBytesMax,
      bufferedBytesMax: settings.bufferedBytesMax,
      logger: io.logger,
    });
  }

  async run(): Promise<number> {
    const { inputTopic: topic, partitions } = this.#settings;
    await this.#client.connect();
    await ensureInputTopic(this.#client.topics, { topic, partitions, replicationFactor: -1 });
    await ensureOutputTopics(this.#client.topics, this.#settings, { partitions, replicationFactor: -1 });
    const page = purchasePage(this.#streams, {
      applicationId: APPLICATION_ID,
      topology: this.#topology,
      transport: this.#client,
      topics: this.#settings,
    });
    const endpoints = await this.#serve(page);
    const reader = this.#openReader();
    await reader.start();
    const reading = reader.run();
    // It is awaited below, and thrown there.
    reading.catch(() => this.#failed.abort());
    this.#streams.onStateChange((state) => {
      if (state === "ERROR") this.#failed.abort();
    });
    this.#console.start();
    this.#console.about(`page at http://${endpoints.host}:${endpoints.port}/`);
    try {
      await this.#streams.start();
      await this.#produce();
      await this.#settle();
    } finally {
      await this.#streams.close();
      this.#readerEnd.abort();
      await reading;
      await page.close();
      await endpoints.close();
      this.#console.stop();
      await this.#client.close();
    }
    return this.#conclude();
  }

  /** Two demos on one machine should both run, so the usual port may give way; one that was asked for may not. */
  async #serve(page: Dashboard): Promise<HttpEndpoints> {
    const { httpHost: host, httpPort: port, httpToken: token } = this.#settings;
    const options: HttpOptions = { host, port, token, routes: () => page.routes };
    try {
      return await serveHttp(this.#streams, options);
    } catch (error) {
      const isTaken = error instanceof FatalError && error.code === "HTTP_PORT_IN_USE";
      if (!isTaken || port !== HTTP.httpPort.default) throw error;
      return serveHttp(this.#streams, { ...options, port: 0 });
    }
  }

  #openReader(): TopicReader {
    const { inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic } = this.#settings;
    return new TopicReader(this.#client, {
      topics: [inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic],
      from: "earliest",
      onRecord: (record) => {
        this.#enter(record);
        this.#console.add(record);
      },
      onWaiting: () => undefined,
      onTrouble: (message) => this.#console.print(message),
      signal: this.#readerEnd.signal,
    });
  }

  /** What the output topics hold goes into the books. */
  #enter(record: ReadRecord): void {
    const { outputTopic, lateTopic, expiredTopic, deadLetterTopic } = this.#settings;
    if (record.topic === lateTopic) this.#account.sawLate(String(objectOf(record.value)?.transaction_id));
    if (record.topic === expiredTopic) this.#account.sawExpired(record);
    if (record.topic === deadLetterTopic) this.#account.sawDeadLetter(record);
    if (record.topic !== outputTopic) return;
    const row = aggregateOf(record);
    if (row !== undefined) this.#account.sawAggregate(row);
  }

  async #produce(): Promise<void> {
    await sendPurchases(this.#client.openProducer(), this.#settings, {
      seed: seedOf(this.#settings),
      signal: AbortSignal.any([this.#io.stop, this.#failed.signal]),
      onMade: (record) => this.#account.produced(record),
    });
  }

  async #settle(): Promise<void> {
    const { stop } = this.#io;
    const startedMs = performance.now();
    const limitMs = (): number => (stop.aborted ? SETTLE_AFTER_SIGNAL_MAX_MS : SETTLE_MAX_MS);
    this.#console.notice("nothing more is produced; waiting for the last results");
    while (!this.#account.isSettled && !this.#failed.signal.aborted && performance.now() - startedMs < limitMs()) {
      await pause(LOOK_MS, this.#failed.signal);
    }
    this.#console.notice(undefined);
  }

  #conclude(): number {
    const { produced, accounted, aggregated, late, expired, deadLetters, cents } = this.#account.totals();
    const faults = [...this.#account.mismatches()];
    const { failure } = this.#streams;
    if (failure !== undefined) faults.push(`the pipeline failed: ${failure.message}`);
    const isRight = faults.length === 0 && produced === accounted;
    if (this.#settings.json) {
      const counts = { produced, accounted, aggregated, late, expired, dead_letters: deadLetters };
      new JsonLines(this.#io.stdout).write("summary", { ...counts, total_amount: cents / 100, faults });
      return isRight ? 0 : 1;
    }
    for (const fault of faults) this.#io.stderr.write(`${fault}\n`);
    const parts = [
      `${formatCount(produced)} produced`,
      `${formatCount(accounted)} accounted for`,
      `${formatCount(aggregated)} aggregated`,
      `${formatCount(late)} late`,
      `${formatCount(expired)} expired`,
      `${formatCount(deadLetters)} dead letters`,
      `total ${formatCents(cents)}`,
    ];
    this.#io.stdout.write(`${joined(parts, widthOf(this.#io.stdout, this.#io.environment))}\n`);
    return isRight ? 0 : 1;
  }
}
