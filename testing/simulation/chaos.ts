import { join } from "node:path";
import type { EmbeddedLog } from "../../runtime/embedded/embedded-log.js";
import { AmbiguousCommitError, FatalError, FencedError } from "../../runtime/errors.js";
import type { ProcessorTopology } from "../../topology/processor-topology.js";
import { Disk } from "./disk.js";
import { Instance, SESSION_TIMEOUT_MS, told } from "./instance.js";
import { type Network, NO_FAULTS } from "./network.js";
import { APPLICATION_ID } from "./pipeline.js";
import type { Deed, Plan } from "./plan.js";
import { type PlantedBug, plantedInTransport } from "./planted-bugs.js";
import type { Random } from "./random.js";

/** A machine: its disk outlives the processes that run on it, one after the other, under one identity. */
interface Machine {
  readonly name: string;
  readonly disk: Disk;
  /** It has the identity of another machine, runs once, and is one too many. */
  readonly isTwin: boolean;
  process: Instance | undefined;
  startsAtMs: number;
  wallOffsetMs: number;
}

const HOUR_MS = 3_600_000;
const SUPERVISE_MS = 200;
/** After what a dead process has sent has arrived. */
const RESTART_MS_MIN = 600;
const RESTART_MS_MAX = 2_000;
/** After its work has gone to others. */
const LATE_RESTART_MS_MAX = 6_000;
/** Processes are killed and stopped at any step, or at one of these: the few that matter most are rare among the many. */
const CAUGHT_AT = ["", "", "commit", "writ", "offsets", "transaction", "midst", "stor", "initialize", "join", "file"];
const STARTING_AT = ["", "join", "file", "midst", "midst", "stor", "offsets"];
const STEPS_MAX = 60;
const STEPS_OF_KIND_MAX = 6;

/** Runs the machines, and does to them what the plan allows: the operator and the enemy in one. */
export class Chaos {
  /** What must never happen, whatever goes wrong. */
  readonly failures: string[] = [];
  faults = 0;
  readonly #machines: Machine[];
  #isCalm = false;
  #isEnding = false;

