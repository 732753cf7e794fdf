import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Random } from "../../apps/purchase/random.js";
import { KafkaJsTransport } from "../../runtime/kafkajs/transport.js";
import { silentLogger } from "../../runtime/logger.js";
import { type ChaosBroker, startBroker } from "./broker.js";
import { type Fault, type FaultKind, faults } from "./faults.js";
import { Fleet, type Instance } from "./fleet.js";
import { Load } from "./load.js";
import { LogReader } from "./log-reader.js";
import { Namespaces } from "./namespaces.js";
import { type Guarantee, Oracle, type OutputTopics } from "./oracle.js";
import { whereabouts } from "./whereabouts.js";

export interface ChaosOptions {
  readonly guarantee: Guarantee;
  readonly seed: number;
  readonly durationMs: number;
  /** False only where somebody has said so: without it no connection is cut. */
  readonly withCuts: boolean;
  readonly perSecond?: number;
  readonly instances?: number;
  /** How long faults go on before everything is calmed and compared. */
  readonly roundMs?: number;
  readonly onEvent?: (event: ChaosEvent) => void;
}

export type ChaosEvent =
  | { readonly kind: "fault"; readonly number: number; readonly text: string }
  | { readonly kind: "round"; readonly number: number; readonly text: string }
  | { readonly kind: "difference"; readonly text: string };

export interface ChaosResult {
  readonly faults: ReadonlyMap<FaultKind, number>;
  readonly differences: readonly string[];
  /** Of the first differences: where the log has what they are about, and what the instances said last. */
  readonly details: readonly string[];
  readonly inputs: number;
  readonly outputs: number;
  readonly repeats: number;
  /** The longest that an instance took to end after a SIGTERM. */
  readonly slowestCloseMs: number;
  /** Where everything stands that was left of the run: after differences it is kept. */
  readonly directory: string;
}

const PARTITIONS = 6;
const USERS = 500;
const SESSION_TIMEOUT_MS = 4_000;
const MEAN_GAP_MS = 3_000;
const SETTLE_SECONDS = 150;
const LINES_SHOWN = 40;
/** So many of them are looked up in the log. */
const LOOKED_UP_MAX = 10;
const TOPICS: OutputTopics = {
  input: "purchases",
  aggregates: "purchase-aggregates",
  late: "late-purchases",
  expired: "expired-purchases",
  deadLetter: "purchases-dead-letter",
};

/** The pipeline under load and under faults, in rounds: trouble, then calm, then the oracle's verdict on everything so far. */
export class ChaosRun {
  readonly #options: ChaosOptions;
  readonly #directory: string;
  readonly #broker: ChaosBroker;
  readonly #namespaces: Namespaces | undefined;
  readonly #fleet: Fleet;
  readonly #transport: KafkaJsTransport;
  readonly #load: Load;
  readonly #oracle: Oracle;
  readonly #faults: Iterator<Fault>;
  readonly #random: Random;
  readonly #done = new Map<FaultKind, number>();
  readonly #findings: string[] = [];
  readonly #details: string[] = [];
  #reader: LogReader | undefined;
  #atWork = new Set<Promise<void>>();
  #ended = false;

