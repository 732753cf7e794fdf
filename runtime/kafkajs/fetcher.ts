import { inflateFetched } from "../compression.js";
import { NotAuthorizedError, UnavailableError } from "../errors.js";
import type { FetchedPartition, Fetcher, FetcherOptions, FetchPosition, FetchRequest } from "../transport.js";
import type { Cluster } from "./cluster.js";
import { CODE, isRetriable, isRetriableCode, ProtocolError } from "./protocol-errors.js";
import { type FetchAnswer, type FetchedRecords, fetchRequest } from "./requests.js";
import { Backoff, Deadline, pause } from "./retry.js";

/** A poll that a broker answers late is still waited for this long, before the caller gets his turn without it. */
const ANSWER_PATIENCE_MS = 500;
/** How long to wait when there is nobody to ask. */
const NOBODY_MS = 25;
/** A partition that is gone is asked for, and reported, this often. */
const UNAVAILABLE_RETRY_MS = 1_000;
/** A partition whose leader has moved; enough for the news to get around. */
const MOVED_RETRY_MS = 100;
/** Base offset and length: what is needed to see whether the first batch is whole. */
const BATCH_LENGTH_AT = 8;
const BATCH_OVERHEAD = 12;
const EMPTY = Buffer.alloc(0);

interface Poll {
  /** Resolves when it is answered, or has failed. */
  readonly settled: Promise<void>;
  /** The end of the call that it was sent for, by `performance.now()`: the broker keeps it no longer. */
  readonly endMs: number;
}

interface Answer {
  /** What was asked for, by partition: an answer to another position is thrown away. */
  readonly asked: ReadonlyMap<string, number>;
  readonly answer: FetchAnswer;
}

/**
 * Fetches whole record sets: one poll per broker at a time, which stays under way between calls when another broker's
 * answer came first.
 */
export class KafkaJsFetcher implements Fetcher {
  readonly #cluster: Cluster;
  readonly #options: FetcherOptions;
  /** By node id. */
  readonly #polls = new Map<number, Poll>();
  /** Answers that were not looked at yet. */
  #answers: Answer[] = [];
  readonly #askAgainAtMs = new Map<string, number>();
  #faults: FetchedPartition[] = [];
  #rotation = 0;
  #backoff = new Backoff();
  #failingSinceMs: number | undefined;
  #failure: unknown;
  #fatal: unknown;

