import type { StateFiles } from "../stores/state-files.js";
import type { ProcessorTopology, SubTopology } from "../topology/processor-topology.js";
import { compareStores, type StoreChange } from "../topology/store-changes.js";
import { definitionOf } from "../topology/store-definition.js";
import { decodeCommitMetadata, METADATA_BYTES_MAX, metadataBytesMax, newerMetadataVersion } from "./commit-metadata.js";
import type { ResolvedConfig } from "./config.js";
import { type CommittedStores, decodeStores, encodeStores, wordsOf } from "./definition-hashes.js";
import { FatalError } from "./errors.js";
import { type TopicNames, topicsRead } from "./internal-topics.js";
import type { TopicDirectory } from "./topic-directory.js";
import type { CommittedOffset } from "./transport.js";

export interface TopologyCheckOptions {
  readonly topology: ProcessorTopology;
  readonly names: TopicNames;
  readonly directory: TopicDirectory;
  readonly config: ResolvedConfig;
  readonly files: StateFiles;
  /** By sub-topology id. */
  readonly taskCounts: readonly number[];
}

/**
 * Compares the topology with what the group's last commits say of their stores, before anything is made, joined or read.
 * What changed and leaves the state good goes to the log. Returns the stores that those commits tell of.
 *
 * @throws FatalError TOPOLOGY_CHANGED with everything that would make the state wrong, and the ways out
 */
export async function checkTopology(options: TopologyCheckOptions): Promise<ReadonlySet<string>> {
  const { topology, directory, config, names } = options;
  await directory.lookUp(
    topology.subTopologies.flatMap((sub) => topicsRead(sub, names)),
    { purpose: "Read" },
  );
  const partitions = topology.subTopologies.flatMap((sub) => sourcePartitions(sub, options));
  const committed = await directory.admin.committedOffsets(config.applicationId, partitions, { requireStable: false });
  const differences = compareWithCommits(options, committed);
  const stale = await staleChangelogs(options, differences.added);
  const refused = [...differences.refused, ...stale, ...tooLarge(options)];
  if (refused.length > 0) throw new FatalError("TOPOLOGY_CHANGED", refused.join("; "));
  for (const { store, what, consequence } of differences.changes) {
    if (consequence !== "") config.logger.warn({ store, what }, `store "${store}" has changed: ${consequence}`);
  }
  return differences.told;
}

interface Differences {
  /** Stores of which the commits tell. */
  readonly told: ReadonlySet<string>;
  readonly refused: readonly string[];
  readonly changes: readonly StoreChange[];
  /** Stores of tasks that have committed without them. */
  readonly added: readonly { readonly store: string; readonly partition: number }[];
}

function compareWithCommits(options: TopologyCheckOptions, committed: readonly CommittedOffset[]): Differences {
  const { topology, taskCounts } = options;
  const specs = topology.subTopologies.flatMap(({ stores }) => stores);
  const notes = notesOf(options, committed);
  const told = new Map(notes.flatMap(({ known }) => [...known.stores]));
  const homes = new Set<string>();
  const refused = new Set(newerCommits(committed));
  const changes = new Map<string, StoreChange>();
  const added: { store: string; partition: number }[] = [];
  for (const { own, partition, known } of notes) {
    const isOwn = (store: string): boolean => own.stores.some(({ name }) => name === store);
    // Of what another sub-topology has, its own commits tell: it is not new because these do not.
    const elsewhere = [...told].filter(([store]) => !isOwn(store));
    for (const change of compareStores(new Map([...elsewhere, ...known.stores]), specs)) {
      if (change.what === "same" || (change.what === "added" && !isOwn(change.store))) continue;
      if (change.what === "added") added.push({ store: change.store, partition });
      if (change.refused !== undefined) refused.add(`store "${change.store}" has changed: ${change.refused}`);
      changes.set(change.store, change);
    }
    for (const store of known.stores.keys()) {
      if (!isOwn(store)) continue;
      homes.add(store);
      const partitions = taskCounts[own.id] ?? 0;
      if (partitions !== known.partitions) refused.add(repartitioned(store, own, known.partitions, partitions));
    }
  }
  for (const { name } of specs) if (told.has(name) && !homes.has(name)) refused.add(moved(name));
  return { told: new Set(told.keys()), refused: [...refused], changes: [...changes.values()], added };
}

