import type { Random } from "./random.js";
import type { Trace } from "./trace.js";
import { Host, type VirtualTime } from "./virtual-time.js";

/** How often what goes wrong, as probabilities of one request. */
export interface FaultRates {
  /** The request never arrives. */
  readonly lostRequest: number;
  /** The request is carried out, and nobody hears of it. */
  readonly lostAnswer: number;
  /** The request is carried out after its sender has given it up. */
  readonly late: number;
  /** The request is carried out twice, where that is allowed. */
  readonly repeated: number;
  /** Request or answer takes up to `slowMs`. */
  readonly slow: number;
}

export const NO_FAULTS: FaultRates = { lostRequest: 0, lostAnswer: 0, late: 0, repeated: 0, slow: 0 };

const HOP_MS = 1;
const SLOW_MS = 250;
/** How long a sender waits for an answer that does not come. */
const PATIENCE_MS = 600;
const LATE_MS = 3_000;

export interface Request<T> {
  readonly what: string;
  readonly work: () => Promise<T>;
  /** What its sender throws when no answer came. */
  readonly unanswered: (message: string) => Error;
  /** How much more or less likely faults are than for others. */
  readonly weight?: number;
  readonly mayRepeat?: boolean;
  /** Whether the log may see the request after its sender has given it up. */
  readonly mayBeLate?: boolean;
}

/** A process as the network sees it. */
export interface Endpoint {
  readonly host: Host;
  /** It sends, or receives, or writes to its disk: the moments in which it may be killed. */
  step(what: string): void;
  /** `all`: nothing it sends arrives. `group`: its heartbeats do not, and all else does, so that it goes on without knowing. */
  readonly cutOff: "all" | "group" | undefined;
}

/** What lies between the processes and the broker: it loses, delays, repeats and reorders requests and answers. */
export class Network {
  readonly broker: Host;
  rates: FaultRates;

  constructor(
    readonly time: VirtualTime,
    readonly random: Random,
    readonly trace: Trace,
    rates: FaultRates,
  ) {
    this.broker = new Host("broker", () => random.fraction());
    this.rates = rates;
  }

  send<T>(from: Endpoint, request: Request<T>): Promise<T> {
    const { what } = request;
    from.step(`${what} is sent`);
    return new Promise((resolve, reject) => {
      if (from.host.isDead) return;
      const fate = this.#fate(from, request);
      this.trace.add(this.time.nowMs, `${from.host.name} sends ${what}${fate === "fine" ? "" : `: ${fate}`}`);
      if (fate !== "fine" && fate !== "repeated") {
        const unanswered = (): void =>
          this.#receive(from, `no answer to ${what}`, () => reject(request.unanswered(`${what}: no answer`)));
        this.time.schedule(from.host, PATIENCE_MS, unanswered);
      }
      if (fate === "lost request") return;
      const delayMs = fate === "late" ? PATIENCE_MS + this.random.fraction() * LATE_MS : this.hopMs();
      const answer = (line: string, settle: () => void): void => {
        this.trace.add(this.time.nowMs, `broker did ${what} of ${from.host.name}: ${line}`);
        if (fate === "fine" || fate === "repeated")
          this.time.schedule(from.host, this.hopMs(), () => this.#receive(from, what, settle));
      };
      this.time.schedule(this.broker, delayMs, () => {
        this.#carryOut(request, fate === "repeated").then(
          (value) => answer("ok", () => resolve(value)),
          (error: unknown) => answer(String(error), () => reject(error)),
        );
      });
    });
  }

  /** An answer on its way to a process; the process gets it when it runs, and never when it is dead. */
  hand<T>(to: Endpoint, what: string, value: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void): void => {
        this.time.schedule(to.host, this.hopMs(), () => this.#receive(to, what, settle));
      };
      value.then(
        (found) => answer(() => resolve(found)),
        (error: unknown) => answer(() => reject(error)),
      );
    });
  }

  hopMs(): number {
    const ms = this.random.fraction() * HOP_MS;
    return this.random.happens(this.rates.slow) ? ms + this.random.fraction() * SLOW_MS : ms;
  }

  #receive(to: Endpoint, what: string, settle: () => void): void {
    to.step(`${what} is answered`);
    if (to.host.isDead) return;
    // The step may have stopped it: then it learns of this when it goes on.
    if (to.host.stopped === undefined) settle();
    else this.time.schedule(to.host, 0, settle);
  }

  #fate(from: Endpoint, { weight = 1, mayRepeat = false, mayBeLate = false }: Request<unknown>) {
    // Drawn in any case, so that a changed rate does not shift what comes after.
    const [lost, unheard, late, repeated] = [0, 1, 2, 3].map(() => this.random.fraction()) as [
      number,
      number,
      number,
      number,
    ];
    if (from.cutOff === "all" || lost < this.rates.lostRequest * weight) return "lost request";
    if (unheard < this.rates.lostAnswer * weight) return "lost answer";
    if (mayBeLate && late < this.rates.late * weight) return "late";
    return mayRepeat && repeated < this.rates.repeated * weight ? "repeated" : "fine";
  }

  async #carryOut<T>({ work }: Request<T>, twice: boolean): Promise<T> {
    const first = await work();
    return twice ? work() : first;
  }
}
