import type { TaskState } from "../stores/task-state.js";
import { DELETE_RETENTION_MS } from "./internal-topics.js";
import { MARKER_OFFSETS } from "./start-position.js";

export interface ChangelogSpan {
  readonly store: string;
  readonly topic: string;
  readonly low: number;
  readonly high: number;
}

/** Why a local file must not be used (protocol 16); undefined when it may. */
export function unfitReason(
  state: TaskState,
  changelogs: readonly ChangelogSpan[],
  isAnew: (topic: string) => boolean,
  wallClockMs: number,
): string | undefined {
  const checkpoint = state.checkpoint();
  if (checkpoint === undefined) return undefined;
  for (const { store, topic, low, high } of changelogs) {
    if (isAnew(topic)) return `topic ${topic} was made anew`;
    const offset = checkpoint.changelogOffsets[store];
    if (offset === undefined) continue;
    if (offset > high) return `store "${store}" stands at changelog offset ${offset}, past its end ${high}`;
    const ageMs = wallClockMs - checkpoint.wallClockMs;
    if (offset + MARKER_OFFSETS < high && ageMs > DELETE_RETENTION_MS / 2) {
      return `store "${store}" is ${Math.round(ageMs / 3_600_000)} hours behind, and the changelog may have forgotten its deletions`;
    }
    if (offset < low) return `store "${store}" stands at changelog offset ${offset}, before its start ${low}`;
  }
  return undefined;
}