  constructor(
    readonly plan: Plan,
    readonly network: Network,
    readonly log: EmbeddedLog,
    readonly random: Random,
    readonly topology: ProcessorTopology,
    readonly options: {
      readonly directory: string;
      readonly bug: PlantedBug | undefined;
      readonly beforeClockJump: () => void;
    },
  ) {
    this.#machines = Array.from({ length: plan.instances }, (_, at) => ({
      name: `m${at}`,
      disk: new Disk(join(options.directory, `m${at}`), APPLICATION_ID),
      isTwin: false,
      process: undefined,
      startsAtMs: at === 0 ? 0 : random.between(0, plan.chaosMs / 2),
      wallOffsetMs: 0,
    }));
  }

  begin(): void {
    this.#every(SUPERVISE_MS, () => this.#supervise());
    const next = (): void => {
      this.#after(this.plan.pauseMs * 2 * this.random.fraction(), () => {
        if (this.#isCalm) return;
        this.#act();
        next();
      });
    };
    next();
  }

  /** From now on nothing goes wrong. */
  calm(): void {
    this.#isCalm = true;
    this.network.rates = NO_FAULTS;
    for (const machine of this.#machines) {
      const { process } = machine;
      machine.startsAtMs = Math.min(machine.startsAtMs, this.#nowMs + RESTART_MS_MIN);
      if (machine.isTwin) machine.startsAtMs = Number.POSITIVE_INFINITY;
      if (process === undefined) continue;
      if (machine.isTwin && process.isRunning) process.kill();
      process.cutOff = undefined;
      process.spare();
      process.resume();
    }
  }

  end(): void {
    this.#isEnding = true;
    for (const { process } of this.#machines) if (process?.isRunning) process.close();
  }

  /** Closes what is still open, whatever state it is in: the run is over. */
  abandon(): void {
    for (const { disk } of this.#machines) disk.abandon();
  }

  get hasEnded(): boolean {
    return this.#machines.every(({ process }) => process === undefined || !process.isRunning);
  }

  get story(): string {
    const of = ({ name, process }: Machine): string =>
      `${name} ${process === undefined ? "was never started" : process.isRunning ? process.reason : `ended ${told(process.ended?.error)}`}`;
    return this.#machines.map(of).join("; ");
  }

  // ---- the operator ----

  /** Starts what is down, and looks at why it went down. */
  #supervise(): void {
    for (const machine of this.#machines) {
      const { process } = machine;
      if (process?.isRunning) continue;
      if (process !== undefined) this.#judge(machine, process);
      if (machine.process === undefined && !this.#isEnding && machine.startsAtMs <= this.#nowMs) this.#start(machine);
    }
  }

  #judge(machine: Machine, process: Instance): void {
    const error = process.ended?.error;
    machine.process = undefined;
    machine.startsAtMs = machine.isTwin ? Number.POSITIVE_INFINITY : this.#nowMs + this.#restartMs();
    const isOnlyGivingUp = error instanceof FencedError || error instanceof AmbiguousCommitError;
    const isFine = error === undefined ? process.host.isDead || process.isClosing : isOnlyGivingUp && !this.#isEnding;
    if (this.#isOfTwins(error)) return;
    if (!isFine) this.failures.push(`${machine.name} ended by itself: ${told(error)}`);
  }

  /** The one of two with the same identity that came first ends, and says why. */
  #isOfTwins(error: unknown): boolean {
    const isFenced = error instanceof FatalError && /^(INSTANCE_FENCED|FENCED_INSTANCE_ID)$/.test(error.code);
    return isFenced && this.plan.deeds.includes("twin");
  }

  #restartMs(): number {
    if (this.#isCalm) return RESTART_MS_MIN;
    if (this.random.happens(0.3)) return this.random.between(RESTART_MS_MAX, LATE_RESTART_MS_MAX);
    return this.random.between(RESTART_MS_MIN, RESTART_MS_MAX);
  }

  #start(machine: Machine): void {
    const { network, log, random, topology, plan, options } = this;
    machine.process = new Instance({
      name: machine.name,
      network,
      log,
      disk: machine.disk,
      random,
      topology,
      applicationId: APPLICATION_ID,
      guarantee: plan.guarantee,
      commitIntervalMs: plan.commitIntervalMs,
      transactionTimeoutMs: plan.transactionTimeoutMs,
      standbyReplicas: plan.standbyReplicas,
      onClose: random.happens(0.5) ? "leave" : "stay",
      wallOffsetMs: machine.wallOffsetMs,
      lookMs: plan.lookMs,
      through: plantedInTransport(options.bug),
      checkpointEarly: options.bug === "checkpoint-early",
    });
    // A process that has just been killed may be killed again while it starts.
    if (!this.#isCalm && plan.deeds.includes("kill") && random.happens(0.5)) {
      this.#killSoon(machine, machine.process, random.pick(STARTING_AT));
    }
  }

  // ---- the enemy ----

  #act(): void {
    const machine = this.random.pick(this.#machines);
    const { process } = machine;
    // A zombie is left alone: what it does when it awakes is what it is for.
    if (process === undefined || !process.isRunning || process.isZombie) return;
    this.faults++;
    const deeds: Readonly<Record<Deed, () => void>> = {
      kill: () => this.#killSoon(machine, process, this.random.pick(CAUGHT_AT)),
      close: () => process.close(),
      stop: () => this.#stopSoon(process),
      "cut-off": () => this.#cutOff(process, "all"),
      "cut-off-group": () => this.#cutOff(process, "group"),
      twin: () => this.#addTwin(machine),
      "clock-jump": () => this.#jump(machine, process),
      "broker-clock-jump": () => this.#jumpBroker(),
    };
    deeds[this.random.pick(this.plan.deeds)]();
  }

  #killSoon(machine: Machine, process: Instance, at: string): void {
    const { disk, name } = machine;
    const isFailing = this.random.happens(this.plan.diskFailures);
    if (isFailing) disk.remember();
    this.#catch(process, at, () => {
      process.kill();
      if (!isFailing) return;
      const harm = this.random.pick(["wipe", "corrupt", "losePower"] as const);
      this.#say(`${name}'s disk: ${harm}`);
      disk[harm]();
    });
  }

  /** At one of its next steps: in the midst of a commit, of a restore, of joining. */
  #catch(process: Instance, at: string, spring: () => void): void {
    process.setTrap(at, this.random.between(1, at === "" ? STEPS_MAX : STEPS_OF_KIND_MAX), spring);
  }

  #stopSoon(process: Instance): void {
    this.#catch(process, this.random.pick(CAUGHT_AT), () => {
      process.stop();
      this.#after(this.#zombieMs(), () => process.resume());
    });
  }

  #cutOff(process: Instance, from: "all" | "group"): void {
    process.spare();
    process.cutOff = from;
    this.#say(`${process.host.name} is cut off: ${from}`);
    this.#after(this.#zombieMs(), () => {
      process.cutOff = undefined;
      this.#say(`${process.host.name} is connected again`);
    });
  }

  #addTwin({ name }: Machine): void {
    const directory = join(this.options.directory, `${name}-twin-${this.#machines.length}`);
    const disk = new Disk(directory, APPLICATION_ID);
    const startsAtMs = this.#nowMs;
    this.#machines.push({ name, disk, isTwin: true, process: undefined, startsAtMs, wallOffsetMs: 0 });
  }

  #zombieMs(): number {
    return (0.7 + 2 * this.random.fraction()) * SESSION_TIMEOUT_MS;
  }

  #jump(machine: Machine, process: Instance): void {
    const byMs = Math.floor((this.random.fraction() - 0.5) * 60 * HOUR_MS);
    this.#say(`${machine.name}'s clock jumps by ${byMs} ms`);
    machine.wallOffsetMs += byMs;
    process.host.wallOffsetMs += byMs;
  }

  /** Forward by as much as ends sessions and transactions; back by little, else they would hardly end at all. */
  #jumpBroker(): void {
    const byMs = Math.floor(this.random.fraction() * 4_000 - 1_000);
    this.#say(`the broker's clock jumps by ${byMs} ms`);
    this.options.beforeClockJump();
    this.network.broker.wallOffsetMs += byMs;
  }

  // ---- time ----

  get #nowMs(): number {
    return this.network.time.nowMs;
  }

  #after(delayMs: number, work: () => void): void {
    this.network.time.schedule(this.network.broker, delayMs, work);
  }

  #every(intervalMs: number, work: () => void): void {
    this.#after(intervalMs, () => {
      work();
      this.#every(intervalMs, work);
    });
  }

  #say(line: string): void {
    this.network.trace.add(this.#nowMs, line);
  }
}
