import { describe, expect, test } from "vitest";
import { nullable } from "../../serdes/nullable.js";
import { int64, string } from "../../serdes/serde.js";
import { StreamsBuilder } from "../dsl.js";
import type { KGroupedStream } from "../dsl-types.js";
import { MemoryTask } from "../memory-task.suite.js";

type Numbers = KGroupedStream<string, number | null>;

function task(build: (numbers: Numbers) => void): MemoryTask {
  const builder = new StreamsBuilder();
  build(builder.stream("in", { key: nullable(string), value: nullable(int64) }).groupByKey());
  return new MemoryTask(builder.build());
}
const short = (outputs: ReturnType<MemoryTask["pipe"]>): string[] =>
  outputs.map(({ key, value, timestampMs }) => `${key}=${value} @${timestampMs}`);
const sumDeletingTens = (a: number, b: number): number | null => ((a + b) % 10 === 0 ? null : a + b);

describe.each([false, true])("with cache: %s", (cache) => {
  test("count counts by key; the row's time is the largest so far", () => {
    const run = task((numbers) => numbers.count("counts", { cache }).toStream().to("out"));

    expect(short(run.pipe("in", "a", 1, 10))).toEqual(["a=1 @10"]);
    expect(short(run.pipe("in", "b", 1, 3))).toEqual(["b=1 @3"]);
    expect(short(run.pipe("in", "a", 1, 4))).toEqual(["a=2 @10"]);
    expect(run.rows("counts")).toEqual([
      ["a", 0, 2, 10],
      ["b", 0, 1, 3],
    ]);
  });

  test("records without a key or a value are dropped and counted", () => {
    const run = task((numbers) => numbers.count("counts", { cache }).toStream().to("out"));

    expect(run.pipe("in", null, 1, 1)).toEqual([]);
    expect(run.pipe("in", "a", null, 1)).toEqual([]);
    expect(run.drops).toEqual([
      ["counts", "null-key"],
      ["counts", "null-value"],
    ]);
  });

  test("a reducer that returns null deletes the row; it begins again with the next value and its time", () => {
    const run = task((numbers) => numbers.reduce("sums", sumDeletingTens, { cache }).toStream().to("out"));

    expect(short(run.pipe("in", "a", 4, 10))).toEqual(["a=4 @10"]);
    expect(short(run.pipe("in", "a", 6, 5))).toEqual(["a=null @10"]);
    expect(run.rows("sums")).toEqual([]);
    expect(short(run.pipe("in", "a", 3, 2))).toEqual(["a=3 @2"]);
  });

  test("aggregate begins at its initial value for each key, and again after a deletion", () => {
    const run = task((numbers) =>
      numbers
        .aggregate("lists", {
          initial: () => "",
          add: (list, value, { key }) => (value === 0 ? null : `${list}${key}${value}`),
          value: string,
          cache,
        })
        .toStream()
        .to("out"),
    );

    expect(short(run.pipe("in", "a", 1, 1))).toEqual(["a=a1 @1"]);
    expect(short(run.pipe("in", "a", 2, 2))).toEqual(["a=a1a2 @2"]);
    expect(short(run.pipe("in", "a", 0, 3))).toEqual(["a=null @3"]);
    expect(short(run.pipe("in", "a", 4, 4))).toEqual(["a=a4 @4"]);
  });

  test("a table's filter sends null for a row that no longer matches, and nothing for one that never did", () => {
    const run = task((numbers) => {
      const table = numbers.reduce("sums", (a, b) => a + b, { cache });
      table
        .filter((total) => total >= 10)
        .toStream()
        .to("out");
    });

    expect(short(run.pipe("in", "a", 5, 1))).toEqual([]);
    expect(short(run.pipe("in", "a", 6, 2))).toEqual(["a=11 @2"]);
    expect(short(run.pipe("in", "a", -2, 3))).toEqual(["a=null @3"]);
    expect(short(run.pipe("in", "a", 0, 4))).toEqual([]);
  });

  test("a filter behind mapped values knows the old rows too; a deletion passes a mapper uncalled", () => {
    const run = task((numbers) => {
      const table = numbers.reduce("sums", sumDeletingTens, { cache });
      const texts = table.mapValues((total) => `<${total}>`, { value: string });
      texts
        .filterNot((text) => text.length === 3)
        .toStream()
        .to("out");
    });

    expect(short(run.pipe("in", "a", 5, 1))).toEqual([]);
    expect(short(run.pipe("in", "a", 6, 2))).toEqual(["a=<11> @2"]);
    expect(short(run.pipe("in", "a", 9, 3))).toEqual(["a=null @3"]);
  });

  test("toStream with a selector gives rows another key, deleted ones as well", () => {
    const run = task((numbers) => {
      const table = numbers.reduce("sums", sumDeletingTens, { cache });
      table.toStream((total, { key }) => `${key}${total}`, { key: string }).to("out");
    });

    expect(short(run.pipe("in", "a", 4, 1))).toEqual(["a4=4 @1"]);
    expect(short(run.pipe("in", "a", 6, 2))).toEqual(["anull=null @2"]);
  });
});

test("the cache lets one update of each row through per commit, in the order of the first change", () => {
  const run = task((numbers) =>
    numbers
      .reduce("sums", (a, b) => a + b)
      .toStream()
      .to("out"),
  );

  for (const [key, value] of [
    ["b", 1],
    ["a", 2],
    ["b", 3],
  ] as const)
    expect(run.process("in", key, value, value)).toEqual([]);

  expect(short(run.commit())).toEqual(["b=4 @3", "a=2 @2"]);
  expect(run.commit()).toEqual([]);
});

test("without the cache each update goes on at once, and nothing at the commit", () => {
  const run = task((numbers) => numbers.count("counts", { cache: false }).toStream().to("out"));

  expect(short([...run.process("in", "a", 1, 1), ...run.process("in", "a", 1, 2)])).toEqual(["a=1 @1", "a=2 @2"]);
  expect(run.commit()).toEqual([]);
});

test("a row sent on at a commit has its own time as Kafka's time too", () => {
  const seen: number[] = [];
  const run = task((numbers) =>
    numbers
      .count("counts")
      .toStream()
      .foreach((_, record) => seen.push(record.timestampMs, record.recordTimestampMs)),
  );

  run.process("in", "a", 1, 10);
  run.process("in", "b", 1, 20);
  run.commit();

  expect(seen).toEqual([10, 10, 20, 20]);
});
