import { describe, expect, test } from "vitest";
import type { StreamTask } from "./task.js";
import { TaskSet } from "./task-set.js";

/** As much of a task as the set asks for: so many records to process, and as many bytes waiting. */
class Stub {
  processed = 0;

  constructor(
    readonly id: string,
    public left: number,
    readonly bufferedBytes = 0,
  ) {}

  process(recordsMax: number): number {
    const records = Math.min(recordsMax, this.left);
    this.left -= records;
    this.processed += records;
    return records;
  }

  get queues() {
    return [{ topic: "in", partition: Number(this.id), fetchPosition: 7, bufferedBytes: this.bufferedBytes }];
  }
}

function setOf(...stubs: readonly Stub[]): TaskSet {
  const tasks = new TaskSet();
  for (const stub of stubs) tasks.add(stub as unknown as StreamTask, { isNew: false });
  return tasks;
}

describe("taking turns", () => {
  test("slices that end after the first task still get round to the last", () => {
    const stubs = [new Stub("0", 1e9), new Stub("1", 1e9), new Stub("2", 1e9)];
    const tasks = setOf(...stubs);
    for (let slice = 0; slice < 6; slice++) tasks.process(0);
    expect(stubs.map(({ processed }) => processed)).toEqual([2_000, 2_000, 2_000]);
  });

  test("with time enough everything is processed, however it is spread", () => {
    const stubs = [new Stub("0", 0), new Stub("1", 4_500), new Stub("2", 1)];
    const tasks = setOf(...stubs);
    expect(tasks.process(60_000)).toBe(4_501);
    expect(tasks.process(60_000)).toBe(0);
  });

  test("a set without tasks has nothing to do", () => {
    expect(setOf().process(60_000)).toBe(0);
  });
});

test("the emptiest partition is asked for first, and a full one not at all", () => {
  const tasks = setOf(new Stub("0", 0, 20), new Stub("1", 0, 10), new Stub("2", 0, 30), new Stub("3", 0, 0));
  expect(tasks.fetchPositions(4 * 25).map(({ partition }) => partition)).toEqual([3, 1, 0]);
});
