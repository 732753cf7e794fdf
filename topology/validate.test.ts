import { describe, expect, test } from "vitest";
import { int64, string } from "../serdes/serde.js";
import { StreamsBuilder } from "./dsl.js";
import { untilWindowCloses } from "./dsl-options.js";
import type { KStream } from "./dsl-types.js";
import { TopologyError } from "./errors.js";
import { hopping, tumbling } from "./windows.js";

const texts = { key: string, value: string };

function build(define: (builder: StreamsBuilder) => void) {
  const builder = new StreamsBuilder();
  define(builder);
  return builder.build();
}
/** `CODE node` of every fault. */
function faultsOf(define: (builder: StreamsBuilder) => void): string[] {
  try {
    build(define);
  } catch (error) {
    if (error instanceof TopologyError) return error.faults.map(({ code, node }) => `${code} ${node}`);
    throw error;
  }
  return [];
}

describe("a topology that cannot run", () => {
  const windows = tumbling({ sizeMs: 5, graceMs: 0 });

  test("is refused with every fault at once, each with its node", () => {
    const faults = faultsOf((builder) => {
      const stream = builder.stream("in", texts);
      stream.groupByKey().count("twice");
      stream.groupByKey().count("twice");
      stream.to("no/topic");
      stream
        .groupByKey()
        .windowedBy(tumbling({ sizeMs: 5, graceMs: -1 }))
        .count("w");
    });

    expect(faults).toEqual(
      expect.arrayContaining(["DUPLICATE_STORE twice", "ILLEGAL_TOPIC no/topic-sink", "BAD_GRACE w"]),
    );
  });

  test("says where and what to do", () => {
    expect(() => build((builder) => builder.stream("in", texts).to("in"))).toThrow(
      'in-sink: writes each record of "in-source" to the topic it came from, for ever: put a filter between, or write to another topic [TOPIC_LOOP]',
    );
  });

  test.each<[code: string, node: string, define: (builder: StreamsBuilder) => void]>([
    ["EMPTY_TOPOLOGY", "topology", () => undefined],
    ["EMPTY_SOURCE", "-source", (b) => b.stream([], texts)],
    ["ILLEGAL_TOPIC", "a b-source", (b) => b.stream("a b", texts)],
    ["ILLEGAL_TOPIC", "..-source", (b) => b.stream("..", texts)],
    ["ILLEGAL_TOPIC", "in-source", (b) => b.stream("in", { ...texts, onError: { deadLetter: "a:b" } })],
    ["BAD_OPTION", "in-source", (b) => b.stream("in", { ...texts, maxAheadMs: -1 })],
    ["BAD_OPTION", "in-source", (b) => b.stream("in", { ...texts, maxAheadMs: Number.NaN })],
    [
      "TOPIC_READ_TWICE",
      "in-source-2",
      (b) => {
        b.stream("in", texts);
        b.stream("in", { key: string, value: int64 });
      },
    ],
    [
      "TOPIC_READ_TWICE",
      "a+in-source",
      (b) => {
        b.stream("in", texts);
        b.stream(["a", "in"], texts);
      },
    ],
    ["ILLEGAL_STORE_NAME", "a/b", (b) => b.stream("in", texts).groupByKey().count("a/b")],
    ["ILLEGAL_STORE_NAME", "rp rp-repartition-source", (b) => b.stream("in", texts).repartition("rp rp")],
    [
      "DUPLICATE_NAME",
      "rp-repartition-source",
      (b) => {
        b.stream("in", texts).repartition("rp");
        b.stream("in", texts).repartition("rp");
      },
    ],
    [
      "DUPLICATE_NAME",
      "x",
      (b) =>
        b
          .stream("in", texts)
          .peek(() => 1, { name: "x" })
          .peek(() => 2, { name: "x" }),
    ],
    ["ILLEGAL_NAME", "a b", (b) => b.stream("in", texts).peek(() => 1, { name: "a b" })],
    ["BAD_OPTION", "rp-repartition-source", (b) => b.stream("in", texts).repartition("rp", { partitions: 0 })],
    [
      "BAD_WINDOW",
      "w",
      (b) =>
        b
          .stream("in", texts)
          .groupByKey()
          .windowedBy(tumbling({ sizeMs: 0, graceMs: 0 }))
          .count("w"),
    ],
    [
      "BAD_WINDOW",
      "w",
      (b) =>
        b
          .stream("in", texts)
          .groupByKey()
          .windowedBy(hopping({ sizeMs: 5, advanceMs: 6, graceMs: 0 }))
          .count("w"),
    ],
    [
      "BAD_WINDOW",
      "w",
      (b) =>
        b
          .stream("in", texts)
          .groupByKey()
          .windowedBy(hopping({ sizeMs: 5, advanceMs: 0, graceMs: 0 }))
          .count("w"),
    ],
    [
      "BAD_GRACE",
      "w",
      (b) =>
        b
          .stream("in", texts)
          .groupByKey()
          .windowedBy(tumbling({ sizeMs: 5, graceMs: 0.5 }))
          .count("w"),
    ],
    [
      "RETENTION_TOO_SHORT",
      "w",
      (b) => b.stream("in", texts).groupByKey().windowedBy(windows).count("w", { retentionMs: 4 }),
    ],
    [
      "SUPPRESS_OF_FINAL",
      "w.suppress",
      (b) =>
        b
          .stream("in", texts)
          .groupByKey()
          .windowedBy(windows)
          .emit("on-window-close")
          .count("w")
          .suppress(untilWindowCloses),
    ],
    [
      "SUPPRESS_WITHOUT_WINDOWS",
      "c.suppress",
      (b) =>
        b
          .stream("in", texts)
          .groupByKey()
          .count("c")
          .suppress(untilWindowCloses as never),
    ],
    [
      "DUPLICATE_STORE",
      "w.suppress-2",
      (b) => {
        const w = b.stream("in", texts).groupByKey().windowedBy(windows).count("w");
        w.suppress(untilWindowCloses);
        w.suppress(untilWindowCloses);
      },
    ],
    [
      "MISSING_SERDE",
      "out-sink",
      (b) => (b.stream("in", texts).mapValues((text) => text.length) as unknown as KStream<string, number>).to("out"),
    ],
    [
      "MISSING_SERDE",
      "in-source.map.groupByKey",
      (b) =>
        (b.stream("in", texts).map((text) => ({ key: text, value: text })) as unknown as KStream<string, string>)
          .groupByKey()
          .count("c"),
    ],
    [
      "TOPIC_LOOP",
      "in-sink",
      (b) =>
        b
          .stream("in", texts)
          .mapValues((text) => text, { value: string })
          .to("in"),
    ],
    ["TOPIC_LOOP", "in-sink", (b) => b.stream("in", texts).repartition("rp").to("in")],
  ])("%s at %s", (code, node, define) => {
    expect(faultsOf(define)).toContain(`${code} ${node}`);
  });

  test("may write to its own source behind a filter, where a loop can end", () => {
    expect(
      faultsOf((b) =>
        b
          .stream("in", texts)
          .filter((text) => text.length > 1)
          .mapValues((text) => text.slice(1), { value: string })
          .to("in"),
      ),
    ).toEqual([]);
  });

  test("cannot merge streams of two builders", () => {
    const [one, two] = [new StreamsBuilder().stream("a", texts), new StreamsBuilder().stream("b", texts)];

    expect(() => one.merge(two)).toThrow(/different builders/);
  });
});
