import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EmbeddedLog } from "../../runtime/embedded/embedded-log.js";
import { EmbeddedTransport } from "../../runtime/embedded/transport.js";
import { RecordBatch } from "../../runtime/record-batch.js";
import type { Producer } from "../../runtime/transport.js";
import { Chaos } from "./chaos.js";
import { LateMarkers } from "./late-markers.js";
import { expectedOf } from "./model.js";
import { Network } from "./network.js";
import { APPLICATION_ID, type Event, pipeline, REPARTITION, TOPICS, wireValueOf } from "./pipeline.js";
import { mayHaveZombies, type Plan, planOf } from "./plan.js";
import { type PlantedBug, plantInLog } from "./planted-bugs.js";
import { Random } from "./random.js";
import { type Kept, Trace } from "./trace.js";
import { differences } from "./verdict.js";
import { VirtualTime } from "./virtual-time.js";

export interface SimulationOptions {
  readonly seed: number;
  readonly bug?: PlantedBug;
  /** Of what happened; the digest by default. */
  readonly trace?: Kept;
}

export interface SimulationResult {
  readonly seed: number;
  /** Empty if all is well. */
  readonly failures: readonly string[];
  /** Of everything that happened: equal for equal seeds. Undefined where no trace was kept. */
  readonly digest: string | undefined;
  readonly trace: readonly string[];
  readonly plan: Plan;
  /** What was done to processes, clocks and disks. */
  readonly faults: number;
  readonly events: number;
  readonly simulatedMs: number;
}

/** Long enough for every session, transaction and pause of a new try to end, one after the other. */
const SETTLE_MS = 180_000;
const LOOK_MS = 250;

/** SQLite files on a disk in memory where there is one: what a real disk does to them is simulated. */
const SHARED_MEMORY = "/dev/shm";

