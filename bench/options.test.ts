import { describe, expect, test } from "vitest";
import { readOptions, UsageError } from "./options.js";

describe("the flags of the benchmark", () => {
  test("without any, everything is measured as docs/benchmarks.md says, and goes into the page", () => {
    expect(readOptions([])).toMatchObject({
      parts: ["throughput", "latency", "restore", "micro", "formats", "growth"],
      guarantees: ["at_least_once", "exactly_once"],
      ...{ rounds: 5, records: 1_000_000, users: 10_000, partitions: 9, rate: 2_000 },
      ...{ warmUpSeconds: 10, measuredSeconds: 30, peerThreads: "auto", isQuick: false, report: true },
    });
  });

  test("a quick run is smaller and never goes into the page; a flag wins over its sizes", () => {
    expect(readOptions(["--quick", "--rounds", "3"])).toMatchObject({ rounds: 3, isQuick: true, report: false });
  });

  test("sizes may be written as 10k and 3m", () => {
    expect(readOptions(["--growth", "1m/10k/9,10M/1m/60"])?.growth).toEqual([
      { records: 1_000_000, users: 10_000, partitions: 9 },
      { records: 10_000_000, users: 1_000_000, partitions: 60 },
    ]);
  });

  test("--help asks for nothing else", () => {
    expect(readOptions(["--help"])).toBeUndefined();
  });

  for (const [what, ...parameters] of [
    ["a part that is none", "--only", "speed"],
    ["a guarantee that is none", "--guarantee", "exactly_twice"],
    ["a size that is none", "--records", "many"],
    ["a point with a part too much", "--growth", "1m/10k/9/9"],
    ["a flag that is none", "--fast"],
  ]) {
    test(`${what} is refused`, () => {
      expect(() => readOptions(parameters)).toThrow(UsageError);
    });
  }
});
