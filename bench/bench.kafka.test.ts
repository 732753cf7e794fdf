import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, inject, onTestFinished, test } from "vitest";
import { figures } from "./report.js";
import { readResults } from "./results.js";

const CLI = fileURLToPath(new URL("./cli.ts", import.meta.url));

test("the benchmark runs every part, checks every run, and ends with the ratios", async () => {
  const results = await mkdtemp(join(tmpdir(), "millrace-bench-test-"));
  onTestFinished(() => rm(results, { recursive: true }));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", CLI, "--smoke", "--results", results],
    { env: { ...process.env, KAFKA_BROKERS: inject("kafkaBrokers").join(",") } },
  );

  expect(stdout.trimEnd().split("\n").at(-2)).toMatch(/Millrace \/ Kafka Streams +│ +[\d.]+× +│/);
  const { runs } = readResults(results);
  const withTwoThreads = runs.filter(({ variant, threads }) => variant === "2 threads" && threads === 2);
  expect(withTwoThreads.map(({ part }) => part).sort()).toEqual(["restore", "throughput"]);
  const measured = new Set(runs.map(({ part, contender }) => `${part} ${contender}`));
  expect([...measured].sort()).toEqual([
    "formats millrace",
    "growth millrace",
    "latency kafka-streams",
    "latency millrace",
    "micro format",
    "micro millrace",
    "restore kafka-streams",
    "restore millrace",
    "throughput bare-loop",
    "throughput kafka-streams",
    "throughput millrace",
  ]);
  for (const run of runs) for (const figure of Object.values(run.figures)) expect(figure).toBeGreaterThanOrEqual(0);
  expect(figures(results), "a smoke test is no figure").toBe("Nothing has been measured yet.\n");
}, 400_000);