/** One run of the engine against its enemies, and the model's verdict. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const root = existsSync(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir();
  const directory = mkdtempSync(join(root, "millrace-simulation-"));
  const simulation = new Simulation(options, directory);
  try {
    return await simulation.run();
  } finally {
    simulation.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

class Simulation {
  readonly #seed: number;
  readonly #random: Random;
  readonly #time = new VirtualTime();
  readonly #trace: Trace;
  readonly #plan: Plan;
  readonly #network: Network;
  readonly #log: EmbeddedLog;
  readonly #chaos: Chaos;
  /** What was written so far, by partition. */
  readonly #written: Event[][];
  #writer: Promise<Producer> | undefined;
  #writing: Promise<void> = Promise.resolve();
  #unwritten = 0;

  constructor(options: SimulationOptions, directory: string) {
    this.#seed = options.seed;
    this.#random = new Random(options.seed);
    this.#trace = new Trace(options.trace ?? "digest");
    this.#plan = planOf(this.#random);
    this.#network = new Network(this.#time, this.#random.fork(), this.#trace, this.#plan.rates);
    const { broker } = this.#network;
    this.#log = new EmbeddedLog({ file: ":memory:", now: () => this.#time.wallClockMs(broker) });
    const markers = new LateMarkers(this.#log, this.#network, this.#plan.lateMarkers);
    plantInLog(options.bug, this.#log);
    const topology = pipeline(this.#plan.finalBy);
    this.#chaos = new Chaos(this.#plan, this.#network, this.#log, this.#random.fork(), topology, {
      directory,
      bug: options.bug,
      beforeClockJump: () => markers.writeAll(),
    });
    this.#written = Array.from({ length: this.#plan.partitions }, () => []);
  }

  async run(): Promise<SimulationResult> {
    const failures: string[] = [];
    const { chaosMs, events, lastEvents } = this.#plan;
    this.#schedule(events, chaosMs);
    this.#expireRegularly();
    this.#chaos.begin();
    await this.#time.run(chaosMs, () => this.#chaos.failures.length > 0);
    this.#time.schedule(this.#network.broker, 0, () => this.#chaos.calm());
    const isSettled = await this.#until(() => this.#isCaughtUp);
    if (isSettled) this.#schedule(lastEvents, 0);
    if (!isSettled || !(await this.#until(() => this.#isCaughtUp)))
      failures.push(`it did not catch up: ${this.#chaos.story}`);
    this.#time.schedule(this.#network.broker, 0, () => this.#chaos.end());
    if (!(await this.#until(() => this.#chaos.hasEnded))) failures.push(`it did not end: ${this.#chaos.story}`);
    const found = this.#chaos.failures.length > 0 ? this.#chaos.failures : failures;
    return {
      seed: this.#seed,
      failures: found.length > 0 ? found : this.#differences(),
      digest: this.#trace.digest(),
      trace: this.#trace.lines,
      plan: this.#plan,
      faults: this.#chaos.faults,
      events: this.#time.events,
      simulatedMs: this.#time.nowMs,
    };
  }

  close(): void {
    this.#chaos.abandon();
    this.#log.close();
  }

  #differences(): string[] {
    const hadZombies = mayHaveZombies(this.#plan);
    return differences(this.#log, expectedOf(this.#written), { guarantee: this.#plan.guarantee, hadZombies });
  }

  async #prepare(): Promise<Producer> {
    const transport = new EmbeddedTransport({ log: this.#log });
    await transport.connect();
    const { partitions } = this.#plan;
    const topics = Object.values(TOPICS).map((topic) => ({ topic, partitions, replicationFactor: 1, configs: {} }));
    await transport.topics.create(topics);
    return transport.openProducer();
  }

  /** Small batches, spread over the time. */
  #schedule(events: readonly Event[], withinMs: number): void {
    this.#unwritten += events.length;
    for (let at = 0; at < events.length; ) {
      const batch = events.slice(at, at + this.#random.between(1, 5));
      const whenMs = (at / events.length) * withinMs;
      this.#time.schedule(this.#network.broker, whenMs, () => this.#write(batch));
      at += batch.length;
    }
  }

  #write(events: readonly Event[]): void {
    this.#writing = this.#time.as(this.#network.broker, async () => {
      await this.#writing;
      this.#writer ??= this.#prepare();
      const producer = await this.#writer;
      const batches = events.map((event) => {
        const batch = new RecordBatch();
        batch.append(event.timestampMs, Buffer.from(event.key), wireValueOf(event), []);
        return { topic: TOPICS.input, partition: event.partition, batch };
      });
      await producer.produce(batches);
      for (const event of events) this.#written[event.partition]?.push(event);
      this.#unwritten -= events.length;
    });
  }

  get #isCaughtUp(): boolean {
    const { partitions } = this.#plan;
    if (this.#unwritten > 0) return false;
    const read = [TOPICS.input, REPARTITION].flatMap((topic) =>
      Array.from({ length: partitions }, (_, partition) => ({ topic, partition })),
    );
    const isStable = [...read].every((at) => {
      const log = this.#log.topics.find(at);
      return log !== undefined && log.lastStableOffset === log.highWatermark;
    });
    if (!isStable) return false;
    return this.#log
      .committedOffsets(APPLICATION_ID, read, false)
      .every((at) => (at.offset ?? 0) >= (this.#log.topics.find(at)?.highWatermark ?? 0));
  }

  /** Looked at now and then: it costs more than an event does. */
  #until(isDone: () => boolean): Promise<boolean> {
    let nextMs = this.#time.nowMs + LOOK_MS;
    return this.#time.run(this.#time.nowMs + SETTLE_MS, () => {
      if (this.#chaos.failures.length > 0) return true;
      if (this.#time.nowMs < nextMs) return false;
      nextMs = this.#time.nowMs + LOOK_MS;
      return isDone();
    });
  }

  /** The log's own timers do it too, unless they belong to a process that has died since. */
  #expireRegularly(): void {
    const { broker } = this.#network;
    this.#time.schedule(broker, LOOK_MS, () => {
      this.#log.expire();
      this.#expireRegularly();
    });
  }
}
