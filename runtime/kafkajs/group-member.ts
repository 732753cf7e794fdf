import { invariant } from "../../topology/errors.js";
import { ConfigError, FatalError, NotAuthorizedError, UnavailableError } from "../errors.js";
import type { Assign, Generation, GroupMember, GroupMemberOptions, MembershipStatus } from "../transport.js";
import type { Cluster } from "./cluster.js";
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  kafkaJsRequest,
  type WireRequest,
} from "./kafkajs-internals.js";
import { CODE, isRetriable, ProtocolError } from "./protocol-errors.js";
import { Backoff, pause } from "./retry.js";

const PROTOCOL = "millrace";
const LEAVE_BUDGET_MS = 2_000;
/**
 * The first heartbeat after a join; each next one waits twice as long, up to the interval. Instances and threads of one deployment start at about the
 * same time, and whoever has joined alone hears of the others by a heartbeat: two threads were RUNNING after 5.3 s where one was after 1.2, and are after 2.5.
 */
const FIRST_HEARTBEAT_MS = 100;
/** The answer only makes an error clearer: it must not hold it up. */
const RIVAL_TIMEOUT_MS = 2_000;
/** A broker answers a join when everybody is there or the rebalance timeout is over; this is for the way. */
const NETWORK_MS = 5_000;
/** A member id that was asked for, and a member that came in between: more rounds than these are not normal. */
const QUICK_ROUNDS = 4;
const SLOW_ROUND_MS = 100;
/** Rounds of one join that may end in a fence without anybody being a rival; of two processes that begin at once, one still ends. */
const UNSETTLED_FENCES_MAX = 3;

interface GroupDescription {
  readonly groups: readonly {
    readonly errorCode: number;
    readonly members: readonly { readonly memberId: string; readonly clientId: string; readonly clientHost: string }[];
  }[];
}

interface JoinRequest {
  readonly topics: readonly string[];
  readonly metadata: Uint8Array;
  readonly assign: Assign;
}

interface JoinAnswer {
  readonly errorCode: number;
  readonly generationId: number;
  readonly leaderId: string;
  readonly memberId: string;
  readonly members: readonly {
    readonly memberId: string;
    readonly groupInstanceId: string | null;
    readonly memberMetadata: Buffer;
  }[];
}

/** The rejoins that a broker asks for in so many words; everything else about a join is an error or retried. */
const JOIN_AGAIN: ReadonlySet<number> = new Set([
  CODE.MEMBER_ID_REQUIRED,
  CODE.UNKNOWN_MEMBER_ID,
  CODE.ILLEGAL_GENERATION,
  CODE.REBALANCE_IN_PROGRESS,
]);

/**
 * Membership over JoinGroup v5, SyncGroup v3, Heartbeat v3 and LeaveGroup v3. KafkaJS's consumer has no static members,
 * hides its assignment's bytes and heartbeats only between batches; its encoders have all that is needed.
 */
export class KafkaJsGroupMember implements GroupMember {
  readonly #cluster: Cluster;
  readonly #options: GroupMemberOptions;
  #memberId = "";
  /** The last member id whose generation settled. A coordinator writes a generation only then: one that dies before forgets who joined it. */
  #settledMemberId = "";
  #generationId = -1;
  #status: MembershipStatus = "lost";
  #waiting: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** Heartbeats of an older join must not speak for a newer one. */
  #beat = 0;
  /** When the last heartbeat that was answered was sent: the broker's session cannot end before a timeout from then. */
  #aliveSince = now();

