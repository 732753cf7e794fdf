import { describe, expect, test } from "vitest";
import { unvalidatedJson } from "../../serdes/json.js";
import { nullable } from "../../serdes/nullable.js";
import { string } from "../../serdes/serde.js";
import { StreamsBuilder } from "../dsl.js";
import type { KStream } from "../dsl-types.js";
import { StreamsError } from "../errors.js";
import { MemoryTask } from "../memory-task.suite.js";

const text = nullable(string);
type Texts = KStream<string | null, string | null>;
const json = { key: unvalidatedJson(), value: unvalidatedJson() };

function task(build: (texts: Texts) => void): MemoryTask {
  const builder = new StreamsBuilder();
  build(builder.stream("in", { key: text, value: text }));
  return new MemoryTask(builder.build());
}
const short = (outputs: ReturnType<MemoryTask["pipe"]>): string[] =>
  outputs.map(({ topic, key, value, timestampMs }) => `${topic} ${key}=${value} @${timestampMs}`);

test("a callback sees the key, the event time and Kafka's time of its own record", () => {
  const seen: unknown[] = [];
  const run = task((texts) => {
    texts
      .selectKey((value) => `new-${value}`, { key: string })
      .peek((_, { key, timestampMs }) => seen.push([key, timestampMs]))
      .to("out");
    texts.peek((_, { key, timestampMs }) => seen.push([key, timestampMs]));
  });

  run.pipe("in", "a", "v", 7);

  // The second child sees the key of its parent's record, whatever ran below the first.
  expect(seen).toEqual([
    ["new-v", 7],
    ["a", 7],
  ]);
});

test("null keys and null values reach every callback", () => {
  const run = task((texts) => texts.mapValues((value, { key }) => `${key}/${value}`).to("out", json));

  expect(short(run.pipe("in", null, null, 1))).toEqual(["out null=null/null @1"]);
});

test("filter keeps and filterNot drops what the predicate is true for", () => {
  const run = task((texts) => {
    texts.filter((value) => value === "x").to("kept");
    texts.filterNot((value) => value === "x").to("rest");
  });

  expect(short([...run.pipe("in", "a", "x", 1), ...run.pipe("in", "a", "y", 2)])).toEqual([
    "kept a=x @1",
    "rest a=y @2",
  ]);
});

test("flatMap and flatMapValues give any number of records, in order, at the time of their record", () => {
  const run = task((texts) => {
    texts.flatMapValues((value) => (value ?? "").split("").map((c) => c)).to("values", json);
    texts
      .flatMap((value, { key }) =>
        value === null
          ? []
          : [
              { key: value, value: key },
              { key: "2", value: key },
            ],
      )
      .to("pairs", json);
  });

  expect(short(run.pipe("in", "k", "ab", 3))).toEqual([
    "values k=a @3",
    "values k=b @3",
    "pairs ab=k @3",
    "pairs 2=k @3",
  ]);
  expect(short(run.pipe("in", "k", null, 4))).toEqual([]);
});

describe("split", () => {
  const run = task((texts) => {
    const { a, default: rest } = texts
      .split()
      .branch((value) => value?.startsWith("a") ?? false, "a")
      .branch(
        (value) => value?.endsWith("z") ?? false,
        (branch) => branch.to("z"),
      )
      .defaultBranch();
    a.to("a");
    rest.to("rest");
  });

  test("a record goes to the first branch that takes it, and only there", () => {
    expect(short(run.pipe("in", "k", "az", 1))).toEqual(["a k=az @1"]);
    expect(short(run.pipe("in", "k", "bz", 1))).toEqual(["z k=bz @1"]);
  });

  test("what none takes goes to the default branch", () => {
    expect(short(run.pipe("in", "k", null, 1))).toEqual(["rest k=null @1"]);
  });

  test("without a default branch it is dropped; an unnamed branch has its position as name", () => {
    const dropping = task((texts) => {
      const branches = texts
        .split()
        .branch((value) => value === "1")
        .branch((value) => value === "2")
        .noDefaultBranch();
      branches[2].to("two");
    });

    expect(short(dropping.pipe("in", "k", "2", 1))).toEqual(["two k=2 @1"]);
    expect(short(dropping.pipe("in", "k", "3", 1))).toEqual([]);
  });
});

test("merge passes the records of both on", () => {
  const run = task((texts) =>
    texts
      .filter((value) => value !== null)
      .merge(texts.filter((value) => value === "a"))
      .to("out"),
  );

  expect(short(run.pipe("in", "k", "a", 1))).toEqual(["out k=a @1", "out k=a @1"]);
});

test("null keys end before a repartition topic, and are not counted as dropped", () => {
  const run = task((texts) =>
    texts
      .selectKey((value) => value, { key: text })
      .repartition("rp")
      .to("out"),
  );

  expect(short(run.pipe("in", "k", null, 1))).toEqual([]);
  expect(short(run.pipe("in", "k", "a", 2))).toEqual(["out a=a @2"]);
  expect(run.drops).toEqual([]);
});

describe("a callback that returns a promise", () => {
  // The types refuse it; it gets here from plain JavaScript or behind a cast.
  const later = (async () => "late") as unknown as () => string;

  test.each([
    ["mapValues", (texts: Texts) => texts.mapValues(later).to("out", json), "in-source.mapValues"],
    ["peek", (texts: Texts) => texts.peek(later).to("out"), "in-source.peek"],
    ["filter", (texts: Texts) => texts.filter(later as unknown as () => boolean).to("out"), "in-source.filter"],
    [
      "split",
      (texts: Texts) =>
        texts
          .split()
          .branch(later as unknown as () => boolean, "x")
          .noDefaultBranch()
          .x.to("o"),
      "in-source.split",
    ],
    [
      "reduce",
      (texts: Texts) => void texts.groupByKey().aggregate("lists", { initial: () => "", add: later }),
      "lists",
    ],
  ])("of %s stops the application, with the node's name", (_, build, node) => {
    const run = task(build);

    const failure = (): unknown => run.pipe("in", "k", "v", 1);
    expect(failure).toThrow(StreamsError);
    expect(failure).toThrow(`node "${node}": its callback returned a promise`);
  });
});
