import { describe, expect, test, vi } from "vitest";
import type { StreamTask } from "./task.js";
import { TaskSet } from "./task-set.js";

/** As much of a task as the set asks for: so many records to process, and as many bytes waiting. */
class Stub {
  processed = 0;
  onStep: () => void = () => undefined;

  constructor(
    readonly id: string,
    public left: number,
    readonly bufferedBytes = 0,
  ) {}

  process(recordsMax: number): number {
    const records = Math.min(recordsMax, this.left);
    this.left -= records;
    this.onStep();
    this.processed += records;
    return records;
  }

  get queuedBytes(): number {
    return this.bufferedBytes;
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
  test("a task keeps its turn over many slices, and passes it on after 150 ms", () => {
    const clock = vi.spyOn(performance, "now");
    let nowMs = 0;
    // Each step of 500 records takes 40 ms, so that the fourth ends a turn.
    clock.mockImplementation(() => nowMs);
    const stubs = [new Stub("0", 1e9), new Stub("1", 1e9)];
    for (const stub of stubs) stub.onStep = () => (nowMs += 40);
    const tasks = setOf(...stubs);
    const shares: number[][] = [];
    for (let slice = 0; slice < 9; slice++) {
      tasks.process(0);
      shares.push(stubs.map(({ processed }) => processed));
    }
    clock.mockRestore();
    expect(shares[3]).toEqual([2_000, 0]);
    expect(shares[7]).toEqual([2_000, 2_000]);
    expect(shares[8]).toEqual([2_500, 2_000]);
  });

  test("a commit ends a turn", () => {
    const stubs = [new Stub("0", 1e9), new Stub("1", 1e9)];
    const tasks = setOf(...stubs);
    tasks.process(0);
    tasks.passTurn();
    tasks.process(0);
    expect(stubs.map(({ processed }) => processed)).toEqual([500, 500]);
  });

  test("a task that has run empty passes its turn on at once", () => {
    const stubs = [new Stub("0", 700), new Stub("1", 300), new Stub("2", 1e9)];
    const tasks = setOf(...stubs);
    for (let slice = 0; slice < 4; slice++) tasks.process(0);
    expect(stubs.map(({ processed }) => processed)).toEqual([700, 300, 500]);
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

test("of a full buffer only a partition that holds nothing gets more", () => {
  const tasks = setOf(new Stub("0", 0, 70), new Stub("1", 0, 1), new Stub("2", 0, 0));
  expect(tasks.fetchPositions(72).map(({ partition }) => partition)).toEqual([2, 1]);
  expect(tasks.fetchPositions(71).map(({ partition }) => partition)).toEqual([2]);
});

/** What the set asks of a task that has something committed which SQLite has not. */
class Waiting {
  written = false;

  constructor(
    readonly id: string,
    readonly sinceMs: number,
    readonly unwrittenBytes = 1,
    readonly isDirty = false,
  ) {}

  get state() {
    return { unwrittenBytes: this.unwrittenBytes };
  }

  get unwrittenSinceMs(): number | undefined {
    return this.written ? undefined : this.sinceMs;
  }

  write(): void {
    this.written = true;
  }
}

describe("writing what is committed", () => {
  function written(nowMs: number, isDrained: boolean, waiting: readonly Waiting[]): string[] {
    const tasks = new TaskSet();
    for (const task of waiting) tasks.add(task as unknown as StreamTask, { isNew: false });
    tasks.writeCommitted(nowMs, { isDrained, unwrittenBytesMax: 100 });
    return waiting.filter((task) => task.written).map(({ id }) => id);
  }
  const ages = () => [new Waiting("0", 300), new Waiting("1", 0), new Waiting("2", 950)];

  test("with a backlog two seconds late, and only a part of the tasks at a time, the oldest first", () => {
    expect(written(1_999, false, ages())).toEqual([]);
    expect(written(3_000, false, ages())).toEqual(["1"]);
  });

  test("at once, and all of them, where there is nothing to process and nothing to commit", () => {
    expect(written(950, true, ages())).toEqual(["0", "1", "2"]);
  });

  test("a fifth of a second late, and a part at a time, while there is more to commit each time", () => {
    const busy = () => [...ages(), new Waiting("3", 900, 1, true)];
    expect(written(199, true, busy())).toEqual([]);
    expect(written(200, true, busy())).toEqual(["1"]);
    expect(written(1_100, true, busy())).toEqual(["1"]);
  });

  test("at once where it is more than may wait, the oldest first and no more of it than that", () => {
    const sized = (...bytes: readonly number[]) => bytes.map((size, at) => new Waiting(String(at), 10 - at, size));
    expect(written(10, false, sized(40, 30, 30))).toEqual([]);
    expect(written(10, false, sized(40, 31, 30))).toEqual(["2"]);
    expect(written(10, false, sized(90, 60, 30, 50, 70))).toEqual(["1", "2", "3", "4"]);
    expect(written(10, true, sized(101))).toEqual(["0"]);
  });
});

test("caught up is who has all that the last answers told of", () => {
  const task = (isCaughtUp: boolean) => ({ id: String(isCaughtUp), queues: [{ isCaughtUp }] }) as unknown as StreamTask;
  const tasks = new TaskSet();
  tasks.add(task(true), { isNew: false });
  expect(tasks.isCaughtUp).toBe(true);
  tasks.add(task(false), { isNew: false });
  expect(tasks.isCaughtUp).toBe(false);
});
