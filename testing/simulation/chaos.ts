import { join } from "node:path";
import type { EmbeddedLog } from "../../runtime/embedded/embedded-log.js";
import { AmbiguousCommitError, FencedError } from "../../runtime/errors.js";
import type { ProcessorTopology } from "../../topology/processor-topology.js";
import { Disk } from "./disk.js";
import { Instance, SESSION_TIMEOUT_MS, told } from "./instance.js";
import { type Network, NO_FAULTS } from "./network.js";
import { APPLICATION_ID } from "./pipeline.js";
import type { Plan } from "./plan.js";
import { type PlantedBug, plantedInTransport } from "./planted-bugs.js";
import type { Random } from "./random.js";

/** A machine: its disk outlives the processes that run on it, one after the other, under one identity. */
interface Machine {
  readonly name: string;
  readonly disk: Disk;
  process: Instance | undefined;
  startsAtMs: number;
  wallOffsetMs: number;
}

const HOUR_MS = 3_600_000;
const SUPERVISE_MS = 200;
/** After what a dead process has sent has arrived. */
const RESTART_MS_MIN = 600;
const RESTART_MS_MAX = 2_000;
/** Processes are killed and stopped at any step, or at one of these: the few that matter most are rare among the many. */
const CAUGHT_AT = ["", "", "commit", "writ", "offsets", "transaction", "stor", "initialize", "join", "file"];
const STARTING_AT = ["", "join", "file", "stor", "stor", "offsets"];
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
    readonly options: { readonly directory: string; readonly bug: PlantedBug | undefined },
  ) {
    this.#machines = Array.from({ length: plan.instances }, (_, at) => ({
      name: `m${at}`,
      disk: new Disk(join(options.directory, `m${at}`), APPLICATION_ID),
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
    this.network.broker.wallOffsetMs = Math.max(0, this.network.broker.wallOffsetMs);
    for (const machine of this.#machines) {
      const { process } = machine;
      machine.startsAtMs = Math.min(machine.startsAtMs, this.#nowMs + RESTART_MS_MIN);
      if (process === undefined) continue;
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
    machine.startsAtMs = this.#nowMs + this.#restartMs();
    const isOnlyGivingUp = error instanceof FencedError || error instanceof AmbiguousCommitError;
    const isFine = error === undefined ? process.host.isDead || process.isClosing : isOnlyGivingUp && !this.#isEnding;
    if (!isFine) this.failures.push(`${machine.name} ended by itself: ${told(error)}`);
  }

  #restartMs(): number {
    return this.#isCalm ? RESTART_MS_MIN : this.random.between(RESTART_MS_MIN, RESTART_MS_MAX);
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
      onClose: random.happens(0.5) ? "leave" : "stay",
      wallOffsetMs: machine.wallOffsetMs,
      lookMs: plan.lookMs,
      through: plantedInTransport(options.bug),
      checkpointEarly: options.bug === "checkpoint-early",
    });
    // A process that has just been killed may be killed again while it starts.
    if (!this.#isCalm && random.happens(0.35)) {
      const { process } = machine;
      this.#catch(process, random.pick(STARTING_AT), () => process.kill());
    }
  }

  // ---- the enemy ----

  #act(): void {
    const machine = this.random.pick(this.#machines);
    const { process } = machine;
    // A zombie is left alone: what it does when it awakes is what it is for.
    if (process === undefined || !process.isRunning || process.isZombie) return;
    this.faults++;
    const { plan, random } = this;
    const deeds = [
      () => this.#kill(machine, process),
      () => this.#kill(machine, process),
      () => process.close(),
      ...(plan.zombies
        ? [
            () => this.#stop(process),
            () => this.#stop(process),
            () => this.#cutOff(process),
            () => this.#cutOff(process),
          ]
        : []),
      ...(plan.clocksJump ? [() => this.#jump(machine, process), () => this.#jumpBroker()] : []),
    ];
    random.pick(deeds)();
  }

  #kill(machine: Machine, process: Instance): void {
    this.#catch(process, this.random.pick(CAUGHT_AT), () => process.kill());
    if (!this.plan.disksFail || !this.random.happens(0.5)) return;
    const { disk } = machine;
    if (process.isRunning) disk.remember();
    const harm = this.random.pick([() => disk.wipe(), () => disk.corrupt(), () => disk.losePower()]);
    const strike = (): void => {
      // The disk fails together with the process; a process that was closed meanwhile keeps what it has.
      if (machine.process !== undefined && machine.process !== process) return;
      if (process.host.isDead) harm();
      else if (process.isRunning) this.#after(SUPERVISE_MS / 4, strike);
    };
    strike();
  }

  /** At one of its next steps: in the midst of a commit, of a restore, of joining. */
  #catch(process: Instance, at: string, spring: () => void): void {
    process.setTrap(at, this.random.between(1, at === "" ? STEPS_MAX : STEPS_OF_KIND_MAX), spring);
  }

  #stop(process: Instance): void {
    this.#catch(process, this.random.pick(CAUGHT_AT), () => {
      process.stop();
      this.#after(this.#zombieMs(), () => process.resume());
    });
  }

  #cutOff(process: Instance): void {
    process.spare();
    process.cutOff = this.random.pick(["all", "group", "group"]);
    this.#say(`${process.host.name} is cut off: ${process.cutOff}`);
    this.#after(this.#zombieMs(), () => {
      process.cutOff = undefined;
      this.#say(`${process.host.name} is connected again`);
    });
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
