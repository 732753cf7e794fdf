import type { TopicPartition } from "../topology/record.js";
import { decodeCommitMetadata } from "./commit-metadata.js";
import { FencedError, UnavailableError, UnstableOffsetsError } from "./errors.js";
import type { CommittedOffset, TopicAdmin, Transport } from "./transport.js";

/** How long offsets may stay unstable: an orphaned transaction ends at its timeout of up to 15 minutes; ours at 10 s and the broker's sweep. */
const STABLE_WAIT_MS = 60_000;
const STABLE_RETRY_MS = 50;
/** A commit that goes on takes less; what holds the offsets longer was left by somebody who died (protocol 13). */
const ORPHAN_AFTER_MS = 500;
/** Only initialised to abort what is open, and then let go. */
const ORPHAN_TIMEOUT_MS = 10_000;

/**
 * Committed offsets once no open transaction holds any of them (protocol 10, 14). A broker answers a commit before it has
 * written the markers, so even one's own offsets may be unstable for a moment.
 *
 * `settleOrphans` is called once, when they have been unstable for longer than a commit takes.
 *
 * @returns nothing when `signal` aborts first
 * @throws UnavailableError when they stay unstable
 */
export async function stableOffsets(
  admin: TopicAdmin,
  groupId: string,
  partitions: readonly TopicPartition[],
  options: { readonly signal?: AbortSignal; readonly settleOrphans?: () => Promise<void> } = {},
): Promise<readonly CommittedOffset[]> {
  const { signal, settleOrphans } = options;
  const beganMs = performance.now();
  const deadlineMs = beganMs + STABLE_WAIT_MS;
  let isSettled = settleOrphans === undefined;
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
      if (!isSettled && performance.now() - beganMs >= ORPHAN_AFTER_MS) {
        isSettled = true;
        await settleOrphans?.();
      }
      await new Promise((resolve) => setTimeout(resolve, STABLE_RETRY_MS));
    }
  }
}

/**
 * Asks again, once what goes with `committed` was read from the log, or does not go with it: a process that was stopped after
 * it had asked holds offsets of a time when its tasks were its own.
 *
 * @throws FencedError when others have committed since: it is the answer that does not fit, not the log
 * @throws UnavailableError when it cannot be known
 */
export async function assertStillCommitted(
  admin: TopicAdmin,
  groupId: string,
  committed: readonly CommittedOffset[],
  options: { readonly signal: AbortSignal; readonly cause?: unknown },
): Promise<void> {
  const { signal, cause } = options;
  for (const now of await stableOffsets(admin, groupId, committed, { signal })) {
    const before = committed.find(({ topic, partition }) => topic === now.topic && partition === now.partition);
    if (before?.offset === now.offset && before?.metadata === now.metadata) continue;
    throw new FencedError(
      `${now.topic}-${now.partition} was worked on by somebody else while its task was opened: ` +
        `committed was ${before?.offset ?? "nothing"}, and now is ${now.offset ?? "nothing"}`,
      { cause },
    );
  }
}

/**
 * Ends the transactions of owners who are not in the group any more: taking over their transactional id aborts what they
 * left open, at once and not at its timeout (protocol 13). The owners are those who committed these partitions last.
 */
export async function settleOrphans(
  transport: Transport,
  groupId: string,
  partitions: readonly TopicPartition[],
  liveOwners: ReadonlySet<string>,
): Promise<readonly string[]> {
  const committed = await transport.topics.committedOffsets(groupId, partitions, { requireStable: false });
  const owners = new Set(committed.flatMap(({ metadata }) => decodeCommitMetadata(metadata, [])?.owner ?? []));
  const orphans = [...owners].filter((owner) => !liveOwners.has(owner));
  for (const transactionalId of orphans) {
    const producer = transport.openTransactionalProducer({ transactionalId, transactionTimeoutMs: ORPHAN_TIMEOUT_MS });
    try {
      await producer.initialize();
    } finally {
      await producer.close();
    }
  }
  return orphans;
}