  constructor(cluster: Cluster, options: GroupMemberOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  get status(): MembershipStatus {
    const isMember = this.#status === "stable" || this.#status === "rebalancing";
    return isMember && this.#isSilent() ? "unavailable" : this.#status;
  }

  async changed(): Promise<void> {
    if (this.#status !== "stable") return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async join(request: JoinRequest): Promise<Generation> {
    this.#stopHeartbeats();
    const { groupId, rebalanceTimeoutMs } = this.#options;
    const budgetMs = rebalanceTimeoutMs + this.#cluster.requestTimeoutMs;
    const endMs = performance.now() + budgetMs;
    let unsettledFences = 0;
    for (let rounds = 1; ; rounds++) {
      if (rounds > QUICK_ROUNDS) await pause(SLOW_ROUND_MS, this.#cluster.signal);
      try {
        const generation = await this.#cluster.retrying(
          `join group ${groupId}`,
          () => this.#joinOnce(request),
          budgetMs,
        );
        this.#setStatus("stable");
        this.#startHeartbeats();
        return generation;
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        const isUnsettledFence =
          error.errorCode === CODE.FENCED_INSTANCE_ID && this.#memberId !== this.#settledMemberId;
        if (isUnsettledFence && ++unsettledFences <= UNSETTLED_FENCES_MAX) this.#memberId = "";
        else if (!JOIN_AGAIN.has(error.errorCode)) throw this.#refused(error);
        if (performance.now() > endMs) {
          throw new UnavailableError(`group ${groupId} did not settle within ${budgetMs} ms`, { cause: error });
        }
      }
    }
  }

  async rival(): Promise<string | undefined> {
    const { groupId, groupInstanceId } = this.#options;
    const request = kafkaJsRequest<GroupDescription>("DescribeGroups", { groupIds: [groupId] });
    const errorCodeOf = ({ groups }: GroupDescription): number => groups[0]?.errorCode ?? 0;
    try {
      const options = { timeoutMs: RIVAL_TIMEOUT_MS, errorCodeOf };
      const { groups } = await this.#cluster.sendToCoordinator("group", groupId, request, options);
      // A broker makes a static member's id of its instance id; this version of the answer has only the whole.
      const rival = groups[0]?.members.find(
        ({ memberId }) => memberId.startsWith(`${groupInstanceId}-`) && memberId !== this.#memberId,
      );
      return rival && `${rival.memberId} on ${rival.clientHost.replace(/^\//, "")} (client ${rival.clientId})`;
    } catch (error) {
      this.#cluster.logger.debug({ err: error, groupId }, "who else has this instance id could not be found out");
      return undefined;
    }
  }

  async leave(): Promise<void> {
    this.#stopHeartbeats();
    const { groupId, groupInstanceId } = this.#options;
    const memberId = this.#memberId;
    if (memberId !== "" && this.#status !== "fenced") {
      const request = kafkaJsRequest<{ errorCode: number }>("LeaveGroup", { groupId, memberId, groupInstanceId });
      // Not leaving costs the others the session timeout, no more: it must not hold up a shutdown.
      await this.#cluster
        .retrying(
          `leave group ${groupId}`,
          (deadline) => this.#send(request, Math.max(1, deadline.leftMs)),
          Math.min(LEAVE_BUDGET_MS, this.#cluster.requestTimeoutMs),
        )
        .catch((error: unknown) => {
          this.#cluster.logger.warn(
            { err: error, groupId, memberId },
            "could not leave the group, its session will end by itself",
          );
        });
    }
    this.#memberId = "";
    this.#setStatus("lost");
  }

  async close(): Promise<void> {
    this.#stopHeartbeats();
    this.#setStatus("lost");
    this.#cluster.close();
  }

  // ---- joining ----

  async #joinOnce({ topics, metadata, assign }: JoinRequest): Promise<Generation> {
    const { groupId, groupInstanceId, sessionTimeoutMs, rebalanceTimeoutMs } = this.#options;
    const joining = kafkaJsRequest<JoinAnswer>("JoinGroup", {
      groupId,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: rebalanceTimeoutMs,
      memberId: this.#memberId,
      groupInstanceId,
      protocolType: "consumer",
      groupProtocols: [{ name: PROTOCOL, metadata: encodeSubscription(topics, metadata) }],
    });
    const joined = await this.#sendKeepingId(joining);
    const { generationId, memberId } = joined;
    this.#memberId = memberId;
    const groupAssignment = joined.leaderId === memberId ? await assignments(joined, assign) : [];
    const syncing = kafkaJsRequest<{ errorCode: number; memberAssignment: Buffer }>("SyncGroup", {
      groupId,
      generationId,
      memberId,
      groupInstanceId,
      groupAssignment,
    });
    const sentAt = now();
    const { memberAssignment } = await this.#sendKeepingId(syncing);
    this.#aliveSince = sentAt;
    this.#generationId = generationId;
    this.#settledMemberId = memberId;
    const assignment = memberAssignment.length === 0 ? new Uint8Array() : decodeAssignment(memberAssignment);
    return { generationId, memberId, assignment };
  }

  /** A broker that does not know the member id any more wants a join without one. */
  async #sendKeepingId<T extends { readonly errorCode: number; readonly memberId?: string }>(
    request: WireRequest<T>,
  ): Promise<T> {
    let named: string | undefined;
    const noting: WireRequest<T> = {
      ...request,
      decode: async (payload) => {
        const answer = await request.decode(payload);
        named = answer.memberId;
        return answer;
      },
    };
    try {
      return await this.#send(noting, this.#options.rebalanceTimeoutMs + NETWORK_MS);
    } catch (error) {
      if (error instanceof ProtocolError && error.errorCode === CODE.MEMBER_ID_REQUIRED) this.#memberId = named ?? "";
      if (error instanceof ProtocolError && error.errorCode === CODE.UNKNOWN_MEMBER_ID) this.#memberId = "";
      throw error;
    }
  }

