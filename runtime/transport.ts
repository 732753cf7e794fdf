import type { TopicPartition } from "../topology/record.js";
import type { Acl } from "./errors.js";

/**
 * The port between the engine and a log: Apache Kafka through KafkaJS, or the embedded log. Its unit is the record
 * batch in Kafka's own bytes (`record-batch.ts`), so that no layer handles single records between a task and the wire.
 * Everything above this line is the same code on both; the shared transport suite says what each must do.
 *
 * Errors are thrown as the classes of `errors.ts`, named by the reaction they call for. Retriable trouble (a leader
 * that moved, a connection that broke on a read, a coordinator that is loading) is retried below this line, bounded by
 * `requestTimeoutMs`; what is thrown has used that up or cannot be retried. What a client may not do is a
 * NotAuthorizedError from any call, except for records, which are refused one by one.
 */
export interface Transport {
  /** True where several threads of a process may each open their own on the same log. */
  readonly allowsThreads: boolean;
  readonly topics: TopicAdmin;
  connect(): Promise<void>;
  /** One per stream thread and purpose: a long poll holds its connection. */
  openFetcher(options: FetcherOptions): Fetcher;
  openProducer(options?: ProducerOptions): Producer;
  openTransactionalProducer(options: TransactionalProducerOptions): TransactionalProducer;
  openGroupMember(options: GroupMemberOptions): GroupMember;
  /** Closes whatever is still open. */
  close(): Promise<void>;
}

// ---- topics ----

export interface TopicDescription {
  readonly topic: string;
  /** Changes when a topic is deleted and made again; the all-zero id where the broker has none. */
  readonly topicId: string;
  readonly partitions: number;
}

export interface NewTopic {
  readonly topic: string;
  readonly partitions: number;
  /** -1: the broker's default. */
  readonly replicationFactor: number;
  readonly configs: Readonly<Record<string, string>>;
}

export interface CommittedOffset extends TopicPartition {
  /** The next offset to read; undefined where nothing is committed. */
  readonly offset: number | undefined;
  readonly metadata: string;
}

export interface TopicAdmin {
  /**
   * Those of the named topics that exist. `purpose`: what they are wanted for, which is what a client that may not see
   * them has to be granted.
   */
  describe(topics: readonly string[], purpose?: "Read" | "Write"): Promise<readonly TopicDescription[]>;
  /** Existing topics are left as they are, and not an error. Resolves when the new ones have leaders. */
  create(topics: readonly NewTopic[]): Promise<void>;
  delete(topics: readonly string[]): Promise<void>;
  /** The values in force, defaults included. */
  configs(topics: readonly string[]): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>>;
  /** `earliest`: the log start (low watermark). `latest`: the high watermark, open transactions included. */
  offsets(
    partitions: readonly TopicPartition[],
    at: "earliest" | "latest",
  ): Promise<readonly { readonly topic: string; readonly partition: number; readonly offset: number }[]>;
  /** Moves the low watermark up to `offset`; what is already gone is not an error. */
  deleteRecords(upTo: readonly (TopicPartition & { readonly offset: number })[]): Promise<void>;
  /**
   * @throws UnstableOffsetsError with `requireStable`, while a transaction that commits offsets of these partitions is open
   */
  committedOffsets(
    groupId: string,
    partitions: readonly TopicPartition[],
    options: { readonly requireStable: boolean },
  ): Promise<readonly CommittedOffset[]>;
  /** Who is in a group now, in words; none for a group that does not exist. */
  members(groupId: string): Promise<readonly string[]>;
  /**
   * Deletes a group with its offsets; one that does not exist is not an error.
   *
   * @throws FatalError GROUP_NOT_EMPTY while it has members
   */
  deleteGroup(groupId: string): Promise<void>;
  /**
   * Static members that will not come back leave the group now, not when their session ends: the others get their
   * partitions at once. One that is not in the group is no error.
   */
  removeMembers(groupId: string, groupInstanceIds: readonly string[]): Promise<void>;
  /**
   * Which of these the brokers refuse this client, in the order asked. It changes nothing. Topics, groups and transactional
   * ids need not be there.
   */
  refused(acls: readonly AskableAcl[]): Promise<readonly AskableAcl[]>;
}

/** An ACL that a client can ask about for itself. */
export type AskableAcl = Acl & { readonly resource: Exclude<Acl["resource"], "cluster"> };

// ---- reading ----

export interface FetcherOptions {
  /** False: also what is not yet or never committed. */
  readonly readCommitted: boolean;
  readonly name: string;
}

export interface FetchPosition extends TopicPartition {
  readonly offset: number;
}

export interface FetchRequest {
  readonly positions: readonly FetchPosition[];
  /** Resolves with nothing after this long without data. */
  readonly maxWaitMs: number;
  readonly bytesMax: number;
  readonly partitionBytesMax: number;
}

export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: number;
}

/** What one fetch brought of one partition: whole record batches, the last maybe cut short. */
export interface FetchedPartition extends TopicPartition {
  /** The position that was asked for. */
  readonly offset: number;
  readonly records: Buffer;
  /** The unpacked records of each compressed batch, by where the batch begins in `records`. */
  readonly inflated?: ReadonlyMap<number, Buffer>;
  readonly aborted: readonly AbortedTransaction[];
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
  /** `out-of-range`: the position is not in [log start, high watermark]. `unavailable`: deleted; ask again later. */
  readonly fault: "out-of-range" | "unavailable" | undefined;
}

