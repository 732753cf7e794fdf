import { describe, expect, test } from "vitest";
import { unvalidatedJson } from "../../serdes/json.js";
import { nullable } from "../../serdes/nullable.js";
import { int64, string } from "../../serdes/serde.js";
import type { Windowed } from "../../serdes/windowed.js";
import { StreamsBuilder } from "../dsl.js";
import { untilWindowCloses } from "../dsl-options.js";
import type { TimeWindowedKStream } from "../dsl-types.js";
import { MemoryTask } from "../memory-task.suite.js";
import { hopping, tumbling, type Windows } from "../windows.js";

type Numbers = TimeWindowedKStream<string, number | null>;
const json = { value: unvalidatedJson() };
const fiveMs = tumbling({ sizeMs: 5, graceMs: 10 });
const overlapping = hopping({ sizeMs: 10, advanceMs: 5, graceMs: 3 });

function task(windows: Windows, build: (numbers: Numbers) => void): MemoryTask {
  const builder = new StreamsBuilder();
  build(
    builder
      .stream("in", { key: nullable(string), value: nullable(int64) })
      .groupByKey()
      .windowedBy(windows),
  );
  return new MemoryTask(builder.build());
}
/** `a[5,10)=2 @7`. */
const short = (outputs: ReturnType<MemoryTask["pipe"]>): string[] =>
  outputs.map(({ key, value, timestampMs }) => {
    const { key: inner, window } = key as Windowed<unknown>;
    return `${inner}[${window.startMs},${window.endMs})=${value} @${timestampMs}`;
  });

describe.each([false, true])("with cache: %s", (cache) => {
  const counts = (windows: Windows): MemoryTask =>
    task(windows, (numbers) => numbers.count("counts", { cache }).toStream().to("out"));

  test("each window has a row of its own; its time is the largest so far", () => {
    const run = counts(fiveMs);

    expect(short(run.pipe("in", "a", 1, 3))).toEqual(["a[0,5)=1 @3"]);
    expect(short(run.pipe("in", "a", 1, 5))).toEqual(["a[5,10)=1 @5"]);
    expect(short(run.pipe("in", "a", 1, 1))).toEqual(["a[0,5)=2 @3"]);
  });

  test("a window accepts a record while its end > T - grace", () => {
    const run = counts(fiveMs);
    run.pipe("in", "b", 1, 14);

    // T - grace = 4 < 5: still open.
    expect(short(run.pipe("in", "a", 1, 4))).toEqual(["a[0,5)=1 @4"]);
    run.pipe("in", "b", 1, 15);
    // T - grace = 5: closed.
    expect(run.pipe("in", "a", 1, 4)).toEqual([]);
    expect(run.drops).toEqual([["counts", "late"]]);
  });

  test("lateness is how far a record is behind the stream time, and late is one whose windows have all ended", () => {
    const run = counts(fiveMs);
    for (const timestampMs of [14, 12, 9, 4]) run.pipe("in", "a", 1, timestampMs);
    run.pipe("in", "a", 1, 15);
    run.pipe("in", "a", 1, 4);
    expect(run.lateness).toEqual([
      ["counts", 0, "in-time"],
      ["counts", 2, "in-time"],
      ["counts", 5, "accepted"],
      ["counts", 10, "accepted"],
      ["counts", 0, "in-time"],
      ["counts", 11, "dropped"],
    ]);
  });

  test("a record in several windows updates them in the order of their starts; each that refuses counts as a drop", () => {
    const run = counts(overlapping);

    expect(short(run.pipe("in", "a", 1, 12))).toEqual(["a[5,15)=1 @12", "a[10,20)=1 @12"]);
    run.pipe("in", "b", 1, 19);
    // T - grace = 16: [5,15) is closed, [10,20) is not.
    expect(short(run.pipe("in", "a", 1, 13))).toEqual(["a[10,20)=2 @13"]);
    run.pipe("in", "b", 1, 30);
    run.pipe("in", "a", 1, 13);
    expect(run.drops).toEqual([
      ["counts", "late"],
      ["counts", "late"],
      ["counts", "late"],
    ]);
  });

  test("records without a key or a value are dropped and do not move the time", () => {
    const run = counts(fiveMs);
    run.pipe("in", null, 1, 1_000);
    run.pipe("in", "a", null, 1_000);

    expect(short(run.pipe("in", "a", 1, 2))).toEqual(["a[0,5)=1 @2"]);
    expect(run.clocks.counts?.streamTimeMs).toBe(2);
    expect(run.drops).toEqual([
      ["counts", "null-key"],
      ["counts", "null-value"],
    ]);
  });

  test("a reducer that returns null deletes the window's row", () => {
    const run = task(fiveMs, (numbers) =>
      numbers
        .reduce("sums", (a, b) => (a + b === 0 ? null : a + b), { cache })
        .toStream()
        .to("out"),
    );

    run.pipe("in", "a", 4, 3);
    expect(short(run.pipe("in", "a", -4, 2))).toEqual(["a[0,5)=null @3"]);
    expect(short(run.pipe("in", "a", 1, 1))).toEqual(["a[0,5)=1 @1"]);
  });
});

test("the cache lets one update of each window through per commit", () => {
  const run = task(fiveMs, (numbers) => numbers.count("counts").toStream().to("out"));

  for (const atMs of [1, 7, 2]) expect(run.process("in", "a", 1, atMs)).toEqual([]);

  expect(short(run.commit())).toEqual(["a[0,5)=2 @2", "a[5,10)=1 @7"]);
});

