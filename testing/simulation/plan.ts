import type { ProcessingGuarantee } from "../../runtime/config.js";
import type { FaultRates } from "./network.js";
import type { Event, FinalBy } from "./pipeline.js";
import type { Random } from "./random.js";

/** `twin`: a second process runs under the identity of this one. `cut-off-group`: all but its heartbeats arrives. */
export type Deed =
  | "kill"
  | "close"
  | "stop"
  | "cut-off"
  | "cut-off-group"
  | "twin"
  | "clock-jump"
  | "broker-clock-jump";

const DEEDS: readonly Deed[] = [
  "kill",
  "close",
  "stop",
  "cut-off",
  "cut-off-group",
  "twin",
  "clock-jump",
  "broker-clock-jump",
];
/** These let a process go on, unknowing, when its work has gone to others. */
const MAKE_ZOMBIES: readonly Deed[] = ["stop", "cut-off", "cut-off-group", "twin"];

export interface Plan {
  readonly guarantee: ProcessingGuarantee;
  readonly finalBy: FinalBy;
  readonly partitions: number;
  readonly instances: number;
  readonly commitIntervalMs: number;
  /** Longer than sessions in some runs: then what a dead process left open is ended by whoever takes its work over. */
  readonly transactionTimeoutMs: number;
  /** Copies of each task's state on other machines. */
  readonly standbyReplicas: number;
  readonly rates: FaultRates;
  /** The share of commits whose markers come after their answers. */
  readonly lateMarkers: number;
  /** How long things go wrong. */
  readonly chaosMs: number;
  /** Between two things that are done to processes, clocks and disks. */
  readonly pauseMs: number;
  /** What is done to processes and clocks, each as often as it stands here. */
  readonly deeds: readonly Deed[];
  /** How often a disk is lost, damaged or set back when its process is killed. */
  readonly diskFailures: number;
  /** The most that one look at the clock takes. */
  readonly lookMs: number;
  /** Written while things go wrong, each batch at its time. */
  readonly events: readonly Event[];
  /** Written when all is well again: every row is touched once more, so that what is wrong in it shows. */
  readonly lastEvents: readonly Event[];
}

const COLORS = ["red", "green", "blue"];
const KEYS_PER_PARTITION = 3;
const FIRST_EVENT_MS = 1_749_999_990_000;

export function planOf(random: Random): Plan {
  const partitions = random.between(1, 3);
  const most = random.pick([0.003, 0.01, 0.03]);
  // Each run has its own few kinds of trouble, and more of them: all kinds in all runs would get in each other's way.
  const chosen = DEEDS.filter((deed) => random.happens(deed === "kill" ? 0.8 : 0.4));
  const deeds = (chosen.length > 0 ? chosen : (["kill"] as const)).flatMap((deed) =>
    Array.from({ length: random.between(1, 4) }, () => deed),
  );
  const rate = (): number => (random.happens(0.7) ? random.fraction() * most : 0);
  const plan = {
    guarantee: random.happens(0.7) ? ("exactly_once" as const) : ("at_least_once" as const),
    finalBy: random.pick(["emit", "emit", "suppress"] as const),
    partitions,
    instances: random.pick([1, 2, 2, 3, 3]),
    commitIntervalMs: random.pick([20, 100, 400]),
    transactionTimeoutMs: random.pick([1_000, 1_000, 8_000]),
    rates: {
      lostRequest: rate(),
      lostAnswer: rate(),
      late: random.happens(0.6) ? rate() : 0,
      repeated: rate(),
      slow: rate() * 3,
    },
    lateMarkers: random.pick([0, 0.2, 1]),
    chaosMs: random.between(6_000, 14_000),
    pauseMs: random.pick([200, 500]),
    deeds,
    diskFailures: random.pick([0, 0, 0.3, 1]),
    lookMs: random.pick([0, 0, 2, 15]),
  };
  const count = random.between(60, 300);
  const next = eventSource(partitions, random);
  const events = Array.from({ length: count }, () => next(random.between(0, partitions)));
  const lastEvents = Array.from({ length: partitions * KEYS_PER_PARTITION * 2 }, (_, at) =>
    next(at % partitions, Math.floor(at / partitions) % KEYS_PER_PARTITION),
  );
  // Not drawn: the seeds that are known from before standbys go on to mean the same.
  return { ...plan, standbyReplicas: count % 2, events, lastEvents };
}

/** Whether a process may go on, unknowing, when its work has gone to others. */
export function mayHaveZombies({ deeds, rates }: Plan): boolean {
  return rates.late > 0 || deeds.some((deed) => MAKE_ZOMBIES.includes(deed));
}

/** Events whose time goes on, now and then by a leap, with some that are late and some that are too late. */
function eventSource(partitions: number, random: Random): (partition: number, key?: number) => Event {
  const nowMs = Array.from({ length: partitions }, () => FIRST_EVENT_MS);
  let id = 0;
  return (partition, key = random.between(0, KEYS_PER_PARTITION)) => {
    nowMs[partition] = (nowMs[partition] as number) + (random.happens(0.04) ? 40_000 : random.between(0, 3_000));
    const behindMs = random.happens(0.3) ? random.between(0, 45_000) : 0;
    return {
      id: id++,
      partition,
      key: `k${partition}${key}`,
      color: random.pick(COLORS),
      amount: random.between(1, 100),
      timestampMs: (nowMs[partition] as number) - behindMs,
    };
  };
}
