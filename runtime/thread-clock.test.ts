import { describe, expect, test, vi } from "vitest";
import { StreamsMetrics } from "../metrics/metrics.js";
import { THREAD_ACTIVITIES } from "../metrics/table.js";
import { FencedError, UnavailableError } from "./errors.js";
import { type Activity, ThreadClock } from "./thread-clock.js";

let nowMs = 0;
vi.spyOn(performance, "now").mockImplementation(() => nowMs);

const pass = (ms: number): void => {
  nowMs += ms;
};

function clockOf(): { readonly clock: ThreadClock; seconds(activity: Activity): number } {
  const metrics = new StreamsMetrics({ applicationId: "app" });
  const clock = new ThreadClock(metrics, 1);
  return {
    clock,
    seconds: (activity) => metrics.counter("thread_activity_seconds_total", { thread: "1", activity }).value,
  };
}

describe("the time of a thread", () => {
  test("goes to one activity at a time, and all of them together are all of it", () => {
    const { clock, seconds } = clockOf();
    pass(1_000);
    clock.enter("process");
    pass(2_000);
    clock.enter("idle");
    pass(500);
    clock.during("commit", () => pass(250));
    pass(3_000);
    clock.enter("process");
    expect(THREAD_ACTIVITIES.map(seconds)).toEqual([2, 0.25, 1, 0, 3.5]);
  });

  test("what throws inside an activity leaves the one around it going on", () => {
    const { clock, seconds } = clockOf();
    clock.enter("process");
    const failing = (): void =>
      clock.during("commit", () => {
        throw new Error("the disk is full");
      });
    expect(failing).toThrow("the disk is full");
    pass(5_000);
    clock.enter("idle");
    expect(seconds("process")).toBe(5);
  });
});

describe("the phase of a failure", () => {
  test("is what failed beside the loop first, else what the loop was at", () => {
    expect(clockOf().clock.phaseOf(new FencedError("x"))).toBe("rebalance");
    const processing = clockOf().clock;
    processing.enter("process");
    expect(processing.phaseOf(new Error("x"))).toBe("process");
    expect(processing.phaseOf(new UnavailableError("x"))).toBe("fetch");
    processing.failed("commit");
    processing.failed("restore");
    expect(processing.phaseOf(new UnavailableError("x"))).toBe("commit");
  });
});
