import type { ProcessorTopology, SinkNode, SubTopology, TopicRef } from "../topology/processor-topology.js";
import type { StoreSpec } from "../topology/state-store.js";
import { FatalError } from "./errors.js";
import type { TopicDirectory } from "./topic-directory.js";
import type { NewTopic } from "./transport.js";

/** The names that a topology's topics have on the broker. */
export class TopicNames {
  constructor(readonly applicationId: string) {}

  of(ref: TopicRef): string {
    return ref.internal ? `${this.applicationId}-${ref.name}` : ref.name;
  }

  changelog(store: string): string {
    return `${this.applicationId}-${store}-changelog`;
  }
}

/** How wide everything is: the number of tasks of each sub-topology, and the internal topics that follow from it. */
export interface Layout {
  /** By sub-topology id. */
  readonly taskCounts: readonly number[];
  readonly internalTopics: readonly NewTopic[];
}

/** The topics that must exist before the application can start: all that it reads and does not make itself. */
export function sourceTopics(topology: ProcessorTopology): string[] {
  const refs = topology.subTopologies.flatMap((sub) => sub.sources.flatMap((source) => source.topics));
  return [...new Set(refs.filter((ref) => !ref.internal).map((ref) => ref.name))];
}

/** Every topic a sub-topology reads, as the broker knows it. */
export function topicsRead(subTopology: SubTopology, names: TopicNames): string[] {
  return [...new Set(subTopology.sources.flatMap((source) => source.topics.map((ref) => names.of(ref))))];
}

/**
 * Works out the width of every repartition topic, sub-topology and changelog from the widths of the source topics.
 *
 * @throws FatalError NOT_CO_PARTITIONED when a stateful sub-topology reads topics of different widths: equal keys would
 *   meet in different tasks
 */
export function planLayout(
  topology: ProcessorTopology,
  names: TopicNames,
  partitionCount: (topic: string) => number | undefined,
  replicationFactor: number,
): Layout {
  const repartition = repartitionWidths(topology, names, partitionCount);
  const width = (topic: string): number => repartition.get(topic) ?? partitionCount(topic) ?? 0;
  const taskCounts = topology.subTopologies.map((sub) => {
    const widths = topicsRead(sub, names).map((topic) => ({ topic, partitions: width(topic) }));
    const most = Math.max(...widths.map(({ partitions }) => partitions));
    if (sub.stores.length > 0 && widths.some(({ partitions }) => partitions !== most)) {
      const list = widths.map(({ topic, partitions }) => `${topic} has ${partitions}`).join(", ");
      throw new FatalError(
        "NOT_CO_PARTITIONED",
        `sub-topology ${sub.id} keeps state over topics of different partition counts (${list}); repartition() the narrower ones, or make them equally wide`,
      );
    }
    return most;
  });
  const internalTopics: NewTopic[] = [...repartition].map(([topic, partitions]) => ({
    topic,
    partitions,
    replicationFactor,
    configs: REPARTITION,
  }));
  for (const sub of topology.subTopologies) {
    for (const store of sub.stores) {
      if (!store.changelog) continue;
      internalTopics.push({
        topic: names.changelog(store.name),
        partitions: taskCounts[sub.id] as number,
        replicationFactor,
        configs: changelogConfigs(store),
      });
    }
  }
  return { taskCounts, internalTopics };
}

/** A repartition topic is as wide as it was asked to be, else as the widest topic upstream of it, through other repartition topics too. */
function repartitionWidths(
  topology: ProcessorTopology,
  names: TopicNames,
  partitionCount: (topic: string) => number | undefined,
): Map<string, number> {
  const widths = new Map<string, number>();
  const sinks = topology.subTopologies.flatMap((sub) => sub.sinks.filter(isRepartition).map((sink) => ({ sub, sink })));
  // Each round settles at least the next repartition topic downstream; a topology has no circles, so this ends.
  for (let round = 0; round <= sinks.length; round++) {
    for (const { sub, sink } of sinks) {
      const upstream = topicsRead(sub, names).map((topic) => widths.get(topic) ?? partitionCount(topic) ?? 0);
      const partitions = sink.repartition.partitions ?? Math.max(...upstream);
      const topic = names.of(sink.topic);
      widths.set(topic, Math.max(partitions, widths.get(topic) ?? 0));
    }
  }
  return widths;
}

type RepartitionSink = SinkNode & {
  readonly topic: TopicRef;
  readonly repartition: NonNullable<SinkNode["repartition"]>;
};

function isRepartition(sink: SinkNode): sink is RepartitionSink {
  return sink.repartition !== undefined;
}

