import { deleteState, stateOnDisk } from "../stores/state-directory.js";
import { storedStores } from "../stores/stored-stores.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import type { TopicPartition } from "../topology/record.js";
import { FatalError } from "./errors.js";
import { sourceTopics, TopicNames } from "./internal-topics.js";
import type { Transport } from "./transport.js";

export interface ResetOptions {
  readonly applicationId: string;
  readonly stateDir: string;
  readonly transport: Transport;
  /** Topics that go as well: outputs, for who wants them written anew. */
  readonly alsoDelete?: readonly string[];
}

/** What a reset deletes, and what it leaves. */
export interface ResetPlan {
  readonly applicationId: string;
  /** Live members of the group: with any, nothing is reset. */
  readonly members: readonly string[];
  /** Source partitions with a committed offset. */
  readonly offsets: number;
  readonly topics: readonly { readonly topic: string; readonly partitions: number; readonly records: number }[];
  /** On this machine; other instances have their own. */
  readonly state: { readonly path: string; readonly files: number; readonly bytes: number } | undefined;
}

/** Looks what there is; changes nothing. Internal topics are those of this topology, and of stores that the state here tells of. */
export async function planReset(topology: ProcessorTopology, options: ResetOptions): Promise<ResetPlan> {
  const { applicationId, stateDir, transport, alsoDelete = [] } = options;
  const state = stateOnDisk({ stateDir, applicationId });
  const names = new TopicNames(applicationId);
  const stores = topology.subTopologies.flatMap((sub) => sub.stores.map(({ name }) => name));
  const earlier = state === undefined ? [] : storedStores(state.path).map(([name]) => name);
  const repartitions = topology.subTopologies.flatMap(({ sources }) =>
    sources.flatMap(({ topics }) => topics.filter(({ internal }) => internal).map((ref) => names.of(ref))),
  );
  const changelogs = [...stores, ...earlier].map((store) => names.changelog(store));
  const wanted = [...new Set([...changelogs, ...repartitions, ...alsoDelete])].sort();
  const found = await transport.topics.describe(wanted);
  const topics = await Promise.all(
    found.map(async ({ topic, partitions }) => ({
      topic,
      partitions,
      records: await held(transport, topic, partitions),
    })),
  );
  return {
    applicationId,
    members: await transport.topics.members(applicationId),
    offsets: await committed(topology, options),
    topics,
    state,
  };
}

/**
 * Deletes what the plan lists. The group first: the broker refuses that while an instance lives. When it ends in the
 * middle, a start is refused (offsets without state, or state without offsets), and a second reset finishes it.
 *
 * @throws FatalError GROUP_NOT_EMPTY
 * @throws UnusableStateError STATE_DIRECTORY_LOCKED
 */
export async function reset(plan: ResetPlan, { applicationId, stateDir, transport }: ResetOptions): Promise<void> {
  if (plan.members.length > 0) {
    const message = `group "${applicationId}" has live members (${plan.members.join(", ")}): stop every instance first`;
    throw new FatalError("GROUP_NOT_EMPTY", message);
  }
  await transport.topics.deleteGroup(applicationId);
  await transport.topics.delete(plan.topics.map(({ topic }) => topic));
  deleteState({ stateDir, applicationId });
}

async function held(transport: Transport, topic: string, count: number): Promise<number> {
  const partitions = partitionsOf(topic, count);
  const [low, high] = await Promise.all([
    transport.topics.offsets(partitions, "earliest"),
    transport.topics.offsets(partitions, "latest"),
  ]);
  const sum = (offsets: readonly { readonly offset: number }[]): number =>
    offsets.reduce((total, { offset }) => total + offset, 0);
  return sum(high) - sum(low);
}

async function committed(topology: ProcessorTopology, { applicationId, transport }: ResetOptions): Promise<number> {
  const topics = await transport.topics.describe(sourceTopics(topology));
  const partitions = topics.flatMap(({ topic, partitions: count }) => partitionsOf(topic, count));
  const offsets = await transport.topics.committedOffsets(applicationId, partitions, { requireStable: false });
  return offsets.filter(({ offset }) => offset !== undefined).length;
}

function partitionsOf(topic: string, count: number): TopicPartition[] {
  return Array.from({ length: count }, (_, partition) => ({ topic, partition }));
}
