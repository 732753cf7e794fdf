import { expect, test } from "vitest";
import { Pacer } from "./pacer.js";

const START = 1_000_000;

test("each purchase is due a rate's interval after the one before, and ingested when it is due", () => {
  const pacer = new Pacer({ rate: 100, timeScale: 1, startWallClockMs: START });
  expect(pacer.due(START, 1_000)).toEqual([]);
  expect(pacer.idleMs(START)).toBe(10);
  expect(pacer.due(START + 35, 1_000)).toEqual([START + 10, START + 20, START + 30]);
  expect(pacer.idleMs(START + 35)).toBe(5);
  expect(pacer.due(START + 40, 1_000)).toEqual([START + 40]);
});

test("a time scale stretches ingestion times from the start moment on, not the rate", () => {
  const pacer = new Pacer({ rate: 10, timeScale: 60, startWallClockMs: START });
  expect(pacer.due(START + 300, 1_000)).toEqual([START + 6_000, START + 12_000, START + 18_000]);
});

test("what was missed for more than a second is not made up for, whatever is taken at once", () => {
  const pacer = new Pacer({ rate: 100, timeScale: 1, startWallClockMs: START });
  const afterPause = START + 60_000;
  const first = pacer.due(afterPause, 30);
  const rest = pacer.due(afterPause, 1_000);
  expect(first.length).toBe(30);
  expect(first.length + rest.length).toBe(100);
  expect(first[0]).toBe(afterPause - 990);
  expect(rest.at(-1)).toBe(afterPause);
});

test("a rate below one per second is kept as well", () => {
  const pacer = new Pacer({ rate: 0.1, timeScale: 1, startWallClockMs: START });
  expect(pacer.due(START + 9_999, 10)).toEqual([]);
  expect(pacer.due(START + 10_000, 10)).toEqual([START + 10_000]);
  expect(pacer.due(START + 25_000, 10)).toEqual([START + 20_000]);
});

test("rate 0 gives as many as are taken, now", () => {
  const pacer = new Pacer({ rate: 0, timeScale: 2, startWallClockMs: START });
  expect(pacer.due(START + 5, 3)).toEqual([START + 10, START + 10, START + 10]);
  expect(pacer.idleMs(START + 5)).toBe(0);
});