describe("the late side", () => {
  const late = (windows: Windows): MemoryTask =>
    task(windows, (numbers) => {
      numbers.count("counts").late.to("late", json);
    });

  test("has a record that its window refused, with the window, the stream time and how long it had been closed", () => {
    const run = late(fiveMs);
    run.pipe("in", "a", 1, 22);

    // [0,5) closed at 15 = 5 + 10; now it is 22.
    expect(run.pipe("in", "b", 7, 3)).toEqual([
      {
        topic: "late",
        key: "b",
        value: { value: 7, windows: [{ startMs: 0, endMs: 5 }], streamTimeMs: 22, lateByMs: 7 },
        timestampMs: 3,
      },
    ]);
  });

  test("says 0 ms in the very moment of closing", () => {
    const run = late(fiveMs);
    run.pipe("in", "a", 1, 15);

    expect(run.pipe("in", "b", 7, 4)[0]?.value).toMatchObject({ lateByMs: 0 });
  });

  test("has a record once, only when all its windows refuse it, and goes by the one that closes last", () => {
    const run = late(overlapping);
    run.pipe("in", "a", 1, 20);
    // T - grace = 17: refused by [5,15), taken by [10,20).
    expect(run.pipe("in", "b", 7, 12)).toEqual([]);
    run.pipe("in", "a", 1, 24);

    // T - grace = 21: refused by both; [10,20) closed at 23.
    expect(run.pipe("in", "b", 7, 12).map((output) => output.value)).toEqual([
      {
        value: 7,
        windows: [
          { startMs: 5, endMs: 15 },
          { startMs: 10, endMs: 20 },
        ],
        streamTimeMs: 24,
        lateByMs: 1,
      },
    ]);
  });

  test("has nothing of what was dropped for its key or value, and no rows of the table", () => {
    const run = late(fiveMs);

    expect(run.pipe("in", "a", 1, 100)).toEqual([]);
    expect(run.pipe("in", null, 1, 1)).toEqual([]);
    expect(run.pipe("in", "a", null, 1)).toEqual([]);
  });

  test("stands beside the table: both are served", () => {
    const run = task(fiveMs, (numbers) => {
      const table = numbers.count("counts");
      table.late.to("late", json);
      table.toStream().to("out");
    });

    expect(run.pipe("in", "a", 1, 22).map((output) => output.topic)).toEqual(["out"]);
    expect(run.pipe("in", "a", 1, 1).map((output) => output.topic)).toEqual(["late"]);
  });
});

describe.each([
  ["emit on window close", (numbers: Numbers) => numbers.emit("on-window-close").count("counts").toStream().to("out")],
  [
    "suppress until the window closes",
    (numbers: Numbers) => numbers.count("counts").suppress(untilWindowCloses).toStream().to("out"),
  ],
  [
    "suppress without a cache above",
    (numbers: Numbers) => numbers.count("counts", { cache: false }).suppress(untilWindowCloses).toStream().to("out"),
  ],
])("%s", (_, build) => {
  test("gives each window once, when it has closed, by start and then by key", () => {
    const run = task(fiveMs, build);
    run.pipe("in", "b", 1, 3);
    run.pipe("in", "b", 1, 6);
    run.pipe("in", "a", 1, 1);
    expect(run.pipe("in", "a", 1, 14)).toEqual([]);

    expect(short(run.pipe("in", "c", 1, 15))).toEqual(["a[0,5)=1 @1", "b[0,5)=1 @3"]);
    expect(short(run.pipe("in", "c", 1, 40))).toEqual(["b[5,10)=1 @6", "a[10,15)=1 @14", "c[15,20)=1 @15"]);
    expect(run.pipe("in", "c", 1, 41)).toEqual([]);
  });

  test("gives what closed within one commit before it expires", () => {
    const run = task(fiveMs, build);
    run.process("in", "a", 1, 2);
    run.process("in", "a", 1, 1_000_000);

    expect(short(run.commit())).toEqual(["a[0,5)=1 @2"]);
  });

  test("gives overlapping windows by their ends", () => {
    const run = task(overlapping, build);
    run.pipe("in", "a", 1, 7);

    expect(short(run.pipe("in", "a", 1, 30))).toEqual(["a[0,10)=1 @7", "a[5,15)=1 @7"]);
  });

  test("remembers in its clock how far it came, and gives nothing twice", () => {
    const run = task(fiveMs, build);
    run.pipe("in", "a", 1, 2);
    run.pipe("in", "a", 1, 15);

    const clock = Object.values(run.clocks).at(-1);
    expect(clock).toEqual({ streamTimeMs: 15, emittedUpToMs: 5 });
    expect(run.commit()).toEqual([]);
  });
});

test("suppress drops a row that is deleted when its window closes", () => {
  const run = task(fiveMs, (numbers) =>
    numbers
      .reduce("sums", (a, b) => (a + b === 0 ? null : a + b))
      .suppress(untilWindowCloses)
      .toStream()
      .to("out"),
  );
  run.pipe("in", "a", 4, 1);
  run.pipe("in", "a", -4, 2);
  run.pipe("in", "b", 4, 2);

  expect(short(run.pipe("in", "c", 1, 15))).toEqual(["b[0,5)=4 @2"]);
});

test("rows expire a retention behind the newest window, not before", () => {
  const run = task(fiveMs, (numbers) => numbers.count("counts", { retentionMs: 20 }).toStream().to("out"));
  run.pipe("in", "a", 1, 0);
  run.pipe("in", "a", 1, 5);

  // The newest window starts at 20: [0,5) is out, as 0 > 20 - 20 does not hold.
  run.pipe("in", "a", 1, 24);
  expect(run.rows("counts").map(([, startMs]) => startMs)).toEqual([5, 20]);
});