export interface Fetcher {
  /** One call at a time. Only partitions with data or a fault are in the answer. */
  fetch(request: FetchRequest): Promise<readonly FetchedPartition[]>;
  close(): Promise<void>;
}

// ---- writing ----

/** One batch for one partition. The transport stamps producer id, epoch, sequence and checksum into it. */
export interface PartitionBatch extends TopicPartition {
  readonly batch: import("./record-batch.js").RecordBatch;
}

export type Refusal = "message-too-large" | "invalid-timestamp" | "invalid-record" | "unknown-topic" | "not-authorized";

/** What became of a batch. A refused one uses up no sequence number, and the transaction goes on. */
export type ProduceResult = { readonly baseOffset: number } | { readonly refusal: Refusal; readonly message: string };

export interface ProducerOptions {
  /** Of the batches on the wire and in the broker's log; `none` by default. The embedded log keeps them as they are. */
  readonly compression?: import("./codecs.js").Compression;
  /** Asked before each request. False: what the records were made from may have another owner, so `produce` throws a FencedError. */
  readonly mayWrite?: () => boolean;
}

/** Idempotent writes outside of any transaction: outputs under at_least_once. One call at a time. */
export interface Producer {
  /** Acknowledged by all in-sync replicas. Results stand in the order of the batches. Several batches of one partition keep their order. */
  produce(batches: readonly PartitionBatch[]): Promise<readonly ProduceResult[]>;
  close(): Promise<void>;
}

export interface TransactionalProducerOptions extends ProducerOptions {
  readonly transactionalId: string;
  readonly transactionTimeoutMs: number;
}

/** Who commits, and under which generation the records were processed (protocol 8, 9). */
export interface GroupMetadata {
  readonly groupId: string;
  readonly generationId: number;
  readonly memberId: string;
  readonly groupInstanceId: string;
}

/**
 * @throws InstanceFencedError from `sendOffsets` when another process has joined as this group instance
 * @throws FencedError from any call when another producer has initialised this id, the group's generation is over, or
 *   the broker no longer knows the producer: drop the buffers, settle by `initialize`, reopen the tasks
 * @throws AmbiguousCommitError from `commit` when its outcome is not known (protocol: the same safe path)
 */
export interface TransactionalProducer {
  readonly transactionalId: string;
  /** Takes a new epoch: fences every earlier user of the id and aborts or completes what it left open. */
  initialize(): Promise<void>;
  /**
   * A transaction will begin soon, and most likely touch the partitions and the group of the last one: they are told to the coordinator now, so that
   * `produce` and `sendOffsets` need not wait for that. Best effort and in the background; what fails is thrown by whatever comes next. A transaction that
   * is not begun before its timeout is aborted by the broker, so this is for one that comes within a small part of that.
   */
  announce(): void;
  /** Local: the broker learns of it with the first batch or offsets, where it was not announced. */
  begin(): void;
  produce(batches: readonly PartitionBatch[]): Promise<readonly ProduceResult[]>;
  /** Every field of the group's metadata is required: without it a broker accepts offsets from anyone (protocol 8). */
  sendOffsets(
    group: GroupMetadata,
    offsets: readonly (TopicPartition & { readonly offset: number; readonly metadata: string })[],
  ): Promise<void>;
  commit(): Promise<void>;
  abort(): Promise<void>;
  close(): Promise<void>;
}

// ---- membership ----

export interface GroupMemberOptions {
  readonly groupId: string;
  /** A static member: one that is killed and comes back with this id has its partitions at once. */
  readonly groupInstanceId: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
}

export interface GroupMemberMetadata {
  readonly memberId: string;
  readonly groupInstanceId: string;
  readonly metadata: Uint8Array;
}

/** The leader's work: a pure function from who is there to what each gets. */
export type Assign = (
  members: readonly GroupMemberMetadata[],
) => ReadonlyMap<string, Uint8Array> | Promise<ReadonlyMap<string, Uint8Array>>;

export interface Generation {
  readonly generationId: number;
  readonly memberId: string;
  readonly assignment: Uint8Array;
}

/**
 * `rebalancing`: somebody joined or left; settle and join again. `lost`: the session is over and the partitions may
 * already belong to somebody else; drop and join again. `fenced`: another process has this instance id; fatal.
 */
export type MembershipStatus = "stable" | "rebalancing" | "lost" | "fenced" | "unavailable";

export interface GroupMember {
  /**
   * Joins, or joins again; resolves with this member's part of a new generation. `metadata` is what `assign` sees of
   * this member, `topics` what it reads (for tools that show the group).
   */
  join(request: {
    readonly topics: readonly string[];
    readonly metadata: Uint8Array;
    readonly assign: Assign;
  }): Promise<Generation>;
  /**
   * As of the last heartbeat, which the member sends by itself from `join` until `leave` or `close`; `unavailable` as soon as
   * the last one that was answered is a session timeout ago.
   */
  readonly status: MembershipStatus;
  /** Resolves when `status` is no longer `stable`. */
  changed(): Promise<void>;
  /** Who is in the group under this member's instance id now, other than itself, in words: for the error of one that was fenced. */
  rival(): Promise<string | undefined>;
  /** Gives the partitions up at once. */
  leave(): Promise<void>;
  /** Stops heartbeating without leaving: a static member keeps its partitions until the session ends. */
  close(): Promise<void>;
}
