import { describe, expect, test } from "vitest";
import { type CountedTask, RowCounts } from "./row-counts.js";

/** Tasks of which each step of a count takes a millisecond, and finds a row in each of their stores. */
class Clock {
  nowMs = 0;
  steps = 0;
  readonly counts = new RowCounts(() => this.nowMs);

  task(rows: number, ...names: string[]): CountedTask & { rows: number } {
    const clock = this;
    const task = {
      rows,
      subTopology: { stores: names.map((name) => ({ name })) },
      state: {
        *countRows(): Generator<undefined, Record<string, number>> {
          let counted = 0;
          for (; counted < task.rows; counted++) {
            clock.nowMs++;
            clock.steps++;
            yield;
          }
          return Object.fromEntries(names.map((name) => [name, counted]));
        },
      },
    };
    return task;
  }

  rows(): Record<string, number> {
    return Object.fromEntries([...this.counts.stores].map(([name, { rows }]) => [name, rows]));
  }
}

describe("rows of stores", () => {
  test("are counted at the first look where they are few, and added up over the tasks", () => {
    const clock = new Clock();
    clock.counts.countOn([clock.task(2, "sums"), clock.task(3, "sums", "users")]);
    expect(clock.rows()).toEqual({ sums: 5, users: 3 });
  });

  test("are counted for 10 ms at once, and for 0.2 % of the time, however often somebody looks", () => {
    const clock = new Clock();
    const tasks = [clock.task(1_000_000, "sums")];
    clock.counts.countOn(tasks);
    expect(clock.steps).toBe(10);
    for (let tenths = 0; tenths < 36_000; tenths++) {
      clock.nowMs += 100;
      clock.counts.countOn(tasks);
    }
    // An hour: 0.2 % are 7.2 s.
    expect(clock.steps).toBeGreaterThan(6_900);
    expect(clock.steps).toBeLessThanOrEqual(7_210);
  });

  test("are told once all of a store's tasks are counted, with the age of the oldest count", () => {
    const clock = new Clock();
    const [small, large] = [clock.task(4, "sums", "users"), clock.task(11, "sums")];
    clock.counts.countOn([large, small]);
    expect(clock.rows()).toEqual({});
    clock.nowMs = 10_000;
    clock.counts.countOn([large, small]);
    expect(clock.rows()).toEqual({ sums: 15, users: 4 });
    // The count of the large one began at 0.
    expect(clock.counts.stores.get("sums")?.ageMs).toBe(10_005);
    expect(clock.counts.stores.get("users")?.ageMs).toBe(4);
  });

  test("keep their last count while they are counted anew, the oldest first", () => {
    const clock = new Clock();
    const task = clock.task(9, "sums");
    clock.counts.countOn([task]);
    task.rows = 15;
    clock.nowMs = 100_000;
    clock.counts.countOn([task]);
    expect(clock.rows()).toEqual({ sums: 9 });
    clock.nowMs = 200_000;
    clock.counts.countOn([task]);
    expect(clock.rows()).toEqual({ sums: 15 });
  });

  test("of a task that is gone are forgotten", () => {
    const clock = new Clock();
    const [stays, goes] = [clock.task(1, "sums"), clock.task(2, "sums", "users")];
    clock.counts.countOn([stays, goes]);
    clock.counts.countOn([stays]);
    expect(clock.rows()).toEqual({ sums: 1 });
  });

  test("are counted from the start again after a count that failed", () => {
    const clock = new Clock();
    const task = clock.task(1, "sums");
    const countRows = task.state.countRows;
    task.state.countRows = () => {
      throw new Error("the disk is gone");
    };
    expect(() => clock.counts.countOn([task])).toThrow("the disk is gone");
    task.state.countRows = countRows;
    clock.counts.countOn([task]);
    expect(clock.rows()).toEqual({ sums: 1 });
  });
});
