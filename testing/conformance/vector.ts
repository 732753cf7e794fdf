import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What Kafka Streams' own test driver did with one topology, parameters and random input; `vectors/README.md` has the form. */
export interface Vector {
  readonly topology: string;
  readonly seed: number;
  readonly params: Readonly<Record<string, number | boolean>>;
  readonly initialWallClockMs: number;
  readonly steps: readonly Step[];
  readonly droppedRecords?: number;
  readonly stores?: Readonly<Record<string, readonly StoreRow[]>>;
}

export type Step = PipeStep | { readonly advanceWallClockMs: number; readonly out: readonly Output[] };

export interface PipeStep {
  readonly topic: string;
  readonly key: string | null;
  readonly value: unknown;
  readonly timestamp: number;
  readonly out: readonly Output[];
}

export interface WindowedKey {
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

export interface Output {
  readonly topic: string;
  readonly key: string | WindowedKey | null;
  readonly value: unknown;
  readonly timestamp: number;
}

export interface StoreRow {
  readonly key: string;
  /** Of a window store's row. */
  readonly start?: number;
  readonly end?: number;
  readonly value: unknown;
  readonly timestamp?: number;
}

/** The names of the topologies that a folder has vectors of, sorted. */
export function topologiesIn(folder: string): readonly string[] {
  const suffix = ".jsonl";
  const names = readdirSync(folder).filter((file) => file.endsWith(suffix));
  if (names.length === 0) throw new Error(`${folder} has no *.jsonl: CONFORMANCE_VECTORS names a folder of vectors`);
  return names.map((file) => file.slice(0, -suffix.length)).sort();
}

export function readVectors(folder: string, topology: string): readonly Vector[] {
  const lines = readFileSync(join(folder, `${topology}.jsonl`), "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Vector);
}
