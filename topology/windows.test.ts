import { describe, expect, test } from "vitest";
import { days, hopping, hours, minutes, seconds, tumbling } from "./windows.js";

const startsOf = (windows: ReturnType<ReturnType<typeof hopping>["windowsFor"]>): number[] =>
  windows.map((window) => window.startMs);

test("times are milliseconds", () => {
  expect([seconds(2), minutes(5), hours(1), days(1)]).toEqual([2_000, 300_000, 3_600_000, 86_400_000]);
});

describe("tumbling windows", () => {
  const windows = tumbling({ sizeMs: 5, graceMs: 1 });

  test.each([
    [0, 0],
    [4, 0],
    [5, 5],
    [9, 5],
    [1_000_003, 1_000_000],
  ])("a record at %i is in the one window that starts at %i, which does not contain its end", (atMs, startMs) => {
    expect(windows.windowsFor(atMs)).toEqual([{ startMs, endMs: startMs + 5 }]);
    expect(windows.firstStartMs(atMs)).toBe(startMs);
    expect(windows.lastStartMs(atMs)).toBe(startMs);
  });
});

describe("hopping windows", () => {
  test.each([
    // size, advance, record, starts by hand
    [10, 5, 0, [0]],
    [10, 5, 4, [0]],
    [10, 5, 5, [0, 5]],
    [10, 5, 12, [5, 10]],
    [10, 4, 9, [0, 4, 8]],
    [10, 4, 10, [4, 8]],
    [10, 4, 11, [4, 8]],
    [10, 4, 12, [4, 8, 12]],
    [10, 10, 12, [10]],
    [15, 7, 14, [0, 7, 14]],
    [15, 7, 15, [7, 14]],
    [20, 7, 3, [0]],
  ])("of %i ms every %i ms: a record at %i is in those that start at %j", (sizeMs, advanceMs, atMs, starts) => {
    const windows = hopping({ sizeMs, advanceMs, graceMs: 0 });

    expect(startsOf(windows.windowsFor(atMs))).toEqual(starts);
    expect(windows.firstStartMs(atMs)).toBe(starts[0]);
    expect(windows.lastStartMs(atMs)).toBe(starts[starts.length - 1]);
  });

  test("a record is in exactly the aligned windows that contain it", () => {
    for (const [sizeMs, advanceMs] of [
      [10, 3],
      [7, 7],
      [12, 5],
    ] as const) {
      const windows = hopping({ sizeMs, advanceMs, graceMs: 0 });
      for (let atMs = 0; atMs < 60; atMs++) {
        const model: number[] = [];
        for (let startMs = 0; startMs <= atMs; startMs += advanceMs) if (atMs < startMs + sizeMs) model.push(startMs);
        expect(startsOf(windows.windowsFor(atMs))).toEqual(model);
      }
    }
  });
});
