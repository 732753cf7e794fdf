import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Serde, string } from "../serdes/serde.js";
import type { ProcessorTopology, SinkNode, SourceNode, SubTopology } from "../topology/processor-topology.js";
import type { StoreSpec } from "../topology/state-store.js";
import { ensureInternalTopics, planLayout, TopicNames } from "./internal-topics.js";
import { TopicDirectory } from "./topic-directory.js";
import type { NewTopic, TopicAdmin } from "./transport.js";

const names = new TopicNames("shop");
const text = string as Serde<unknown>;

function source(...topics: readonly string[]): SourceNode {
  const refs = topics.map((name) => ({ name, internal: name.endsWith("-repartition") }));
  return {
    name: topics.join(),
    topics: refs,
    key: text,
    value: text,
    timestamp: undefined,
    maxAheadMs: 1,
    onError: undefined,
    startAt: undefined,
    children: [],
  };
}

function repartition(name: string, partitions?: number): SinkNode {
  const topic = { name, internal: true };
  return {
    name,
    topic,
    key: text,
    value: text,
    headers: undefined,
    partitioner: undefined,
    onError: undefined,
    repartition: { partitions },
  };
}

const windowStore: StoreSpec = {
  kind: "window",
  name: "w",
  key: text,
  value: text,
  changelog: true,
  sizeMs: 1,
  retentionMs: 1,
};
const keyValueStore: StoreSpec = { kind: "key-value", name: "kv", key: text, value: text, changelog: true };

function topology(...parts: readonly Partial<SubTopology>[]): ProcessorTopology {
  return {
    hash: "h",
    subTopologies: parts.map((part, id) => ({ id, sources: [], processors: [], sinks: [], stores: [], ...part })),
  };
}

const widths = new Map([
  ["in", 9],
  ["narrow", 3],
]);
const plan = (of: ProcessorTopology) => planLayout(of, names, (topic) => widths.get(topic), -1);

describe("planLayout", () => {
  test("a repartition topic is as wide as the widest topic upstream, and what follows it too", () => {
    const layout = plan(
      topology(
        { sources: [source("in", "narrow")], sinks: [repartition("a-repartition")] },
        { sources: [source("a-repartition")], sinks: [repartition("b-repartition")] },
        { sources: [source("b-repartition")], stores: [windowStore] },
      ),
    );
    expect(layout.taskCounts).toEqual([9, 9, 9]);
    expect(layout.internalTopics.map(({ topic, partitions }) => [topic, partitions])).toEqual([
      ["shop-a-repartition", 9],
      ["shop-b-repartition", 9],
      ["shop-w-changelog", 9],
    ]);
  });

  test("a repartition topic is as wide as it was asked to be", () => {
    const layout = plan(
      topology(
        { sources: [source("in")], sinks: [repartition("a-repartition", 4)] },
        { sources: [source("a-repartition")], stores: [keyValueStore] },
      ),
    );
    expect(layout.taskCounts).toEqual([9, 4]);
  });

  test("state over topics of different widths is refused, with the widths", () => {
    const torn = topology({ sources: [source("in"), source("narrow")], stores: [keyValueStore] });
    expect(() => plan(torn)).toThrow("in has 9, narrow has 3");
  });

  test("a window changelog is compacted, deleted by us and never by the broker's clock", () => {
    const [changelog] = plan(topology({ sources: [source("in")], stores: [windowStore] })).internalTopics;
    expect(changelog?.configs).toMatchObject({
      "cleanup.policy": "compact,delete",
      "retention.ms": "-1",
      "message.timestamp.after.max.ms": "9223372036854775807",
    });
  });
});

/** A broker's topics as a Map: creating is all that it can do. */
class TopicsInMemory implements Pick<TopicAdmin, "describe" | "create" | "configs"> {
  readonly topics = new Map<string, NewTopic>();

  constructor(...topics: readonly NewTopic[]) {
    for (const topic of topics) this.topics.set(topic.topic, topic);
  }

  async describe(wanted: readonly string[]) {
    return wanted.flatMap((topic) => {
      const found = this.topics.get(topic);
      return found === undefined ? [] : [{ topic, topicId: `id of ${topic}`, partitions: found.partitions }];
    });
  }

  async create(topics: readonly NewTopic[]) {
    for (const topic of topics) this.topics.set(topic.topic, topic);
  }

  async configs(wanted: readonly string[]) {
    return new Map(wanted.map((topic) => [topic, this.topics.get(topic)?.configs ?? {}]));
  }
}

const NONE: ReadonlySet<string> = new Set();

describe("ensureInternalTopics", () => {
  const layout = plan(topology({ sources: [source("in")], stores: [windowStore] }));
  const directory = (topics: TopicsInMemory): TopicDirectory => new TopicDirectory(topics as unknown as TopicAdmin);

  test("a missing topic is made as planned", async () => {
    const topics = new TopicsInMemory();
    await ensureInternalTopics(layout, directory(topics), NONE);
    expect(topics.topics.get("shop-w-changelog")).toEqual(layout.internalTopics[0]);
  });

  test.each([
    ["partitions", { partitions: 8 }, "has 8 partitions where 9 are needed"],
    [
      "a policy that deletes by the broker's clock",
      { configs: { "cleanup.policy": "delete", "retention.ms": "604800000" } },
      "cleanup.policy=delete where compact,delete is needed",
    ],
  ])("an existing topic with other %s is refused, with the ways out", async (_, change, message) => {
    const existing = { ...(layout.internalTopics[0] as NewTopic), ...change } as NewTopic;
    await expect(ensureInternalTopics(layout, directory(new TopicsInMemory(existing)), NONE)).rejects.toThrow(message);
  });

  test("the order of cleanup policies does not matter", async () => {
    const existing = {
      ...(layout.internalTopics[0] as NewTopic),
      configs: { "cleanup.policy": "delete,compact", "retention.ms": "-1" },
    };
    await expect(ensureInternalTopics(layout, directory(new TopicsInMemory(existing)), NONE)).resolves.toBeUndefined();
  });

  describe("a topic that was there before", () => {
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ["setTimeout", "performance"] });
    });
    afterEach(() => {
      vi.useRealTimers();
    });
    const changelog = layout.internalTopics[0] as NewTopic;
    const existed = new Set([changelog.topic]);

    test("and is gone is not made anew and empty: it is named, with the ways out", async () => {
      const topics = new TopicsInMemory();
      const ensured = expect(ensureInternalTopics(layout, directory(topics), existed)).rejects.toThrow(
        /internal topic shop-w-changelog was deleted.*reset the application/,
      );
      await vi.advanceTimersByTimeAsync(5_000);
      await ensured;
      expect(topics.topics.size).toBe(0);
    });

    test("and that a broker which has just come up does not know yet is asked for again", async () => {
      const topics = new TopicsInMemory();
      const ensured = ensureInternalTopics(layout, directory(topics), existed);
      await vi.advanceTimersByTimeAsync(1_000);
      topics.topics.set(changelog.topic, { ...changelog });
      await vi.advanceTimersByTimeAsync(1_000);
      await expect(ensured).resolves.toBeUndefined();
    });
  });
});
