import { beforeAll, expect, test } from "vitest";
import { buildIfStale } from "../../bench/build-if-stale.js";
import { ChaosRun } from "./chaos-run.js";
import { missingForNamespaces } from "./namespaces.js";
import type { Guarantee } from "./oracle.js";

const TIMEOUT_MS = 400_000;

beforeAll(buildIfStale);

/** The one fault that needs more than a user's rights. Left out only where somebody says so: `WITHOUT_ROOT=1`. */
async function canCut(): Promise<boolean> {
  if (process.env.WITHOUT_ROOT === "1") return false;
  const missing = await missingForNamespaces();
  if (missing === undefined) return true;
  throw new Error(`no connection can be cut here: ${missing}. WITHOUT_ROOT=1 runs the other faults alone`);
}

test.each<[Guarantee, number]>([
  ["exactly_once", 75_000],
  ["at_least_once", 40_000],
])(
  "%s: whatever is killed, frozen, cut off, wiped or damaged, the outputs are the oracle's",
  async (guarantee, durationMs) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
    const withCuts = await canCut();
    console.log(`chaos under ${guarantee}: again with SEED=${seed}${withCuts ? "" : ". NO CONNECTION IS CUT"}`);
    const events: string[] = [];
    // With the time of day: the log's records and the instances' lines have theirs.
    const onEvent = ({ text }: { readonly text: string }): void =>
      void events.push(`${new Date().toISOString()} ${text}`);
    const run = await ChaosRun.open({ seed, guarantee, durationMs, roundMs: 40_000, withCuts, onEvent });
    try {
      const { differences, details, faults, inputs, outputs, slowestCloseMs, directory } = await run.run();
      const told =
        differences.length === 0 ? "" : `\n${[...events, ...details].join("\n")}\nlogs and state: ${directory}`;
      expect(`${differences.join("\n")}${told}`).toBe("");
      expect([...faults.values()].reduce((sum, times) => sum + times, 0)).toBeGreaterThan(durationMs / 10_000);
      expect(inputs).toBeGreaterThan(durationMs / 10);
      expect(outputs).toBeGreaterThan(inputs / 10);
      console.log(`faults ${[...faults].map(([kind, times]) => `${kind} ${times}`).join(", ")}; ${inputs} records`);
      console.log(`the slowest SIGTERM took ${(slowestCloseMs / 1_000).toFixed(1)} s`);
    } finally {
      await run.close();
    }
  },
  TIMEOUT_MS,
);
