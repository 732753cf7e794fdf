import type { TopicPartition } from "../topology/record.js";
import { UnavailableError, UnstableOffsetsError } from "./errors.js";
import type { CommittedOffset, TopicAdmin } from "./transport.js";

/** How long offsets may stay unstable: an orphaned transaction ends at its timeout of up to 15 minutes; ours at 10 s and the broker's sweep. */
const STABLE_WAIT_MS = 60_000;
const STABLE_RETRY_MS = 50;

/**
 * Committed offsets once no open transaction holds any of them (protocol 10, 14). A broker answers a commit before it has
 * written the markers, so even one's own offsets may be unstable for a moment.
 *
 * @returns nothing when `signal` aborts first
 * @throws UnavailableError when they stay unstable
 */
export async function stableOffsets(
  admin: TopicAdmin,
  groupId: string,
  partitions: readonly TopicPartition[],
  signal?: AbortSignal,
): Promise<readonly CommittedOffset[]> {
  const deadlineMs = performance.now() + STABLE_WAIT_MS;
  for (;;) {
    try {
      return await admin.committedOffsets(groupId, partitions, { requireStable: true });
    } catch (error) {
      if (!(error instanceof UnstableOffsetsError)) throw error;
      if (signal?.aborted === true) return [];
      if (performance.now() > deadlineMs) {
        const message = `${error.message}, for over ${STABLE_WAIT_MS / 1000} s: its owner died, and the broker has not ended it`;
        throw new UnavailableError(message, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, STABLE_RETRY_MS));
    }
  }
}