  constructor(cluster: Cluster, options: FetcherOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  async fetch(request: FetchRequest): Promise<readonly FetchedPartition[]> {
    return inflateFetched(await this.#fetch(request));
  }

  async close(): Promise<void> {
    this.#cluster.close();
  }

  async #fetch(request: FetchRequest): Promise<readonly FetchedPartition[]> {
    if (this.#cluster.signal.aborted) throw new UnavailableError(`fetcher ${this.#options.name} is closed`);
    const deadline = new Deadline(request.maxWaitMs);
    for (;;) {
      this.#throwFailure();
      await this.#startPolls(request, deadline);
      const fetched = this.#take(request.positions);
      if (fetched.length > 0) return fetched;
      if (this.#polls.size > 0) await this.#nextAnswer(deadline);
      else await pause(Math.min(deadline.leftMs, NOBODY_MS), this.#cluster.signal);
      const answered = this.#take(request.positions);
      if (answered.length > 0 || deadline.isOver || this.#cluster.signal.aborted) return answered;
    }
  }

  /** Sends a poll to each broker that leads some of the positions and has none under way. */
  async #startPolls(request: FetchRequest, deadline: Deadline): Promise<void> {
    const nowMs = performance.now();
    const positions = this.#rotated(request.positions).filter(
      (position) => (this.#askAgainAtMs.get(nameOf(position)) ?? 0) <= nowMs,
    );
    try {
      await this.#cluster.findLeaders(positions);
    } catch (error) {
      this.#failed(error, nowMs);
      const waitMs = this.#backoff.nextMs();
      for (const position of positions) this.#askLater(position, waitMs);
      return;
    }
    const byNode = new Map<number, FetchPosition[]>();
    for (const position of positions) {
      const leader = this.#cluster.leaderOf(position);
      if (leader === undefined) this.#withoutLeader(position);
      else if (!this.#polls.has(leader)) byNode.set(leader, [...(byNode.get(leader) ?? []), position]);
    }
    for (const [nodeId, those] of byNode) this.#poll(nodeId, those, request, deadline, byNode.size);
  }

  #poll(nodeId: number, positions: FetchPosition[], request: FetchRequest, deadline: Deadline, brokers: number): void {
    const startedMs = performance.now();
    const maxWaitMs = Math.ceil(deadline.leftMs);
    const wire = fetchRequest({
      readCommitted: this.#options.readCommitted,
      maxWaitMs,
      bytesMax: Math.max(request.partitionBytesMax, Math.floor(request.bytesMax / brokers)),
      partitionBytesMax: request.partitionBytesMax,
      partitions: positions,
    });
    const asked = new Map(positions.map((position) => [nameOf(position), position.offset]));
    const settled = this.#cluster.sendTo(nodeId, wire, maxWaitMs + this.#cluster.requestTimeoutMs).then(
      (answer) => {
        this.#polls.delete(nodeId);
        this.#answers.push({ asked, answer });
      },
      (error: unknown) => {
        this.#polls.delete(nodeId);
        this.#failed(error, startedMs);
        this.#cluster.forgetLeaders(positions);
        const waitMs = this.#backoff.nextMs();
        for (const position of positions) this.#askLater(position, waitMs);
      },
    );
    this.#polls.set(nodeId, { settled, endMs: deadline.endMs });
  }

  /**
   * Resolves when a poll is answered or has failed, or when the time is over. Only polls that should be answered by then are waited for beyond it, each once: neither
   * one of an earlier call, which a broker may keep for half a second, nor one of a broker that hangs holds up a caller who has partitions of another to add.
   */
  async #nextAnswer(deadline: Deadline): Promise<void> {
    const polls = [...this.#polls.values()];
    const due = polls.filter(({ endMs }) => endMs <= deadline.endMs);
    const untilMs = Math.max(deadline.endMs, ...due.map(({ endMs }) => endMs + ANSWER_PATIENCE_MS));
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, untilMs - performance.now());
    });
    await Promise.race([timeout, ...polls.map(({ settled }) => settled)]);
    clearTimeout(timer);
  }

  #take(positions: readonly FetchPosition[]): FetchedPartition[] {
    const fetched = this.#faults;
    this.#faults = [];
    if (this.#answers.length === 0) return fetched;
    const answers = this.#answers;
    this.#answers = [];
    const wanted = new Map(positions.map((position) => [nameOf(position), position.offset]));
    for (const { asked, answer } of answers) {
      for (const partition of answer.partitions) {
        const offset = asked.get(nameOf(partition));
        if (offset === undefined || wanted.get(nameOf(partition)) !== offset) continue;
        const one = this.#read(partition, offset);
        if (one !== undefined) fetched.push(one);
      }
    }
    return fetched;
  }

