import type { StateFiles } from "../stores/state-files.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import type { ResolvedConfig } from "./config.js";
import { ensureInternalTopics, planLayout, type TopicNames } from "./internal-topics.js";
import type { TopicDirectory } from "./topic-directory.js";
import { checkTopology } from "./topology-check.js";

/**
 * What must be before a group is joined, in this order: the topology fits the state that is there, and only then internal
 * topics are made. Gives the number of tasks of each sub-topology. The source topics exist and are known.
 *
 * @param seenTopics internal topics that were there before: now they must be, and what is made is added
 * @throws FatalError when the topology, the state and the topics do not go together
 */
export async function prepareTopics(
  topology: ProcessorTopology,
  names: TopicNames,
  directory: TopicDirectory,
  config: ResolvedConfig,
  files: StateFiles,
  seenTopics: Set<string>,
): Promise<readonly number[]> {
  const partitionCount = (topic: string): number | undefined => directory.partitionCount(topic);
  const layout = planLayout(topology, names, partitionCount, config.replicationFactor);
  const { taskCounts, internalTopics } = layout;
  const committedStores = await checkTopology({ topology, names, directory, config, files, taskCounts });
  // A changelog is made before the first commit that tells of its store.
  const changelogs = [...committedStores].map((store) => names.changelog(store));
  await ensureInternalTopics(layout, directory, new Set([...seenTopics, ...changelogs]));
  for (const { topic } of internalTopics) seenTopics.add(topic);
  await directory.lookUp(sinkTopics(topology), { purpose: "Write" });
  return taskCounts;
}

/** Fixed topics that the sinks write to: known beforehand, so that records are placed as they are sent. */
function sinkTopics(topology: ProcessorTopology): string[] {
  const refs = topology.subTopologies.flatMap((sub) => sub.sinks.map((sink) => sink.topic));
  return refs.flatMap((topic) => (typeof topic === "function" || topic.internal ? [] : [topic.name]));
}
