import { StreamsMetrics } from "../../metrics/metrics.js";
import { type ProcessingGuarantee, resolveConfig } from "../../runtime/config.js";
import type { EmbeddedLog } from "../../runtime/embedded/embedded-log.js";
import type { Logger } from "../../runtime/logger.js";
import { StreamThread } from "../../runtime/stream-thread.js";
import type { Transport } from "../../runtime/transport.js";
import { StreamsError } from "../../topology/errors.js";
import type { ProcessorTopology } from "../../topology/processor-topology.js";
import type { Disk } from "./disk.js";
import { FaultyTransport } from "./faulty-transport.js";
import type { Endpoint, Network } from "./network.js";
import type { Random } from "./random.js";
import { Host } from "./virtual-time.js";

export interface InstanceOptions {
  readonly name: string;
  readonly network: Network;
  readonly log: EmbeddedLog;
  readonly disk: Disk;
  readonly random: Random;
  readonly topology: ProcessorTopology;
  readonly applicationId: string;
  readonly guarantee: ProcessingGuarantee;
  readonly commitIntervalMs: number;
  readonly transactionTimeoutMs: number;
  readonly onClose: "leave" | "stay";
  readonly standbyReplicas: number;
  readonly wallOffsetMs: number;
  readonly lookMs: number;
  /** What stands between the engine and its transport, where a bug is planted there. */
  readonly through: (transport: Transport) => Transport;
  readonly checkpointEarly: boolean;
}

export const SESSION_TIMEOUT_MS = 1_000;

/** One life of a process: a stream thread from its start until it ends, by itself or by a kill. */
export class Instance implements Endpoint {
  readonly host: Host;
  /** Undefined while it runs. */
  ended: { readonly error: unknown } | undefined;
  cutOff: "all" | "group" | undefined;
  isClosing = false;
  readonly #options: InstanceOptions;
  readonly #thread: StreamThread;
  #trap: { readonly at: string; stepsLeft: number; readonly spring: () => void } | undefined;

  constructor(options: InstanceOptions) {
    const { name, network, random, disk, log } = options;
    this.#options = options;
    const chance = random.fork();
    this.host = new Host(name, () => chance.fraction());
    this.host.wallOffsetMs = options.wallOffsetMs;
    this.host.lookMs = options.lookMs;
    const transport = options.through(new FaultyTransport(network, this, log));
    const files = network.time.as(this.host, () =>
      disk.lock(this, { topology: options.topology.hash, checkpointEarly: options.checkpointEarly }),
    );
    this.#thread = new StreamThread({
      topology: options.topology,
      config: resolveConfig({
        applicationId: options.applicationId,
        transport,
        guarantee: options.guarantee,
        commitIntervalMs: options.commitIntervalMs,
        sessionTimeoutMs: SESSION_TIMEOUT_MS,
        transactionTimeoutMs: options.transactionTimeoutMs,
        changelogDeleteDelayMs: 3_000,
        onClose: options.onClose,
        standbyReplicas: options.standbyReplicas,
        logger: this.#logger(),
        metrics: new StreamsMetrics({ applicationId: options.applicationId }),
      }),
      files,
      groupInstanceId: name,
      transactionalId: `${options.applicationId}-${name}`,
    });
    void network.time.as(this.host, () => this.#run(transport));
  }

  get isRunning(): boolean {
    return this.ended === undefined && !this.host.isDead;
  }

  /** Stopped, or cut off: others may take its work over while it knows nothing. */
  get isZombie(): boolean {
    return this.host.stopped !== undefined || this.cutOff !== undefined;
  }

  /** Called at every moment in which the process and the rest of the world meet. */
  step(what: string): void {
    const trap = this.#trap;
    if (trap === undefined || this.host.isDead || !what.includes(trap.at)) return;
    trap.stepsLeft--;
    if (trap.stepsLeft > 0) return;
    this.#trap = undefined;
    this.#trace(`is caught as ${what}`);
    trap.spring();
  }

  /** Does `spring` so many steps from now, counting those that have `at` in their names. */
  setTrap(at: string, steps: number, spring: () => void): void {
    this.#trap = { at, stepsLeft: steps, spring };
  }

  spare(): void {
    this.#trap = undefined;
  }

  /** SIGKILL. */
  kill(): void {
    this.#trace("is killed");
    this.#die();
  }

  /** SIGTERM. */
  close(): void {
    this.isClosing = true;
    this.#trace("is closed");
    // An event of its own: what wakes up by it goes on as this process.
    this.#options.network.time.schedule(this.host, 0, () => this.#thread.close());
  }

  stop(): void {
    this.#trace("is stopped");
    this.#options.network.time.stop(this.host);
  }

  resume(): void {
    if (this.host.stopped === undefined) return;
    this.#trace("goes on");
    this.#options.network.time.resume(this.host);
  }

  get reason(): string {
    return `${this.#thread.status.phase}: ${this.#thread.status.reason}`;
  }

  async #run(transport: Transport): Promise<void> {
    let error: unknown;
    try {
      await transport.connect();
      await this.#thread.run();
    } catch (thrown) {
      error = thrown;
    }
    if (this.host.isDead) return;
    this.#trace(`ends: ${error === undefined ? "closed" : told(error)}`);
    this.#options.disk.unlock();
    this.ended = { error };
  }

  #die(): void {
    const { network, disk } = this.#options;
    this.host.isDead = true;
    this.ended = { error: undefined };
    const closeHandles = disk.die();
    // Not now: the kill may have come in the midst of a write, and what goes on there must not fail for another reason.
    network.time.schedule(network.broker, 0, closeHandles);
  }

  #trace(line: string): void {
    const { network } = this.#options;
    network.trace.add(network.time.nowMs, `${this.host.name} ${line}`);
  }

  #logger(): Logger {
    const say = (_: object, message: string): void => {
      if (!this.host.isDead) this.#trace(`says: ${message}`);
    };
    return { debug: () => undefined, info: say, warn: say, error: say };
  }
}

export function told(error: unknown): string {
  if (error instanceof StreamsError) return `${error.code} ${error.message}`;
  return error instanceof Error ? `${error.name} ${error.message}` : String(error);
}
