import { describe, expect, test } from "vitest";
import { unvalidatedJson } from "../serdes/json.js";
import { int64, string } from "../serdes/serde.js";
import { count, sum } from "./aggregators.js";
import { StreamsBuilder } from "./dsl.js";
import { untilWindowCloses } from "./dsl-options.js";
import type { KStream } from "./dsl-types.js";
import { CurrentRecord } from "./record.js";
import { tumbling } from "./windows.js";

const texts = { key: string, value: string };

function build(define: (builder: StreamsBuilder) => void) {
  const builder = new StreamsBuilder();
  define(builder);
  return builder.build();
}
const onTexts = (define: (stream: KStream<string, string>) => void) =>
  build((builder) => define(builder.stream("in", texts)));
const namesOf = (topology: ReturnType<typeof build>): string[] =>
  topology.subTopologies.flatMap(({ processors, sinks }) => [...processors, ...sinks].map((node) => node.name));

describe("names", () => {
  test("are made of the parent's and the operator's, sinks' and sources' of their topics", () => {
    const topology = onTexts((stream) => {
      stream
        .filter(() => true)
        .mapValues((text) => text, { value: string })
        .to("out");
    });

    expect(topology.subTopologies[0]?.sources.map((source) => source.name)).toEqual(["in-source"]);
    expect(namesOf(topology)).toEqual(["in-source.filter", "in-source.filter.mapValues", "out-sink"]);
  });

  test("of siblings that would be the same are told apart by position", () => {
    const topology = onTexts((stream) => {
      stream.filter(() => true).to("out");
      stream.filter(() => false).to("out");
    });

    expect(namesOf(topology)).toEqual(["in-source.filter", "in-source.filter-2", "out-sink", "out-sink-2"]);
  });

  test("stay as they are when an unrelated operator is put in elsewhere", () => {
    const define = (more: boolean) =>
      build((builder) => {
        if (more)
          builder
            .stream("other", texts)
            .mapValues((text) => text.length)
            .groupByKey()
            .count("lengths");
        const stream = builder.stream("in", texts);
        if (more) stream.peek(() => undefined);
        stream
          .groupBy((text) => text, { key: string })
          .count("counts")
          .toStream()
          .to("out");
      });

    expect(namesOf(define(true))).toEqual(expect.arrayContaining(namesOf(define(false))));
  });

  test("given by the user are taken as they are", () => {
    const topology = onTexts((stream) => stream.filter(() => true, { name: "mine" }).to("out", { name: "end" }));

    expect(namesOf(topology)).toEqual(["mine", "end"]);
  });

  test("below a stateful operator begin with its store's", () => {
    const topology = onTexts((stream) => {
      const table = stream
        .groupByKey()
        .windowedBy(tumbling({ sizeMs: 5, graceMs: 0 }))
        .count("counts");
      table.suppress(untilWindowCloses).toStream().to("out");
      table.late.foreach(() => undefined);
    });

    expect(namesOf(topology)).toEqual([
      "counts",
      "counts.suppress",
      "counts.suppress.toStream",
      "counts.late",
      "counts.late.foreach",
      "out-sink",
    ]);
  });
});

