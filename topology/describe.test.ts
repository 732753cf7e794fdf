import { expect, test } from "vitest";
import { string } from "../serdes/serde.js";
import { describe as describeTopology } from "./describe.js";
import { StreamsBuilder } from "./dsl.js";
import { untilWindowCloses } from "./dsl-options.js";
import { tumbling } from "./windows.js";

function wordCounts() {
  const builder = new StreamsBuilder();
  const words = builder
    .stream(["lines", "more-lines"], { key: string, value: string })
    .flatMapValues((line) => line.split(" "), { value: string });
  words.peek(() => undefined);
  words
    .groupBy((word) => word, { key: string })
    .count("counts")
    .toStream()
    .to(function byCount(n) {
      return n > 1 ? "many" : "one";
    });
  return builder.build();
}

test("text has Kafka Streams' form: sub-topologies, nodes behind their parents, children and parents of each", () => {
  expect(describeTopology(wordCounts())).toBe(`Topologies:
   Sub-topology: 0
    Source: lines+more-lines-source (topics: [lines, more-lines])
      --> lines+more-lines-source.flatMapValues
    Processor: lines+more-lines-source.flatMapValues (stores: [])
      --> lines+more-lines-source.flatMapValues.peek, lines+more-lines-source.flatMapValues.groupBy
      <-- lines+more-lines-source
    Processor: lines+more-lines-source.flatMapValues.peek (stores: [])
      --> none
      <-- lines+more-lines-source.flatMapValues
    Processor: lines+more-lines-source.flatMapValues.groupBy (stores: [])
      --> counts-repartition-filter
      <-- lines+more-lines-source.flatMapValues
    Processor: counts-repartition-filter (stores: [])
      --> counts-repartition-sink
      <-- lines+more-lines-source.flatMapValues.groupBy
    Sink: counts-repartition-sink (topic: counts-repartition)
      <-- counts-repartition-filter

  Sub-topology: 1
    Source: counts-repartition-source (topics: [counts-repartition])
      --> counts
    Processor: counts (stores: [counts])
      --> counts.toStream
      <-- counts-repartition-source
    Processor: counts.toStream (stores: [])
      --> counts.toStream.to
      <-- counts
    Sink: counts.toStream.to (extractor: byCount)
      <-- counts.toStream

`);
});

function finalCounts() {
  const builder = new StreamsBuilder();
  const a = builder.stream("a", { key: string, value: string });
  a.merge(builder.stream("b", { key: string, value: string }))
    .groupByKey()
    .windowedBy(tumbling({ sizeMs: 5, graceMs: 2 }))
    .count("counts")
    .suppress(untilWindowCloses)
    .toStream()
    .to("out");
  return builder.build();
}

test("a node of several parents stands behind the last of them and names each", () => {
  expect(describeTopology(finalCounts(), "text")).toBe(`Topologies:
   Sub-topology: 0
    Source: a-source (topics: [a])
      --> a-source.merge
    Source: b-source (topics: [b])
      --> a-source.merge
    Processor: a-source.merge (stores: [])
      --> counts
      <-- a-source, b-source
    Processor: counts (stores: [counts])
      --> counts.suppress
      <-- a-source.merge
    Processor: counts.suppress (stores: [counts-suppress])
      --> counts.suppress.toStream
      <-- counts
    Processor: counts.suppress.toStream (stores: [])
      --> out-sink
      <-- counts.suppress
    Sink: out-sink (topic: out)
      <-- counts.suppress.toStream

`);
});

test("JSON has what the text has, and the hash, serdes and stores beside it", () => {
  const topology = finalCounts();

  expect(JSON.parse(describeTopology(topology, "json"))).toEqual({
    hash: topology.hash,
    subTopologies: [
      {
        id: 0,
        sources: [
          {
            name: "a-source",
            topics: [{ name: "a", internal: false }],
            key: "string",
            value: "string",
            children: ["a-source.merge"],
          },
          {
            name: "b-source",
            topics: [{ name: "b", internal: false }],
            key: "string",
            value: "string",
            children: ["a-source.merge"],
          },
        ],
        processors: [
          { name: "a-source.merge", stores: [], children: ["counts"] },
          { name: "counts", stores: ["counts"], children: ["counts.suppress"] },
          { name: "counts.suppress", stores: ["counts-suppress"], children: ["counts.suppress.toStream"] },
          { name: "counts.suppress.toStream", stores: [], children: ["out-sink"] },
        ],
        sinks: [{ name: "out-sink", topic: { name: "out", internal: false } }],
        stores: [
          {
            name: "counts",
            kind: "window",
            key: "string",
            value: "int64",
            changelog: true,
            sizeMs: 5,
            advanceMs: 5,
            retentionMs: 7,
          },
          {
            name: "counts-suppress",
            kind: "window",
            key: "string",
            value: "int64",
            changelog: true,
            sizeMs: 5,
            advanceMs: 5,
            retentionMs: 7,
          },
        ],
      },
    ],
  });
});

function smallest() {
  const builder = new StreamsBuilder();
  builder.stream("in", { key: string, value: string }).groupByKey().count("counts").toStream().to("out");
  return builder.build();
}

test("Mermaid draws topics, nodes by sub-topology, stores, and the way of a record", () => {
  expect(describeTopology(smallest(), "mermaid")).toBe(`flowchart TD
  topic0[/"in"/]
  topic1[/"out"/]
  subgraph sub0["Sub-topology 0"]
    node2["in-source"]
    node3["counts"]
    node4["counts.toStream"]
    node5["out-sink"]
    store6[("counts")]
  end
  topic0 --> node2
  node2 --> node3
  node3 --> node4
  node4 --> node5
  node3 <--> store6
  node5 --> topic1
`);
});

test("DOT draws the same", () => {
  expect(describeTopology(smallest(), "dot")).toBe(`digraph topology {
  node [shape=box];
  topic0 [label="in", shape=parallelogram];
  topic1 [label="out", shape=parallelogram];
  subgraph cluster_0 {
    label="Sub-topology 0";
    node2 [label="in-source"];
    node3 [label="counts"];
    node4 [label="counts.toStream"];
    node5 [label="out-sink"];
    store6 [label="counts", shape=cylinder];
  }
  topic0 -> node2;
  node2 -> node3;
  node3 -> node4;
  node4 -> node5;
  node3 -> store6 [dir=both];
  node5 -> topic1;
}
`);
});
