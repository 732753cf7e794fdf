import { invariant } from "../../topology/errors.js";
import { FatalError, UnavailableError } from "../errors.js";
import type { Generation, GroupMember, GroupMemberOptions, MembershipStatus } from "../transport.js";
import type { GroupCoordinator, JoinAnswer, MembershipFault } from "./group-coordinator.js";

type JoinRequest = Parameters<GroupMember["join"]>[0];

const STATUS: Readonly<Record<MembershipFault | "ok", MembershipStatus>> = {
  ok: "stable",
  "rebalance-in-progress": "rebalancing",
  "illegal-generation": "lost",
  "unknown-member": "lost",
  "fenced-instance": "fenced",
};

/** The member's side of the group protocol, with heartbeats as over a network, so that the same sessions end for the same reasons. */
export class EmbeddedGroupMember implements GroupMember {
  readonly #coordinator: GroupCoordinator;
  readonly #options: GroupMemberOptions;
  readonly #onClose: () => void;
  #memberId = "";
  #generationId = -1;
  #status: MembershipStatus = "rebalancing";
  #heartbeats: NodeJS.Timeout | undefined;
  #isJoining = false;
  #isClosed = false;
  #waiting: (() => void)[] = [];
  /** Ends the wait for a round when the member is closed or leaves meanwhile. */
  #giveUp: (() => void) | undefined;

  constructor(coordinator: GroupCoordinator, options: GroupMemberOptions, onClose: () => void) {
    this.#coordinator = coordinator;
    this.#options = options;
    this.#onClose = onClose;
  }

  get status(): MembershipStatus {
    return this.#status;
  }

  changed(): Promise<void> {
    if (this.#status !== "stable") return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  async join(request: JoinRequest): Promise<Generation> {
    invariant(!this.#isJoining, "a member joins one round at a time");
    this.#refuseIfClosed();
    this.#isJoining = true;
    this.#startHeartbeats();
    try {
      for (;;) {
        const generation = await Promise.race([this.#round(request), this.#closing()]);
        if (generation !== undefined) return generation;
      }
    } finally {
      this.#isJoining = false;
      this.#giveUp = undefined;
      this.#heartbeats?.unref();
    }
  }

  rival(): Promise<string | undefined> {
    const { groupId, groupInstanceId } = this.#options;
    const holder = this.#coordinator.holder(groupId, groupInstanceId);
    return Promise.resolve(holder === this.#memberId ? undefined : holder);
  }

  leave(): Promise<void> {
    clearInterval(this.#heartbeats);
    this.#giveUp?.();
    const memberId = this.#memberId;
    this.#memberId = "";
    this.#coordinator.leave(this.#options.groupId, memberId);
    this.#set("rebalancing");
    return Promise.resolve();
  }

  close(): Promise<void> {
    clearInterval(this.#heartbeats);
    this.#isClosed = true;
    this.#giveUp?.();
    this.#set("unavailable");
    this.#onClose();
    return Promise.resolve();
  }

  /** One try to get into a generation; undefined when another round began meanwhile. */
  async #round(request: JoinRequest): Promise<Generation | undefined> {
    if (this.#status === "fenced") this.#fail("fenced-instance");
    const { groupId, groupInstanceId, sessionTimeoutMs, rebalanceTimeoutMs } = this.#options;
    const joined = await this.#coordinator.join({
      groupId,
      groupInstanceId,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      memberId: this.#memberId,
      metadata: Uint8Array.from(request.metadata),
      onChange: () => this.#heartbeat(),
    });
    if (typeof joined === "string") return this.#fail(joined);
    this.#memberId = joined.memberId;
    this.#generationId = joined.generationId;
    const assignment = await this.#sync(joined, request);
    if (typeof assignment === "string") return this.#fail(assignment);
    this.#refuseIfClosed();
    this.#isJoining = false;
    this.#status = "stable";
    this.#heartbeat(); // what happened since the answer was given
    return { generationId: joined.generationId, memberId: joined.memberId, assignment };
  }

  async #sync(joined: JoinAnswer, request: JoinRequest): Promise<Uint8Array | MembershipFault> {
    const { groupId } = this.#options;
    if (joined.members === undefined) {
      return this.#coordinator.sync(groupId, joined.memberId, joined.generationId, undefined);
    }
    try {
      const assignments = await request.assign(joined.members);
      return await this.#coordinator.sync(groupId, joined.memberId, joined.generationId, assignments);
    } catch (error) {
      // The others wait for this assignment: out of their way, then the caller hears why.
      this.#coordinator.leave(groupId, joined.memberId);
      this.#set("lost");
      throw error;
    }
  }

  /** Undefined where joining again helps. */
  #fail(fault: MembershipFault): undefined {
    this.#refuseIfClosed();
    if (fault === "fenced-instance") {
      this.#set("fenced");
      const { groupId, groupInstanceId } = this.#options;
      const message = `group ${groupId}: another member has taken the instance id ${groupInstanceId}; two of one identity cannot run, give each its own state directory`;
      throw new FatalError("FENCED_INSTANCE_ID", message);
    }
    if (fault === "unknown-member") this.#memberId = "";
    return undefined;
  }

  #refuseIfClosed(): void {
    if (this.#isClosed) throw this.#closedError();
  }

  #closing(): Promise<never> {
    return new Promise((_, reject) => {
      this.#giveUp = () => reject(this.#closedError());
    });
  }

  #closedError(): UnavailableError {
    return new UnavailableError(
      `the member of group ${this.#options.groupId} was closed, or left while it was joining`,
    );
  }

  #startHeartbeats(): void {
    clearInterval(this.#heartbeats);
    // While joining, the timer holds the process: nothing else may, and the round must end.
    this.#heartbeats = setInterval(() => this.#heartbeat(), this.#options.heartbeatIntervalMs);
  }

  #heartbeat(): void {
    if (this.#isClosed || this.#memberId === "") return;
    const { groupId, groupInstanceId } = this.#options;
    const answer = this.#coordinator.heartbeat(groupId, this.#memberId, groupInstanceId, this.#generationId);
    if (this.#isJoining) return; // it keeps the session; the round itself says what became of it
    if (answer === "unknown-member") this.#memberId = "";
    this.#set(STATUS[answer]);
  }

  #set(status: MembershipStatus): void {
    // Only a join leads out of these.
    if (this.#status === "fenced" || (this.#status === "lost" && status !== "fenced" && status !== "unavailable"))
      return;
    this.#status = status;
    if (status === "stable") return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
