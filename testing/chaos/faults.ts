import { Random } from "../../apps/purchase/random.js";

export const FAULTS = ["kill", "freeze", "scale-out", "scale-in", "broker-kill", "cut", "wipe", "corrupt"] as const;
export type FaultKind = (typeof FAULTS)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** Since the one before. */
  readonly afterMs: number;
  /** How long it lasts: dead, frozen, cut off. */
  readonly lastsMs: number;
  /** Chooses among the instances that it can happen to. */
  readonly choice: number;
}

/** How often each comes in one deal of the cards: all of them come, in any order. */
const DEAL: readonly FaultKind[] = [
  ...(["kill", "kill", "kill", "freeze", "freeze", "cut", "cut"] as const),
  ...(["scale-out", "scale-in", "broker-kill", "wipe", "corrupt"] as const),
];

export interface FaultOptions {
  readonly seed: number;
  readonly sessionTimeoutMs: number;
  readonly meanGapMs: number;
  readonly without: readonly FaultKind[];
}

/** Faults without end; the same seed gives the same ones. */
export function* faults({ seed, sessionTimeoutMs, meanGapMs, without }: FaultOptions): Generator<Fault> {
  const random = new Random(seed);
  const cards = DEAL.filter((kind) => !without.includes(kind));
  for (;;) {
    for (const kind of shuffled(cards, random)) {
      yield {
        kind,
        afterMs: Math.round(random.between(meanGapMs / 4, meanGapMs * 1.75)),
        lastsMs: lastsMs(kind, sessionTimeoutMs, random),
        choice: random.fraction(),
      };
    }
  }
}

function lastsMs(kind: FaultKind, sessionTimeoutMs: number, random: Random): number {
  switch (kind) {
    // Past the session: its partitions are others' when it wakes.
    case "freeze":
      return sessionTimeoutMs + random.between(500, 4_000);
    // Some shorter than a session, some longer.
    case "cut":
      return random.between(500, 2 * sessionTimeoutMs);
    case "broker-kill":
      return random.between(0, 6_000);
    default:
      return random.between(0, 3_000);
  }
}

function shuffled<T>(cards: readonly T[], random: Random): T[] {
  const rest = [...cards];
  for (let at = rest.length - 1; at > 0; at--) {
    const other = random.between(0, at + 1);
    [rest[at], rest[other]] = [rest[other] as T, rest[at] as T];
  }
  return rest;
}