  #send<T extends { readonly errorCode: number }>(request: WireRequest<T>, timeoutMs: number): Promise<T> {
    const errorCodeOf = (answer: T): number => answer.errorCode;
    return this.#cluster.sendToCoordinator("group", this.#options.groupId, request, { timeoutMs, errorCodeOf });
  }

  #refused(error: ProtocolError): Error {
    const { groupId, groupInstanceId, sessionTimeoutMs } = this.#options;
    switch (error.errorCode) {
      case CODE.FENCED_INSTANCE_ID:
        this.#setStatus("fenced");
        return new FatalError(
          "FENCED_INSTANCE_ID",
          `two processes share the group instance id "${groupInstanceId}" of group "${groupId}", and the other one is ` +
            "the newer: give each process a state directory of its own, or another GROUP_INSTANCE_ID",
          { cause: error },
        );
      case CODE.INVALID_SESSION_TIMEOUT:
        return new ConfigError([
          `SESSION_TIMEOUT_MS: ${sessionTimeoutMs} is outside of the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms`,
        ]);
      case CODE.INCONSISTENT_GROUP_PROTOCOL:
        return new FatalError(
          "INCONSISTENT_GROUP_PROTOCOL",
          `group "${groupId}" is in use by consumers that are not Millrace: choose another APPLICATION_ID, or stop them`,
          { cause: error },
        );
      case CODE.GROUP_AUTHORIZATION_FAILED:
        return new NotAuthorizedError({ operation: "Read", resource: "group", name: groupId }, "join its group", {
          cause: error,
        });
      default:
        return new FatalError(error.code, `cannot join group "${groupId}": ${error.message}`, { cause: error });
    }
  }

  // ---- heartbeats ----

  #startHeartbeats(): void {
    this.#schedule(++this.#beat, FIRST_HEARTBEAT_MS, new Backoff());
  }

  #stopHeartbeats(): void {
    this.#beat++;
    clearTimeout(this.#timer);
  }

  #schedule(beat: number, afterMs: number, backoff: Backoff): void {
    const waitMs = Math.min(afterMs, this.#options.heartbeatIntervalMs);
    this.#timer = setTimeout(() => {
      this.#heartbeat(beat, waitMs, backoff).catch((error: unknown) => {
        this.#cluster.logger.error(
          { err: error, groupId: this.#options.groupId },
          "heartbeats of the group have ended",
        );
        if (beat === this.#beat) this.#setStatus("lost");
      });
    }, waitMs);
    this.#timer.unref();
  }

  async #heartbeat(beat: number, waitedMs: number, backoff: Backoff): Promise<void> {
    const { groupId, groupInstanceId, sessionTimeoutMs } = this.#options;
    const request = kafkaJsRequest<{ errorCode: number }>("Heartbeat", {
      groupId,
      groupGenerationId: this.#generationId,
      memberId: this.#memberId,
      groupInstanceId,
    });
    const sentAt = now();
    const error = await this.#send(request, Math.max(1_000, sessionTimeoutMs / 3)).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (beat !== this.#beat) return;
    if (isRetriable(error)) {
      if (this.#isSilent()) this.#setStatus("unavailable");
      this.#schedule(beat, backoff.nextMs(), backoff);
      return;
    }
    const status = this.#statusAfter(error);
    this.#setStatus(status);
    if (status === "lost" || status === "fenced") return;
    this.#aliveSince = sentAt;
    this.#schedule(beat, waitedMs * 2, new Backoff());
  }

  #statusAfter(error: unknown): MembershipStatus {
    // Once a rebalance was seen, only a join ends it: a settled group elsewhere says nothing about this member.
    if (error === undefined) return this.#status === "rebalancing" ? "rebalancing" : "stable";
    if (!(error instanceof ProtocolError)) throw error;
    switch (error.errorCode) {
      case CODE.REBALANCE_IN_PROGRESS:
        return "rebalancing";
      case CODE.UNKNOWN_MEMBER_ID:
        this.#memberId = "";
        return "lost";
      case CODE.ILLEGAL_GENERATION:
        return "lost";
      case CODE.FENCED_INSTANCE_ID:
        return "fenced";
      default:
        throw error;
    }
  }

  /** By both clocks: the monotonic one stands still while a machine sleeps. */
  #isSilent(): boolean {
    const { monotonicMs, wallClockMs } = now();
    const silentMs = Math.max(monotonicMs - this.#aliveSince.monotonicMs, wallClockMs - this.#aliveSince.wallClockMs);
    return silentMs > this.#options.sessionTimeoutMs;
  }

  #setStatus(status: MembershipStatus): void {
    this.#status = status;
    if (status === "stable") return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function now(): { readonly monotonicMs: number; readonly wallClockMs: number } {
  return { monotonicMs: performance.now(), wallClockMs: Date.now() };
}

async function assignments(
  { members }: JoinAnswer,
  assign: Assign,
): Promise<{ readonly memberId: string; readonly memberAssignment: Buffer }[]> {
  const assigned = await assign(
    members.map(({ memberId, groupInstanceId, memberMetadata }) => ({
      memberId,
      groupInstanceId: groupInstanceId ?? "",
      metadata: decodeSubscription(memberMetadata),
    })),
  );
  const ids = new Set(members.map(({ memberId }) => memberId));
  for (const memberId of assigned.keys())
    invariant(ids.has(memberId), `an assignment goes to a member of the group, not to ${memberId}`);
  return [...assigned].map(([memberId, bytes]) => ({ memberId, memberAssignment: encodeAssignment(bytes) }));
}
