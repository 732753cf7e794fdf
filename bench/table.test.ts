import { expect, test } from "vitest";
import type { RunLine } from "./results.js";
import { comparison, printed } from "./table.js";

function run(contender: string, round: number, recordsPerSecond: number, cpuMicrosPerRecord: number): RunLine {
  const which = { kind: "run", session: "s", part: "throughput", guarantee: "exactly_once" } as const;
  return { ...which, contender, round, figures: { recordsPerSecond, cpuMicrosPerRecord, peakMb: 100 } };
}

const RUNS = [
  run("millrace", 1, 150_000, 8),
  run("kafka-streams", 1, 50_000, 40),
  run("bare-loop", 1, 200_000, 5),
  run("millrace", 2, 120_000, 9),
  run("kafka-streams", 2, 60_000, 30),
  run("bare-loop", 2, 180_000, 6),
];

test("figures are medians with their spread; ratios are taken round by round", () => {
  const found = comparison(RUNS, "exactly_once");
  expect(found?.rows.map(({ name, cells }) => [name, cells[0], cells[1]])).toEqual([
    ["Millrace", "135,000 (120,000–150,000)", "8.5 (8.0–9.0)"],
    ["Kafka Streams", "55,000 (50,000–60,000)", "35.0 (30.0–40.0)"],
    ["bare loop", "190,000 (180,000–200,000)", "5.5 (5.0–6.0)"],
  ]);
  expect(found?.ratios.at(-1)?.cells).toEqual(["2.50× (2.00×–3.00×)", "0.25× (0.20×–0.30×)", "1.00× (1.00×–1.00×)"]);
  expect(found?.overBareLoop).toEqual({ median: 1.55, min: 1.5, max: 1.6, count: 2 });
});

test("a round that only one has finished has no ratio", () => {
  const found = comparison([...RUNS, run("millrace", 3, 1, 1)], "exactly_once");
  expect(found?.ratios.at(-1)?.cells[0]).toBe("2.50× (2.00×–3.00×)");
});

test("a variant has its own row and its own ratios, before those of the standard", () => {
  const more = { ...run("millrace", 1, 200_000, 10), variant: "2 threads" };
  const linger = { ...run("kafka-streams", 1, 1, 1), variant: "linger.ms=0" };
  const growth = { ...run("millrace", 1, 1, 1), part: "growth", variant: "3,000,000 records" } as const;
  const found = comparison([...RUNS, growth, linger, more], "exactly_once");
  expect(found?.rows.map(({ name, cells }) => [name, cells[0]])).toEqual([
    ["Millrace", "135,000 (120,000–150,000)"],
    ["Millrace, 2 threads", "200,000"],
    ["Kafka Streams", "55,000 (50,000–60,000)"],
    ["Kafka Streams, linger.ms=0", "1"],
    ["bare loop", "190,000 (180,000–200,000)"],
  ]);
  expect(found?.ratios.map(({ name, cells }) => [name, cells[0], cells[1]])).toEqual([
    ["Millrace, 2 threads / Kafka Streams", "4.00×", "0.25×"],
    ["Millrace / Kafka Streams", "2.50× (2.00×–3.00×)", "0.25× (0.20×–0.30×)"],
  ]);
});

test("nothing is said of a guarantee that was not measured", () => {
  expect(comparison(RUNS, "at_least_once")).toBeUndefined();
});

test("the last line of the printed table has the ratios", () => {
  const [, ratios] = printed(comparison(RUNS, "exactly_once")!).trimEnd().split("\n").reverse();
  expect(ratios).toContain("Millrace / Kafka Streams");
});
