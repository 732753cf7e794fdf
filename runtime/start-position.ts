import type { Checkpoint } from "../stores/task-state.js";
import type { Clock } from "../topology/processor.js";
import type { TopicPartition } from "../topology/record.js";
import { decodeCommitMetadata } from "./commit-metadata.js";
import { FatalError } from "./errors.js";

export interface SourcePosition extends TopicPartition {
  /** Undefined where the group has committed nothing. */
  readonly committed: number | undefined;
  readonly metadata: string;
  readonly logStart: number;
  readonly logEnd: number;
  /** The topic was deleted and made again since this task last read it: old offsets say nothing about it. */
  readonly isAnew: boolean;
  readonly reset: "earliest" | "latest";
}

export interface ChangelogEnds {
  readonly store: string;
  readonly low: number;
  readonly high: number;
}

export interface StartPosition {
  readonly offsets: readonly (TopicPartition & { readonly offset: number })[];
  readonly commitNumber: number;
  readonly clocks: Readonly<Record<string, Clock>>;
  /** True when a position was chosen here, or the stores are not those of the last commit: it is committed before the first fetch, else `latest` would choose again after a rebalance (protocol 14). */
  readonly isNew: boolean;
}

export interface StartFacts {
  readonly task: string;
  readonly sources: readonly SourcePosition[];
  readonly changelogs: readonly ChangelogEnds[];
  /** Of the local file, before anything was restored. */
  readonly checkpoint: Checkpoint | undefined;
  /** Names of the nodes with a clock. */
  readonly timedNodes: readonly string[];
  readonly onOffsetOutOfRange: "fail" | "earliest" | "latest";
  /** What the task's commits will say about its stores. */
  readonly storesNote: Buffer;
}

/**
 * Where a task goes on: at the committed offsets, with the clocks that were committed beside them.
 *
 * @throws FatalError NO_OFFSETS_FOR_STATE when there is state but no committed offset for it: resetting the offsets would
 *   count the whole history on top of itself (protocol 15)
 * @throws FatalError OFFSET_OUT_OF_RANGE when the log does not hold the committed offset any more, SOURCE_TOPIC_MADE_ANEW
 *   when it is another topic of the same name (protocol 16)
 */
export function startPosition(facts: StartFacts): StartPosition {
  const decoded = facts.sources.map(({ metadata }) => decodeCommitMetadata(metadata, facts.timedNodes));
  // All source partitions of a task carry the same metadata; one that joined late or was written by an older commit has a smaller number.
  const newest = decoded.reduce(
    (best, one) => (one !== undefined && one.commitNumber > (best?.commitNumber ?? -1) ? one : best),
    undefined,
  );
  const hasState = facts.changelogs.some(({ low, high }) => high > low);
  const isUncommitted = facts.sources.some(({ committed }) => committed === undefined);
  // The first commit of a task holds only its positions, so state without ours can only mean that they were lost.
  if (hasState && newest === undefined) return fromCheckpoint(facts);
  const offsets = facts.sources.map((source) => ({
    topic: source.topic,
    partition: source.partition,
    offset: offsetOf(source, facts),
  }));
  return {
    offsets,
    commitNumber: Math.max(newest?.commitNumber ?? 0, facts.checkpoint?.commitNumber ?? 0),
    clocks: laterClocks(newest?.clocks ?? {}, facts.checkpoint?.clocks ?? {}),
    // A store that is new must be known before its first changelog record: else that would look like an older topology's.
    isNew:
      isUncommitted ||
      newest?.stores?.equals(facts.storesNote) !== true ||
      offsets.some(({ offset }, at) => offset !== facts.sources[at]?.committed),
  };
}

function offsetOf(source: SourcePosition, facts: StartFacts): number {
  const { committed, logStart, logEnd, reset, topic, partition } = source;
  if (source.isAnew) return offsetInNewTopic(source, facts);
  if (committed === undefined) return reset === "earliest" ? logStart : logEnd;
  if (committed >= logStart && committed <= logEnd) return committed;
  if (facts.onOffsetOutOfRange === "fail") {
    throw new FatalError(
      "OFFSET_OUT_OF_RANGE",
      `task ${facts.task} stands at ${topic}-${partition}@${committed}, but the log holds [${logStart}, ${logEnd}): ` +
        "records were deleted before they were processed, or the topic was made anew. Set onOffsetOutOfRange to earliest or latest to go on without them",
    );
  }
  return facts.onOffsetOutOfRange === "earliest" ? logStart : logEnd;
}

function offsetInNewTopic({ topic, logStart, logEnd }: SourcePosition, facts: StartFacts): number {
  if (facts.onOffsetOutOfRange === "fail") throw sourceMadeAnew(topic, `task ${facts.task}`);
  return facts.onOffsetOutOfRange === "earliest" ? logStart : logEnd;
}

export function sourceMadeAnew(topic: string, reader: string): FatalError {
  return new FatalError(
    "SOURCE_TOPIC_MADE_ANEW",
    `topic ${topic} was deleted and made again since ${reader} read it: the offsets of the old one say nothing ` +
      "about it. Set onOffsetOutOfRange to earliest or latest to go on with the state there is, or reset the application",
  );
}

/** The marker that ends a transaction takes an offset of its own: the last commit of a task leaves its file that much short of the end. */
export const MARKER_OFFSETS = 1;

/** The group has forgotten where it stood. The local file knows, if it has everything that was ever committed. */
function fromCheckpoint(facts: StartFacts): StartPosition {
  const { checkpoint } = facts;
  const isComplete =
    checkpoint !== undefined &&
    facts.changelogs.every(({ store, high }) => (checkpoint.changelogOffsets[store] ?? 0) + MARKER_OFFSETS >= high);
  const offsets = facts.sources.map((source) => {
    const { topic, partition } = source;
    if (source.isAnew) return { topic, partition, offset: offsetInNewTopic(source, facts) };
    const found = checkpoint?.sourceOffsets.find((one) => one.topic === topic && one.partition === partition);
    return isComplete ? found : undefined;
  });
  if (offsets.some((offset) => offset === undefined)) {
    throw new FatalError(
      "NO_OFFSETS_FOR_STATE",
      `task ${facts.task} has state in ${facts.changelogs.map(({ store }) => `"${store}"`).join(", ")} but no committed offsets that belong to it ` +
        "(the group was idle for longer than the broker keeps offsets, or they were reset): reading from the start would count everything twice. " +
        "Reset the application (delete its changelog topics and state directory), or use another application id",
    );
  }
  return {
    offsets: offsets.filter((offset) => offset !== undefined),
    commitNumber: checkpoint?.commitNumber ?? 0,
    clocks: checkpoint?.clocks ?? {},
    isNew: true,
  };
}

/** Each clock at its latest: metadata and file are written one after the other, and either may be the newer one (protocol 19). */
export function laterClocks(
  one: Readonly<Record<string, Clock>>,
  other: Readonly<Record<string, Clock>>,
): Record<string, Clock> {
  const clocks: Record<string, Clock> = {};
  for (const node of new Set([...Object.keys(one), ...Object.keys(other)])) {
    const a = one[node];
    const b = other[node];
    clocks[node] = {
      streamTimeMs: Math.max(a?.streamTimeMs ?? -1, b?.streamTimeMs ?? -1),
      emittedUpToMs: Math.max(a?.emittedUpToMs ?? -1, b?.emittedUpToMs ?? -1),
    };
  }
  return clocks;
}
