import type { StreamsMetrics } from "../metrics/metrics.js";
import type { TaskState } from "../stores/task-state.js";
import { changelogSlices } from "./changelog-slices.js";
import { UnavailableError } from "./errors.js";
import type { Logger } from "./logger.js";
import { positionAfter } from "./record-cursor.js";
import type { FetchedPartition, Fetcher } from "./transport.js";

/** One store of one task that is behind its changelog. */
export interface RestoreJob {
  readonly task: string;
  readonly store: string;
  readonly state: TaskState;
  readonly topic: string;
  /** Kept beside the offsets: a topic made anew has another one (protocol 16). */
  readonly topicId: string;
  readonly partition: number;
  /** The next changelog offset to read. */
  position: number;
  /** The high watermark when the task was opened: everything committed lies below it (protocol 14). */
  readonly target: number;
  /** Records read so far. */
  restored: number;
}

/** Bounds of one round, of which two are in memory: one is written in slices while the next one is fetched. */
const ROUND_BYTES_MAX = 4 * 1024 * 1024;
const PARTITION_BYTES_MAX = 2 * 1024 * 1024;
const WAIT_MS = 250;
/** An orphaned transaction holds readers back for its timeout and up to 10 s of the broker's sweep; say what is waited for well before. */
const STALLED_AFTER_MS = 5_000;

/**
 * Reads changelogs back into their stores, several at once, and yields each job when it is done. The next round is
 * fetched while this one is written. A store keeps what was restored if it ends early: it goes on from its checkpoint.
 */
export async function* restore(
  jobs: readonly RestoreJob[],
  fetcher: Fetcher,
  options: { readonly metrics: StreamsMetrics; readonly logger: Logger; readonly signal: AbortSignal },
): AsyncGenerator<RestoreJob> {
  const open = new Set(jobs);
  yield* finished(open);
  let lastProgressMs = performance.now();
  let answer = open.size > 0 ? fetchRound(open, fetcher) : undefined;
  while (answer !== undefined) {
    const fetched: readonly FetchedPartition[] = await answer;
    if (options.signal.aborted) return;
    const work = fetched.map((partition) => ({ partition, job: jobOf(open, partition) }));
    const positions = work.map(({ partition, job }) => ({
      job,
      next: positionAfter(partition.records, partition.offset),
    }));
    answer = undefined;
    if (stillBehind(open, positions)) answer = fetchRound(open, fetcher, positions);
    for (const { partition, job } of work) {
      if (job !== undefined) await apply(partition, job, options);
      if (options.signal.aborted) return;
    }
    if (work.some(({ partition }) => partition.records.length > 0)) lastProgressMs = performance.now();
    else if (performance.now() - lastProgressMs > STALLED_AFTER_MS) {
      lastProgressMs = performance.now();
      const waiting = [...open]
        .map((job) => `${job.topic}-${job.partition}@${job.position} of ${job.target}`)
        .join(", ");
      options.logger.warn(
        { waiting },
        "restore waits: a transaction on the changelog is still open, and is aborted at its timeout",
      );
    }
    yield* finished(open);
    if (answer === undefined && open.size > 0) answer = fetchRound(open, fetcher);
  }
}

function* finished(open: Set<RestoreJob>): Generator<RestoreJob> {
  for (const job of open) {
    if (job.position < job.target) continue;
    open.delete(job);
    yield job;
  }
}

function jobOf(open: ReadonlySet<RestoreJob>, { topic, partition }: FetchedPartition): RestoreJob | undefined {
  for (const job of open) if (job.topic === topic && job.partition === partition) return job;
  return undefined;
}

type NextPositions = readonly { readonly job: RestoreJob | undefined; readonly next: number }[];

function stillBehind(open: ReadonlySet<RestoreJob>, positions: NextPositions): boolean {
  const next = new Map(positions.map(({ job, next: position }) => [job, position]));
  return [...open].some((job) => (next.get(job) ?? job.position) < job.target);
}

function fetchRound(
  open: ReadonlySet<RestoreJob>,
  fetcher: Fetcher,
  ahead: NextPositions = [],
): Promise<readonly FetchedPartition[]> {
  const next = new Map(ahead.map(({ job, next: position }) => [job, position]));
  const positions = [...open].map((job) => ({
    topic: job.topic,
    partition: job.partition,
    offset: next.get(job) ?? job.position,
    target: job.target,
  }));
  const answer = fetcher.fetch({
    positions: positions
      .filter(({ offset, target }) => offset < target)
      .map(({ topic, partition, offset }) => ({ topic, partition, offset })),
    maxWaitMs: WAIT_MS,
    bytesMax: ROUND_BYTES_MAX,
    partitionBytesMax: PARTITION_BYTES_MAX,
  });
  // Awaited later, after this round is written; a failure meanwhile is that await's, not an unhandled one.
  answer.catch(() => undefined);
  return answer;
}

async function apply(
  fetched: FetchedPartition,
  job: RestoreJob,
  options: { readonly metrics: StreamsMetrics; readonly signal: AbortSignal },
): Promise<void> {
  if (fetched.fault !== undefined) {
    throw new UnavailableError(
      `changelog ${job.topic}-${job.partition} cannot be read at ${job.position}: ${fetched.fault}; the task is opened again`,
    );
  }
  // Two answers for one position can only come from a round that was asked before the last one was applied.
  if (fetched.offset !== job.position || fetched.records.length === 0) return;
  const counter = options.metrics.counter("restored_records_total", { store: job.store });
  for (const { records, nextOffset } of changelogSlices(fetched)) {
    job.state.restore(job.store, records, nextOffset, { [job.topic]: job.topicId });
    job.position = nextOffset;
    job.restored += records.length;
    counter.value += records.length;
    // Tasks that are open already are processed in between.
    await new Promise((resolve) => setImmediate(resolve));
    if (options.signal.aborted) return;
  }
}
