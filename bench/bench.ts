import type { Transport } from "../runtime/transport.js";
import { type Contender, type Guarantee, millrace } from "./contenders.js";
import type { BenchOptions } from "./options.js";
import type { Progress } from "./progress.js";
import type { Results } from "./results.js";
import type { WatchedProcess } from "./watched-process.js";

/** What every part of the benchmark works with. */
export interface Bench {
  readonly transport: Transport;
  readonly brokers: readonly string[];
  readonly options: BenchOptions;
  readonly progress: Progress;
  readonly results: Results;
  /** Of each contender; Kafka Streams' is chosen by trying. */
  readonly threads: Record<Contender["name"], number>;
}

/** A contender as it takes part: with its own number of threads, or with another one, which is its variant then. */
export interface Entrant {
  readonly contender: Contender;
  readonly threads: number;
  readonly label: string;
  readonly variant?: string;
}

/** Millrace with each number of threads that was asked for, then the others. */
export function entrants({ options, threads }: Bench, others: readonly Contender[]): Entrant[] {
  const more = options.threads.slice(1).map((count) => {
    const variant = `${count} threads`;
    return { contender: millrace, threads: count, variant, label: `${millrace.label}, ${variant}` };
  });
  const [own, ...rest] = [millrace, ...others].map((contender) => ({
    contender,
    threads: threads[contender.name],
    label: contender.label,
  }));
  return [own as Entrant, ...more, ...rest];
}

export const RUNNING_TIMEOUT_MS = 120_000;
export const COMMITTED_TIMEOUT_MS = 900_000;

export function shortName(guarantee: Guarantee): string {
  return guarantee === "exactly_once" ? "exactly-once" : "at-least-once";
}

export function round2(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Ends it as a user would, and says so when it did not end well. @throws when it did not */
export async function endWell(running: WatchedProcess, label: string): Promise<void> {
  const code = await running.end("SIGTERM");
  // A JVM that ends by its shutdown hook has the signal's code.
  if (code !== 0 && code !== 143 && code !== "SIGTERM")
    throw new Error(`${label} ended with ${code}:\n${running.output}`);
}