describe("repartition topics", () => {
  const internalTopics = (topology: ReturnType<typeof build>): string[] =>
    topology.subTopologies.flatMap(({ sources }) =>
      sources.flatMap(({ topics }) => topics.filter((t) => t.internal).map((t) => t.name)),
    );

  test("stand only where a changed key meets a stateful operator", () => {
    const topology = onTexts((stream) => {
      stream.groupByKey().count("same-key");
      stream.selectKey((text) => text, { key: string }).to("out");
      stream.selectKey((text) => text, { key: string }).groupByKey();
    });

    expect(internalTopics(topology)).toEqual([]);
    expect(topology.subTopologies).toHaveLength(1);
  });

  test("are named after the operator's store and cut the topology there", () => {
    const topology = onTexts((stream) => {
      stream
        .groupBy((text) => text, { key: string })
        .count("counts")
        .toStream()
        .to("out");
    });

    expect(topology.subTopologies.map(({ id, sources }) => [id, sources.map((source) => source.name)])).toEqual([
      [0, ["in-source"]],
      [1, ["counts-repartition-source"]],
    ]);
    expect(topology.subTopologies[0]?.processors.at(-1)).toMatchObject({
      name: "counts-repartition-filter",
      children: ["counts-repartition-sink"],
    });
    expect(topology.subTopologies[0]?.sinks).toMatchObject([
      { topic: { name: "counts-repartition", internal: true }, repartition: { partitions: undefined } },
    ]);
  });

  test("are one for each group, shared by its operators; a name of the group is the topic's", () => {
    const topology = onTexts((stream) => {
      const rekeyed = stream.selectKey((text) => text, { key: string });
      const shared = rekeyed.groupByKey();
      shared.count("a");
      shared.count("b");
      rekeyed.groupByKey().count("c");
      rekeyed.groupByKey({ name: "by-text" }).count("d");
    });

    expect(internalTopics(topology)).toEqual(["a-repartition", "c-repartition", "by-text-repartition"]);
    expect(topology.subTopologies.map(({ stores }) => stores.map((store) => store.name))).toEqual([
      [],
      ["a", "b"],
      ["c"],
      ["d"],
    ]);
  });

  test("made by repartition() carry the partition count, and the key counts as unchanged behind them", () => {
    const topology = onTexts((stream) => {
      stream
        .selectKey((text) => text, { key: string })
        .repartition("rp", { partitions: 3 })
        .groupByKey()
        .count("counts");
    });

    expect(internalTopics(topology)).toEqual(["rp-repartition"]);
    expect(topology.subTopologies[0]?.sinks[0]?.repartition).toEqual({ partitions: 3 });
  });

  test("do not check times again that were checked at their first source", () => {
    const topology = onTexts((stream) => stream.repartition("rp").to("out"));

    expect(topology.subTopologies[0]?.sources[0]?.maxAheadMs).toBe(86_400_000);
    expect(topology.subTopologies[1]?.sources[0]).toMatchObject({
      maxAheadMs: Number.POSITIVE_INFINITY,
      startAt: "earliest",
    });
  });
});

describe("sub-topologies", () => {
  test("are what hangs together, numbered by their first sources", () => {
    const topology = build((builder) => {
      const a = builder.stream("a", texts);
      const b = builder.stream("b", texts);
      const c = builder.stream("c", texts);
      c.merge(a).to("ac");
      b.to("b-out");
    });

    expect(topology.subTopologies.map(({ sources }) => sources.map((source) => source.name))).toEqual([
      ["a-source", "c-source"],
      ["b-source"],
    ]);
  });

  test("have each node behind its parents", () => {
    const topology = onTexts((stream) => {
      const long = stream.mapValues((text) => text, { value: string }).filter(() => true);
      stream
        .filter(() => false)
        .merge(long)
        .to("out");
    });
    const { processors } = topology.subTopologies[0] ?? { processors: [] };
    const position = new Map(processors.map(({ name }, at) => [name, at]));

    for (const { name, children } of processors) {
      for (const child of children)
        if (position.has(child)) expect(position.get(child)).toBeGreaterThan(position.get(name) ?? 0);
    }
    expect(processors.at(-1)?.name).toBe("in-source.filter.merge");
  });

  test("read a topic once that is read twice in the same way", () => {
    const topology = build((builder) => {
      builder.stream("in", texts).to("a");
      builder.stream("in", texts).to("b");
    });

    expect(topology.subTopologies[0]?.sources).toMatchObject([{ name: "in-source", children: ["a-sink", "b-sink"] }]);
  });
});

