import { createHash, type Hash } from "node:crypto";

/** Ids that are new in each run, the directory of its files, and the machine and process that it ran on: nothing depends on them. */
const OF_THIS_RUN_ONLY =
  /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\S*millrace-simulation-[^/]*|on \S+ \(process \d+\)/g;

/** `nothing` where nobody asks: a run takes a thirtieth less. */
export type Kept = "nothing" | "digest" | "lines";

/** What happened in a run, line by line: its hash says whether two runs were the same, its end tells how one failed. */
export class Trace {
  readonly #hash: Hash | undefined;
  readonly #lines: string[] | undefined;

  constructor(kept: Kept) {
    this.#hash = kept === "nothing" ? undefined : createHash("sha256");
    this.#lines = kept === "lines" ? [] : undefined;
  }

  add(nowMs: number, line: string): void {
    if (this.#hash === undefined) return;
    const text = `${nowMs.toFixed(2)} ${line.replace(OF_THIS_RUN_ONLY, "…")}`;
    this.#hash.update(text);
    this.#lines?.push(text);
  }

  get lines(): readonly string[] {
    return this.#lines ?? [];
  }

  digest(): string | undefined {
    return this.#hash?.digest("hex");
  }
}