  /** Undefined when there is nothing to say about the partition. */
  #read(partition: FetchedRecords, offset: number): FetchedPartition | undefined {
    const { errorCode } = partition;
    if (errorCode === CODE.NONE) {
      this.#failingSinceMs = undefined;
      this.#backoff = new Backoff();
      return hasWholeBatch(partition.records) ? { ...contents(partition), offset, fault: undefined } : undefined;
    }
    if (errorCode === CODE.OFFSET_OUT_OF_RANGE) return { ...contents(partition), offset, fault: "out-of-range" };
    this.#cluster.forgetLeaders([partition]);
    if (errorCode === CODE.TOPIC_AUTHORIZATION_FAILED) {
      this.#forbidden(partition.topic);
      return undefined;
    }
    if (isUnavailable(errorCode)) {
      this.#askLater(partition, UNAVAILABLE_RETRY_MS);
      return { ...contents(partition), offset, fault: "unavailable" };
    }
    this.#failed(new ProtocolError(errorCode, `fetch of ${nameOf(partition)}`), performance.now());
    this.#askLater(partition, MOVED_RETRY_MS);
    return undefined;
  }

  #forbidden(topic: string): void {
    this.#fatal = new NotAuthorizedError(
      { operation: "Read", resource: "topic", name: topic },
      `read topic "${topic}"`,
    );
  }

  #withoutLeader(position: FetchPosition): void {
    if (this.#cluster.errorOf(position) === CODE.TOPIC_AUTHORIZATION_FAILED) {
      this.#forbidden(position.topic);
      this.#askLater(position, UNAVAILABLE_RETRY_MS);
      return;
    }
    if (!isUnavailable(this.#cluster.errorOf(position))) {
      this.#failed(new ProtocolError(CODE.LEADER_NOT_AVAILABLE, `fetch of ${nameOf(position)}`), performance.now());
      this.#askLater(position, MOVED_RETRY_MS);
      return;
    }
    this.#askLater(position, UNAVAILABLE_RETRY_MS);
    const { topic, partition, offset } = position;
    const unknown = { highWatermark: -1, lastStableOffset: -1, logStartOffset: -1 };
    this.#faults.push({ topic, partition, offset, records: EMPTY, aborted: [], ...unknown, fault: "unavailable" });
  }

  #askLater(partition: { readonly topic: string; readonly partition: number }, waitMs: number): void {
    this.#askAgainAtMs.set(nameOf(partition), performance.now() + waitMs);
  }

  #failed(error: unknown, sinceMs: number): void {
    if (!isRetriable(error) && !(error instanceof ProtocolError && isRetriableCode(error.errorCode)))
      this.#fatal = error;
    this.#failingSinceMs ??= sinceMs;
    this.#failure = error;
  }

  #throwFailure(): void {
    const fatal = this.#fatal;
    this.#fatal = undefined;
    if (fatal !== undefined) throw fatal;
    const { requestTimeoutMs } = this.#cluster;
    if (this.#failingSinceMs === undefined || performance.now() - this.#failingSinceMs < requestTimeoutMs) return;
    this.#failingSinceMs = undefined;
    throw new UnavailableError(`fetcher ${this.#options.name}: no broker has answered for ${requestTimeoutMs} ms`, {
      cause: this.#failure,
    });
  }

  /** A broker fills its answer in the order of the request: each partition gets to be the first in turn. */
  #rotated(positions: readonly FetchPosition[]): readonly FetchPosition[] {
    if (positions.length < 2) return positions;
    const first = this.#rotation++ % positions.length;
    return [...positions.slice(first), ...positions.slice(0, first)];
  }
}

function nameOf({ topic, partition }: { readonly topic: string; readonly partition: number }): string {
  return `${topic}-${partition}`;
}

function isUnavailable(errorCode: number): boolean {
  return errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION || errorCode === CODE.INVALID_TOPIC_EXCEPTION;
}

function contents({
  topic,
  partition,
  records,
  aborted,
  ...rest
}: FetchedRecords): Omit<FetchedPartition, "offset" | "fault"> {
  const { highWatermark, lastStableOffset, logStartOffset } = rest;
  return { topic, partition, records, aborted, highWatermark, lastStableOffset, logStartOffset };
}

/** The byte limit may cut the only batch short: nothing can be read from it yet. */
function hasWholeBatch(records: Buffer): boolean {
  return records.length >= BATCH_OVERHEAD && records.length >= BATCH_OVERHEAD + records.readInt32BE(BATCH_LENGTH_AT);
}
