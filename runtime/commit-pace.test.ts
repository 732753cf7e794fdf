import { expect, test } from "vitest";
import { CommitPace } from "./commit-pace.js";

function paceAfter(commit: { readonly beganMs: number; readonly tookMs: number }): CommitPace {
  const pace = new CommitPace(100);
  pace.began(commit.beganMs);
  pace.ended(commit.beganMs, commit.beganMs + commit.tookMs);
  return pace;
}

test("the first commit waits for nothing", () => {
  expect(new CommitPace(100).isDue(0)).toBe(true);
});

test("a commit is due an interval after the last began", () => {
  const pace = paceAfter({ beganMs: 1_000, tookMs: 30 });
  expect(pace.isDue(1_099)).toBe(false);
  expect(pace.isDue(1_100)).toBe(true);
});

test("with nothing to process it may begin 10 ms after the last began", () => {
  const pace = paceAfter({ beganMs: 1_000, tookMs: 2 });
  expect(pace.mayBeEarly(1_009)).toBe(false);
  expect(pace.leftMs(1_004)).toBe(6);
  expect(pace.mayBeEarly(1_010)).toBe(true);
  expect(pace.leftMs(1_010)).toBe(0);
});

test("a commit begins at the latest when its interval is over", () => {
  const pace = paceAfter({ beganMs: 1_000, tookMs: 2 });
  expect(pace.dueInMs(1_040)).toBe(60);
  expect(pace.dueInMs(1_200)).toBe(0);
});

test("commits that take long are two thirds of the time at most, unless they take longer than the interval", () => {
  expect(paceAfter({ beganMs: 1_000, tookMs: 30 }).leftMs(1_000)).toBe(45);
  expect(paceAfter({ beganMs: 1_000, tookMs: 300 }).leftMs(1_000)).toBe(100);
});

test("a long interval is kept by its fiftieth, so that it still thins the updates", () => {
  const pace = new CommitPace(30_000);
  pace.began(0);
  pace.ended(0, 5);
  expect(pace.mayBeEarly(599)).toBe(false);
  expect(pace.mayBeEarly(600)).toBe(true);
});
