import { appendFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Guarantee } from "./contenders.js";
import type { Environment } from "./machine.js";

export const PARTS = ["throughput", "latency", "restore", "micro", "formats", "growth"] as const;
export type Part = (typeof PARTS)[number];

export const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));

/** One session of the harness: what was asked for, and where it ran. */
export interface SessionLine {
  readonly kind: "session";
  readonly session: string;
  readonly command: string;
  readonly isQuick: boolean;
  readonly environment: Environment;
}

/** One run of one contender. Figures by name; the units are the last word of each name. */
export interface RunLine {
  readonly kind: "run";
  readonly session: string;
  readonly part: Part;
  readonly guarantee?: Guarantee;
  readonly contender: string;
  /** What is special about this run: a setting, a format, a size. */
  readonly variant?: string;
  readonly round: number;
  readonly threads?: number;
  readonly figures: Readonly<Record<string, number>>;
  readonly isNoisy?: boolean;
}

export type ResultLine = SessionLine | RunLine;

/** Appends each line as it comes, so that what is measured is kept whatever happens after it. */
export class Results {
  readonly session = new Date().toISOString();
  readonly runs: RunLine[] = [];
  readonly #file: string;

  constructor(
    readonly directory: string,
    session: Omit<SessionLine, "kind" | "session">,
  ) {
    mkdirSync(directory, { recursive: true });
    this.#file = join(directory, `${this.session.replaceAll(/[:.]/g, "-")}.jsonl`);
    this.#append({ kind: "session", session: this.session, ...session });
  }

  add(run: Omit<RunLine, "kind" | "session">): void {
    const line: RunLine = { kind: "run", session: this.session, ...run };
    this.runs.push(line);
    this.#append(line);
  }

  #append(line: ResultLine): void {
    appendFileSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}

/** Every line of every session in the folder, oldest session first. */
export function readResults(directory: string): { readonly sessions: SessionLine[]; readonly runs: RunLine[] } {
  const files = readdirSync(directory).filter((name) => name.endsWith(".jsonl"));
  const lines = files
    .sort()
    .flatMap((name) => readFileSync(join(directory, name), "utf8").split("\n"))
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as ResultLine);
  return {
    sessions: lines.filter((line): line is SessionLine => line.kind === "session"),
    runs: lines.filter((line): line is RunLine => line.kind === "run"),
  };
}