describe("stores", () => {
  test("of windows keep them for size + grace unless told otherwise; of their suppression as long", () => {
    const topology = onTexts((stream) => {
      const windowed = stream.groupByKey().windowedBy(tumbling({ sizeMs: 5, graceMs: 7 }));
      windowed.count("counts").suppress(untilWindowCloses);
      windowed.count("longer", { retentionMs: 100, changelog: false });
    });

    expect(topology.subTopologies[0]?.stores).toMatchObject([
      { kind: "window", name: "counts", sizeMs: 5, retentionMs: 12, changelog: true, key: string, value: int64 },
      { kind: "window", name: "counts-suppress", sizeMs: 5, retentionMs: 12, changelog: true },
      { kind: "window", name: "longer", sizeMs: 5, retentionMs: 100, changelog: false },
    ]);
  });

  test("take the serde that is known: a reducer's of its stream, an aggregate's as given, else JSON", () => {
    const topology = onTexts((stream) => {
      const grouped = stream.groupByKey();
      grouped.reduce("reduced", (a) => a);
      grouped.aggregate("given", { initial: () => 0, add: (n) => n + 1, value: int64 });
      grouped.aggregate("custom", { initial: () => 0, add: (n) => n + 1 });
      grouped.aggregate("named", { n: count() });
    });

    expect(topology.subTopologies[0]?.stores.map(({ value }) => value.name)).toEqual([
      "string",
      "int64",
      "json",
      "json",
    ]);
  });
});

describe("a table's view", () => {
  test("reads what is stored as the table's value, through filters and mappers", () => {
    const table = new StreamsBuilder()
      .stream("in", { key: string, value: unvalidatedJson<{ cents: number }>() })
      .groupByKey()
      .aggregate("per-user", { n: count(), total: sum((p) => p.cents) });
    const mapped = table.filter(({ total }, { key }) => total > key.length).mapValues(({ total }) => total * 2);
    const record = Object.assign(new CurrentRecord(), { key: "ann" });

    expect(table.view).toMatchObject({ store: "per-user", sizeMs: undefined });
    expect(table.view.read({ n: 1, total: 5 }, record)).toEqual({ n: 1, total: 5 });
    expect(mapped.view.read({ n: 1, total: 5 }, record)).toBe(10);
    expect(mapped.view.read({ n: 1, total: 3 }, record)).toBeNull();
  });
});

describe("sinks", () => {
  test("turn headers given as an object into Kafka's form", () => {
    const topology = onTexts((stream) =>
      stream.to("out", { headers: (text, { key }) => ({ text, key, raw: new Uint8Array([1]), none: null }) }),
    );
    const headers = topology.subTopologies[0]?.sinks[0]?.headers?.(
      "é",
      Object.assign(new CurrentRecord(), { key: "k" }),
    );

    expect(headers).toEqual([
      ["text", Buffer.from("é")],
      ["key", Buffer.from("k")],
      ["raw", new Uint8Array([1])],
      ["none", null],
    ]);
  });

  test("pass headers on that have Kafka's form", () => {
    const topology = onTexts((stream) => stream.to("out", { headers: (_, record) => record.headers }));
    const given = [
      ["a", null],
      ["a", Buffer.from("2")],
    ] as const;

    expect(
      topology.subTopologies[0]?.sinks[0]?.headers?.("", Object.assign(new CurrentRecord(), { headers: given })),
    ).toEqual(given);
  });
});

describe("the hash", () => {
  const define = (store: string, topic = "out") =>
    onTexts((stream) =>
      stream
        .groupByKey()
        .count(store as "counts")
        .toStream()
        .to(topic),
    ).hash;

  test("is 16 hex digits, equal for equal topologies", () => {
    expect(define("counts")).toMatch(/^[0-9a-f]{16}$/);
    expect(define("counts")).toBe(define("counts"));
  });

  test("differs when a name, a topic or a store does", () => {
    expect(new Set([define("counts"), define("others"), define("counts", "elsewhere")]).size).toBe(3);
  });
});