// Since Kafka 4.0 a broker refuses records over an hour in the future by default; event time may be that (protocol 22).
const ANY_TIMESTAMP = {
  "message.timestamp.type": "CreateTime",
  "message.timestamp.after.max.ms": "9223372036854775807",
};
// Smaller segments than the default of 1 GiB: only closed ones are compacted or deleted.
const SEGMENT = { "segment.bytes": String(50 * 1024 * 1024) };
/** How long a broker keeps a tombstone for those who are behind; a file older than half of it is not trusted with them (protocol 16). */
export const DELETE_RETENTION_MS = 24 * 3_600_000;
const COMPACTED = { "delete.retention.ms": String(DELETE_RETENTION_MS), ...SEGMENT, ...ANY_TIMESTAMP };
const REPARTITION = { "cleanup.policy": "delete", "retention.ms": "-1", ...SEGMENT, ...ANY_TIMESTAMP };
/** Event time may be a year old: the broker must not delete by it. What has expired is cut by DeleteRecords instead (protocol 21). */
const WINDOW_CHANGELOG = { "cleanup.policy": "compact,delete", "retention.ms": "-1", ...COMPACTED };
const KEY_VALUE_CHANGELOG = { "cleanup.policy": "compact", ...COMPACTED };

function changelogConfigs(store: StoreSpec): Readonly<Record<string, string>> {
  return store.kind === "window" ? WINDOW_CHANGELOG : KEY_VALUE_CHANGELOG;
}

/** A broker that has just come up may not know every topic: one that stays away for so long was deleted. */
const DELETED_AFTER_MS = 3_000;
const DELETED_POLL_MS = 250;

/**
 * Makes the internal topics that are missing, and refuses those that cannot serve.
 *
 * @param existed those that are known to have been there: made again and empty, they would pass for state that never was
 * @throws FatalError INTERNAL_TOPIC_DELETED, INTERNAL_TOPIC_UNFIT
 */
export async function ensureInternalTopics(
  layout: Layout,
  directory: TopicDirectory,
  existed: ReadonlySet<string>,
): Promise<void> {
  const names = layout.internalTopics.map(({ topic }) => topic);
  await directory.lookUp(names, { again: true, purpose: "Write" });
  await refuseDeleted(
    names.filter((topic) => existed.has(topic)),
    directory,
  );
  const missing = layout.internalTopics.filter(({ topic }) => directory.get(topic) === undefined);
  if (missing.length > 0) {
    await directory.admin.create(missing);
    await directory.lookUp(names, { again: true, purpose: "Write" });
  }
  const configs = await directory.admin.configs(names);
  const faults = layout.internalTopics.flatMap((wanted) =>
    faultsOf(wanted, directory.partitionCount(wanted.topic), configs.get(wanted.topic)),
  );
  if (faults.length > 0) {
    throw new FatalError(
      "INTERNAL_TOPIC_UNFIT",
      `${faults.join("; ")}; use another application id, or stop every instance, delete the topic and the state directory, and start from the input again`,
    );
  }
}

async function refuseDeleted(topics: readonly string[], directory: TopicDirectory): Promise<void> {
  const deadlineMs = performance.now() + DELETED_AFTER_MS;
  for (;;) {
    const gone = topics.filter((topic) => directory.get(topic) === undefined);
    if (gone.length === 0) return;
    if (performance.now() > deadlineMs) {
      throw new FatalError(
        "INTERNAL_TOPIC_DELETED",
        `internal topic ${gone.join(", ")} was deleted, and what the application had in it is lost: stop every instance and reset the application, ` +
          "which then reads its input again, or use another application id",
      );
    }
    await new Promise((resolve) => setTimeout(resolve, DELETED_POLL_MS));
    await directory.lookUp(topics, { again: true, purpose: "Write" });
  }
}

function faultsOf(
  wanted: NewTopic,
  partitions: number | undefined,
  configs: Readonly<Record<string, string>> | undefined,
): string[] {
  const faults: string[] = [];
  if (partitions !== wanted.partitions) {
    faults.push(
      `internal topic ${wanted.topic} has ${partitions ?? 0} partitions where ${wanted.partitions} are needed`,
    );
  }
  const policies = (value: string | undefined): string =>
    (value ?? "")
      .split(",")
      .map((policy) => policy.trim())
      .sort()
      .join(",");
  for (const key of ["cleanup.policy", "retention.ms"]) {
    const want = wanted.configs[key];
    const has = configs?.[key];
    if (want === undefined || has === undefined) continue;
    if (policies(want) !== policies(has))
      faults.push(`internal topic ${wanted.topic} has ${key}=${has} where ${want} is needed`);
  }
  return faults;
}