  private constructor(
    options: ChaosOptions,
    parts: { readonly directory: string; readonly broker: ChaosBroker; readonly namespaces: Namespaces | undefined },
  ) {
    const { seed, guarantee } = options;
    this.#options = options;
    this.#directory = parts.directory;
    this.#broker = parts.broker;
    this.#namespaces = parts.namespaces;
    this.#random = new Random(seed + 1);
    this.#transport = new KafkaJsTransport({
      client: { brokers: [...parts.broker.kafka.brokers], requestTimeout: 5_000 },
      logger: silentLogger,
    });
    this.#load = new Load(this.#transport, {
      ...{ topic: TOPICS.input, partitions: PARTITIONS, users: USERS, seed },
      perSecond: options.perSecond ?? 500,
    });
    this.#oracle = new Oracle(TOPICS, guarantee, (record) => this.#load.isInvalid(record));
    this.#fleet = new Fleet({
      ...parts,
      instances: options.instances ?? 4,
      environment: {
        KAFKA_BROKERS: parts.broker.address,
        PROCESSING_GUARANTEE: guarantee,
        SESSION_TIMEOUT_MS: String(SESSION_TIMEOUT_MS),
      },
      onFinding: (finding) => this.#found(finding),
    });
    this.#faults = faults({
      ...{ seed, sessionTimeoutMs: SESSION_TIMEOUT_MS, meanGapMs: MEAN_GAP_MS },
      without: options.withCuts ? [] : ["cut"],
    });
  }

  /** Starts a broker, the instances' networks, the instances and the load. */
  static async open(options: ChaosOptions): Promise<ChaosRun> {
    const directory = await mkdtemp(join(tmpdir(), "millrace-chaos-"));
    const namespaces = options.withCuts ? await Namespaces.open(options.instances ?? 4) : undefined;
    try {
      const broker = await startBroker(directory, namespaces);
      return new ChaosRun(options, { directory, broker, namespaces });
    } catch (error) {
      await namespaces?.close();
      throw error;
    }
  }

  get status() {
    const instances = this.#fleet.instances.map(({ number, state }) => ({ number, state }));
    const faults = sum(this.#done.values());
    return {
      faults,
      differences: this.#findings.length,
      written: this.#load.written,
      broker: this.#broker.isUp,
      instances,
    };
  }

  /** Runs for the time that was asked for, and a last round's calm. */
  async run(): Promise<ChaosResult> {
    const { durationMs, roundMs = 60_000 } = this.#options;
    await this.#prepare();
    const endMs = performance.now() + durationMs;
    let round = 0;
    while (!this.#ended && performance.now() < endMs) {
      this.#load.start();
      await this.#trouble(Math.min(performance.now() + roundMs, endMs));
      await this.#calm();
      if (!(await this.#judge(++round))) break;
    }
    await this.#fleet.close();
    return {
      faults: this.#done,
      ...{ differences: this.#findings, details: this.#details },
      ...{ inputs: this.#oracle.inputs, outputs: this.#oracle.outputs, repeats: this.#oracle.repeats },
      slowestCloseMs: this.#fleet.slowestCloseMs,
      directory: this.#directory,
    };
  }

  /** The next calm is the last one. */
  end(): void {
    this.#ended = true;
  }

  async close(): Promise<void> {
    await this.#fleet.kill();
    this.#reader?.close();
    await this.#load.close();
    await this.#transport.close();
    await this.#broker.kafka.kill();
    await this.#namespaces?.close();
    if (this.#findings.length === 0) await rm(this.#directory, { recursive: true, force: true });
  }

  async #prepare(): Promise<void> {
    await this.#transport.connect();
    const configs = { "retention.ms": "-1" };
    await this.#transport.topics.create([
      { topic: TOPICS.input, partitions: PARTITIONS, replicationFactor: 1, configs },
    ]);
    const { input, aggregates, late, expired, deadLetter } = TOPICS;
    const topics = [input, aggregates, late, expired, deadLetter];
    this.#reader = await LogReader.open(this.#broker.kafka.brokers, "purchases", topics);
    for (const instance of this.#fleet.instances.slice(0, -1)) instance.start();
  }

  async #trouble(untilMs: number): Promise<void> {
    while (!this.#ended && performance.now() < untilMs) {
      const { value: fault } = this.#faults.next() as { value: Fault };
      await pause(fault.afterMs);
      this.#begin(fault);
    }
  }

  /** Mends everything, and waits until nothing is being done to anybody. */
  async #calm(): Promise<void> {
    await Promise.all(this.#atWork);
    if (this.#fleet.free("up").length === 0)
      for (const instance of this.#fleet.free("down").slice(0, 2)) instance.start();
    await this.#load.stop();
  }

  async #judge(round: number): Promise<boolean> {
    const beganMs = performance.now();
    try {
      for await (const record of (this.#reader as LogReader).read(SETTLE_SECONDS)) this.#oracle.saw(record);
    } catch (error) {
      this.#found(error instanceof Error ? error.message : String(error));
      return false;
    }
    for (const difference of this.#oracle.differences()) this.#found(difference);
    if (this.#findings.length > 0) await this.#lookUp();
    const { inputs, outputs } = this.#oracle;
    const seconds = ((performance.now() - beganMs) / 1_000).toFixed(1);
    const { faults, differences } = this.status;
    const text = `${faults} faults, ${inputs} records in, ${outputs} out, settled and compared in ${seconds} s, differences ${differences}`;
    this.#options.onEvent?.({ kind: "round", number: round, text });
    // What differs once differs for ever: nothing is learnt from going on.
    return differences === 0;
  }

  /** What a log on the machine of a run that is over cannot be asked any more. */
  async #lookUp(): Promise<void> {
    const ids = new Set([...this.#oracle.differing].slice(0, LOOKED_UP_MAX));
    try {
      const places = await whereabouts(this.#transport, Object.values(TOPICS), (one) => this.#oracle.idsOf(one), ids);
      this.#details.push(...places);
    } catch (error) {
      this.#details.push(`the log could not be asked about it: ${String(error)}`);
    }
    for (const instance of this.#fleet.instances)
      this.#details.push(`instance ${instance.number} said last:`, ...instance.lastLines(LINES_SHOWN));
  }

  #found(text: string): void {
    this.#findings.push(text);
    this.#options.onEvent?.({ kind: "difference", text });
  }

  #begin(fault: Fault): void {
    const begun = this.#doTo(fault);
    if (begun === undefined) return;
    const { kind, text, work } = begun;
    this.#done.set(kind, (this.#done.get(kind) ?? 0) + 1);
    this.#options.onEvent?.({ kind: "fault", number: sum(this.#done.values()), text });
    const working = work
      .catch((error: unknown) => this.#found(`${text}: ${String(error)}`))
      .finally(() => this.#atWork.delete(working));
    this.#atWork.add(working);
  }

  #doTo(fault: Fault): { readonly kind: FaultKind; readonly text: string; readonly work: Promise<void> } | undefined {
    const { kind, lastsMs } = fault;
    if (kind === "broker-kill") {
      if (!this.#broker.isUp) return undefined;
      return {
        kind,
        text: `the broker is killed, and comes back after ${lastsMs} ms`,
        work: this.#killBroker(lastsMs),
      };
    }
    const up = this.#fleet.free("up");
    const down = this.#fleet.free("down");
    const isOut =
      (kind === "scale-out" && down.length > 0) || (kind === "scale-in" && up.length < 2 && down.length > 0);
    const pool = isOut ? down : up;
    const instance = pool[Math.floor(fault.choice * pool.length)];
    if (instance === undefined) return undefined;
    const actual = isOut ? "scale-out" : kind === "scale-out" ? "scale-in" : kind;
    const work = this.#doToInstance(instance, { ...fault, kind: actual });
    return { kind: actual, text: `instance ${instance.number}: ${TOLD[actual](lastsMs)}`, work };
  }

  async #killBroker(lastsMs: number): Promise<void> {
    this.#broker.isUp = false;
    await this.#broker.kafka.kill();
    await pause(lastsMs);
    await this.#broker.kafka.restart();
    this.#broker.isUp = true;
  }

  async #doToInstance(instance: Instance, { kind, lastsMs }: Fault): Promise<void> {
    instance.isBusy = true;
    try {
      await this.#fault(instance, kind, lastsMs);
    } finally {
      instance.isBusy = false;
    }
  }

  async #fault(instance: Instance, kind: FaultKind, lastsMs: number): Promise<void> {
    switch (kind) {
      case "scale-out":
        return instance.start();
      case "scale-in":
        return instance.close();
      case "freeze":
        instance.freeze();
        await pause(lastsMs);
        return instance.thaw();
      case "cut":
        await instance.cut();
        await pause(lastsMs);
        return instance.mend();
      case "kill":
      case "wipe":
      case "corrupt":
        await instance.kill();
        if (kind === "wipe") await instance.wipe();
        if (kind === "corrupt") instance.corrupt(this.#random);
        await pause(lastsMs);
        return instance.start();
      case "broker-kill":
        return;
    }
  }
}

const TOLD: Readonly<Record<FaultKind, (lastsMs: number) => string>> = {
  kill: (ms) => `SIGKILL, and back after ${ms} ms`,
  freeze: (ms) => `SIGSTOP for ${ms} ms`,
  "scale-out": () => "is started",
  "scale-in": () => "SIGTERM",
  "broker-kill": () => "",
  cut: (ms) => `its cable is pulled for ${ms} ms`,
  wipe: (ms) => `SIGKILL, its state directory is deleted, and back after ${ms} ms`,
  corrupt: (ms) => `SIGKILL, noise in its state files, and back after ${ms} ms`,
};

function sum(counts: Iterable<number>): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}

function pause(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}