interface Note {
  /** Who reads that topic now. */
  readonly own: SubTopology;
  readonly partition: number;
  readonly known: CommittedStores;
}

/** What the commits of each partition tell, where they tell anything. */
function notesOf({ topology, names, files }: TopologyCheckOptions, committed: readonly CommittedOffset[]): Note[] {
  const specs = topology.subTopologies.flatMap(({ stores }) => stores);
  // A store that is gone has its name in the files here, if it ever ran here.
  const words = wordsOf([...files.stored(), ...specs.map((spec) => [spec.name, definitionOf(spec)] as const)]);
  return committed.flatMap(({ topic, partition, metadata }) => {
    const own = topology.subTopologies.find((sub) => topicsRead(sub, names).includes(topic));
    const note = decodeCommitMetadata(metadata, [])?.stores;
    const known = note && decodeStores(note, words);
    return own === undefined || known === undefined ? [] : [{ own, partition, known }];
  });
}

function newerCommits(committed: readonly CommittedOffset[]): string[] {
  return committed.flatMap(({ topic, partition, metadata }) => {
    const version = newerMetadataVersion(metadata);
    if (version === undefined) return [];
    return [
      `${topic}-${partition} was committed by a newer release (format ${version}): run that one, or reset the application`,
    ];
  });
}

function repartitioned(store: string, { sources }: SubTopology, before: number, now: number): string {
  const topics = sources.flatMap((source) => source.topics.map(({ name }) => name)).join(", ");
  return (
    `the input of store "${store}" (${topics}) had ${before} partitions and has ${now}: keys are in other partitions now than their state. ` +
    "Start a new application id on the topic as it is, or reset the application; next time, move to a new topic or repartition() with a fixed count"
  );
}

function moved(store: string): string {
  return (
    `store "${store}" is fed from other topics than before, and its rows belong to positions in those: ` +
    "feed it from the same topics, give the store a new name (it then starts empty), or reset the application"
  );
}

/** A store that comes back after a release without it: its rows lack what was processed meanwhile. */
async function staleChangelogs(
  { names, directory }: TopologyCheckOptions,
  added: Differences["added"],
): Promise<string[]> {
  if (added.length === 0) return [];
  const topics = [...new Set(added.map(({ store }) => names.changelog(store)))];
  await directory.lookUp(topics, { again: true, purpose: "Read" });
  const partitions = added
    .map(({ store, partition }) => ({ topic: names.changelog(store), partition }))
    .filter(({ topic, partition }) => partition < (directory.partitionCount(topic) ?? 0));
  const [low, high] = await Promise.all([
    directory.admin.offsets(partitions, "earliest"),
    directory.admin.offsets(partitions, "latest"),
  ]);
  const filled = high.filter((end) =>
    low.some((start) => start.topic === end.topic && start.partition === end.partition && start.offset < end.offset),
  );
  return [...new Set(filled.map(({ topic }) => topic))].map(
    (topic) =>
      `changelog topic ${topic} holds rows that an earlier topology left, and what was processed since is not in them: ` +
      "give the store a new name, or delete that topic",
  );
}

function tooLarge({ topology, taskCounts }: TopologyCheckOptions): string[] {
  return topology.subTopologies.flatMap((sub) => {
    const clocks = sub.processors.filter(({ timed }) => timed).length;
    const bytes = metadataBytesMax(clocks, encodeStores(sub, taskCounts[sub.id] ?? 0).length);
    if (bytes <= METADATA_BYTES_MAX) return [];
    return [
      `sub-topology ${sub.id} has so many stores and fields that a commit would need ${bytes} bytes to tell of them, and ${METADATA_BYTES_MAX} are sure: ` +
        "put a repartition() between its parts",
    ];
  });
}

function sourcePartitions(sub: SubTopology, { names, directory }: TopologyCheckOptions) {
  return topicsRead(sub, names).flatMap((topic) =>
    Array.from({ length: directory.partitionCount(topic) ?? 0 }, (_, partition) => ({ topic, partition })),
  );
}
