import { createHash, type Hash } from "node:crypto";

/** Ids that are new in each run, and the directory of its files: nothing depends on them. */
const OF_THIS_RUN_ONLY = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\S*millrace-simulation-[^/]*/g;

/** What happened in a run, line by line: its hash says whether two runs were the same, its end tells how one failed. */
export class Trace {
  readonly #hash: Hash = createHash("sha256");
  readonly #lines: string[] | undefined;

  constructor(options: { readonly keep: boolean }) {
    this.#lines = options.keep ? [] : undefined;
  }

  add(nowMs: number, line: string): void {
    const text = `${nowMs.toFixed(2)} ${line.replace(OF_THIS_RUN_ONLY, "…")}`;
    this.#hash.update(text);
    this.#lines?.push(text);
  }

  get lines(): readonly string[] {
    return this.#lines ?? [];
  }

  digest(): string {
    return this.#hash.digest("hex");
  }
}
