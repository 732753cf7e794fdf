import { randomUUID } from "node:crypto";
import { FencedError, InstanceFencedError } from "../errors.js";
import type { GroupMemberMetadata, GroupMetadata } from "../transport.js";
import { Alarm } from "./alarm.js";

/** Why the coordinator does not do what a member asks; the names are Kafka's. */
export type MembershipFault = "unknown-member" | "illegal-generation" | "fenced-instance" | "rebalance-in-progress";

export interface JoinRequest {
  readonly groupId: string;
  /** "" for a member that is not, or no longer, in the group. */
  readonly memberId: string;
  readonly groupInstanceId: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly metadata: Uint8Array;
  /** Called when this member should look at its heartbeat's answer. */
  readonly onChange: () => void;
}

export interface JoinAnswer {
  readonly generationId: number;
  readonly memberId: string;
  /** Who is there, for the leader of a new generation; undefined for everybody else. */
  readonly members: readonly GroupMemberMetadata[] | undefined;
}

interface Member {
  readonly memberId: string;
  readonly groupInstanceId: string;
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  metadata: Uint8Array;
  onChange: () => void;
  deadlineMs: number;
  assignment: Uint8Array;
  /** Set while the member waits for the round to be complete. */
  join: ((answer: JoinAnswer | MembershipFault) => void) | undefined;
  /** Set while the member waits for the leader's assignment. */
  sync: ((answer: Uint8Array | MembershipFault) => void) | undefined;
}

interface Group {
  readonly groupId: string;
  generationId: number;
  phase: "empty" | "joining" | "syncing" | "stable";
  readonly members: Map<string, Member>;
  leaderId: string;
  /** Until when the members have time to join, or the leader to assign. */
  roundDeadlineMs: number;
  completing: boolean;
}

const NO_ASSIGNMENT = new Uint8Array(0);

/**
 * Kafka's classic group protocol for the members of one process: rounds of join and sync, generations, sessions, static
 * members. A static member that comes back while the group is stable takes its predecessor's place, assignment and
 * all, without a round; one that misses a round stays until its session ends. Nothing of it is written to the file:
 * members die with the process, and the ids of new ones are new.
 */
export class GroupCoordinator {
  readonly #groups = new Map<string, Group>();
  readonly #nowMs: () => number;
  readonly #alarm: Alarm;

  constructor(options: { readonly nowMs: () => number }) {
    this.#nowMs = options.nowMs;
    this.#alarm = new Alarm(this.#nowMs, () => this.#expireDue());
  }

  /** Resolves when the round is complete. */
  join(request: JoinRequest): Promise<JoinAnswer | MembershipFault> {
    const group = this.#group(request.groupId);
    const holder = this.#staticMember(group, request.groupInstanceId);
    if (request.memberId !== "" && !group.members.has(request.memberId)) {
      return Promise.resolve(holder === undefined ? "unknown-member" : "fenced-instance");
    }
    const known = request.memberId === "" ? holder : group.members.get(request.memberId);
    const takesOver = known !== undefined && known.memberId !== request.memberId;
    const isSame = known !== undefined && Buffer.from(known.metadata).equals(request.metadata);
    const isLeader = known !== undefined && known.memberId === group.leaderId;
    const member = takesOver ? this.#takeOver(group, known, request) : (known ?? this.#enter(group, request));
    this.#update(member, request);
    if (group.phase === "stable" && known !== undefined && (takesOver || (isSame && !isLeader))) {
      return Promise.resolve({ generationId: group.generationId, memberId: member.memberId, members: undefined });
    }
    return new Promise((resolve) => {
      member.join?.("rebalance-in-progress");
      member.join = resolve;
      if (group.phase !== "joining") this.#startRound(group);
      this.#completeIfAllAreThere(group);
    });
  }

  /** Resolves with the assignment; the leader brings those of all. */
  sync(
    groupId: string,
    memberId: string,
    generationId: number,
    assignments: ReadonlyMap<string, Uint8Array> | undefined,
  ): Promise<Uint8Array | MembershipFault> {
    const group = this.#group(groupId);
    const member = group.members.get(memberId);
    if (member === undefined) return Promise.resolve("unknown-member");
    if (generationId !== group.generationId) return Promise.resolve("illegal-generation");
    if (group.phase === "joining") return Promise.resolve("rebalance-in-progress");
    if (group.phase === "stable") return Promise.resolve(member.assignment);
    if (assignments !== undefined && memberId === group.leaderId) {
      group.phase = "stable";
      for (const one of group.members.values()) {
        one.assignment = assignments.get(one.memberId) ?? NO_ASSIGNMENT;
        const sync = one.sync;
        one.sync = undefined;
        sync?.(one.assignment);
      }
      return Promise.resolve(member.assignment);
    }
    return new Promise((resolve) => {
      member.sync?.("rebalance-in-progress");
      member.sync = resolve;
    });
  }

  heartbeat(groupId: string, memberId: string, groupInstanceId: string, generationId: number): MembershipFault | "ok" {
    this.#alarm.ifDue();
    const group = this.#group(groupId);
    const member = group.members.get(memberId);
    if (member === undefined) return this.#absence(group, groupInstanceId);
    this.#extend(member);
    if (group.phase === "joining") return "rebalance-in-progress";
    return generationId === group.generationId ? "ok" : "illegal-generation";
  }

  /** The member id that a static member has now; undefined where there is none. */
  holder(groupId: string, groupInstanceId: string): string | undefined {
    return this.#staticMember(this.#group(groupId), groupInstanceId)?.memberId;
  }

  members(groupId: string): readonly string[] {
    return [...this.#group(groupId).members.keys()];
  }

  leave(groupId: string, memberId: string): void {
    const group = this.#group(groupId);
    const member = group.members.get(memberId);
    if (member !== undefined) this.#remove(group, member);
  }

  /**
   * Whether these offsets come from a member of the current generation. During the join phase that is still the old one.
   *
   * @throws FencedError for an old generation, an unknown member, a replaced static member
   */
  check({ groupId, generationId, memberId, groupInstanceId }: GroupMetadata): void {
    this.#alarm.ifDue();
    const group = this.#group(groupId);
    const member = group.members.get(memberId);
    if (member === undefined || member.groupInstanceId !== groupInstanceId) {
      const fault = this.#absence(group, groupInstanceId);
      throw new (fault === "fenced-instance" ? InstanceFencedError : FencedError)(
        `offsets of group ${groupId} refused: member ${memberId} (${groupInstanceId}) is not in it (${fault})`,
      );
    }
    if (generationId !== group.generationId) {
      throw new FencedError(
        `offsets of group ${groupId} refused: they belong to generation ${generationId}, the group is at ${group.generationId}`,
      );
    }
    this.#extend(member);
  }

  /** Ends what is overdue by the clock; a timer does so as well. */
  expire(): void {
    this.#alarm.ifDue();
  }

  stop(): void {
    this.#alarm.stop();
    const groups = [...this.#groups.values()];
    this.#groups.clear();
    for (const group of groups) {
      for (const member of group.members.values()) this.#dismiss(member, "unknown-member");
    }
  }

  #group(groupId: string): Group {
    let group = this.#groups.get(groupId);
    if (group === undefined) {
      group = {
        groupId,
        generationId: 0,
        phase: "empty",
        members: new Map(),
        leaderId: "",
        roundDeadlineMs: Number.POSITIVE_INFINITY,
        completing: false,
      };
      this.#groups.set(groupId, group);
    }
    return group;
  }

  #staticMember(group: Group, groupInstanceId: string): Member | undefined {
    if (groupInstanceId === "") return undefined;
    for (const member of group.members.values()) if (member.groupInstanceId === groupInstanceId) return member;
    return undefined;
  }

  #absence(group: Group, groupInstanceId: string): "fenced-instance" | "unknown-member" {
    return this.#staticMember(group, groupInstanceId) === undefined ? "unknown-member" : "fenced-instance";
  }

  #enter(group: Group, request: JoinRequest): Member {
    const member: Member = {
      ...request,
      memberId: `${request.groupInstanceId || "member"}-${randomUUID()}`,
      deadlineMs: Number.POSITIVE_INFINITY,
      assignment: NO_ASSIGNMENT,
      join: undefined,
      sync: undefined,
    };
    group.members.set(member.memberId, member);
    return member;
  }

  /** The instance came back under a new member id; whoever still uses the old one is fenced. */
  #takeOver(group: Group, before: Member, request: JoinRequest): Member {
    const member = this.#enter(group, request);
    member.assignment = before.assignment;
    group.members.delete(before.memberId);
    if (group.leaderId === before.memberId) group.leaderId = member.memberId;
    this.#dismiss(before, "fenced-instance");
    return member;
  }

  #update(member: Member, request: JoinRequest): void {
    member.sessionTimeoutMs = request.sessionTimeoutMs;
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
    member.metadata = request.metadata;
    member.onChange = request.onChange;
    this.#extend(member);
  }

  #extend(member: Member): void {
    member.deadlineMs = this.#nowMs() + member.sessionTimeoutMs;
    this.#alarm.by(member.deadlineMs);
  }

  #startRound(group: Group): void {
    group.phase = "joining";
    this.#setRoundDeadline(group);
    for (const member of group.members.values()) {
      const sync = member.sync;
      member.sync = undefined;
      sync?.("rebalance-in-progress");
      if (member.join === undefined) member.onChange();
    }
  }

  #setRoundDeadline(group: Group): void {
    const timeoutMs = Math.max(0, ...[...group.members.values()].map((member) => member.rebalanceTimeoutMs));
    group.roundDeadlineMs = this.#nowMs() + timeoutMs;
    this.#alarm.by(group.roundDeadlineMs);
  }

  /** One turn later, so that members that start together share their first generation. */
  #completeIfAllAreThere(group: Group): void {
    if (group.completing || !allHaveJoined(group)) return;
    group.completing = true;
    setImmediate(() => {
      group.completing = false;
      if (group.phase === "joining" && allHaveJoined(group)) this.#complete(group);
    });
  }

  /** Begins the new generation. Who has not joined is out, but for static members: their sessions decide. */
  #complete(group: Group): void {
    for (const member of [...group.members.values()]) {
      if (member.join === undefined && member.groupInstanceId === "") {
        group.members.delete(member.memberId);
        this.#dismiss(member, "unknown-member");
      }
    }
    const joined = [...group.members.values()].filter((member) => member.join !== undefined);
    if (joined.length === 0) {
      if (group.members.size === 0) this.#empty(group);
      else this.#setRoundDeadline(group);
      return;
    }
    group.generationId++;
    group.phase = "syncing";
    if (!joined.some((member) => member.memberId === group.leaderId)) group.leaderId = (joined[0] as Member).memberId;
    this.#setRoundDeadline(group);
    const members = [...group.members.values()].map(({ memberId, groupInstanceId, metadata }) => ({
      memberId,
      groupInstanceId,
      metadata,
    }));
    for (const member of joined) {
      this.#extend(member);
      const join = member.join;
      member.join = undefined;
      const isLeader = member.memberId === group.leaderId;
      join?.({
        generationId: group.generationId,
        memberId: member.memberId,
        members: isLeader ? members : undefined,
      });
    }
    for (const member of group.members.values()) if (!joined.includes(member)) member.onChange();
  }

  #remove(group: Group, member: Member): void {
    group.members.delete(member.memberId);
    this.#dismiss(member, "unknown-member");
    if (group.members.size === 0) this.#empty(group);
    else if (group.phase === "joining") this.#completeIfAllAreThere(group);
    else this.#startRound(group);
  }

  /** The generation ends with its last member: what it still sends is refused. */
  #empty(group: Group): void {
    group.generationId++;
    group.phase = "empty";
    group.leaderId = "";
    group.roundDeadlineMs = Number.POSITIVE_INFINITY;
  }

  #dismiss(member: Member, fault: MembershipFault): void {
    member.join?.(fault);
    member.sync?.(fault);
    member.join = undefined;
    member.sync = undefined;
    member.onChange();
  }

  #expireDue(): number | undefined {
    const nowMs = this.#nowMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const group of this.#groups.values()) {
      if (group.phase === "joining" && group.roundDeadlineMs <= nowMs) this.#complete(group);
      if (group.phase === "syncing" && group.roundDeadlineMs <= nowMs) this.#giveUpLeader(group);
      for (const member of [...group.members.values()]) {
        // Who waits for a round is held by the coordinator itself, not by heartbeats.
        if (member.join === undefined && member.deadlineMs <= nowMs) this.#remove(group, member);
        else if (member.join === undefined) nextMs = Math.min(nextMs, member.deadlineMs);
      }
      const isInRound = group.phase === "joining" || group.phase === "syncing";
      if (isInRound) nextMs = Math.min(nextMs, group.roundDeadlineMs);
    }
    return Number.isFinite(nextMs) ? nextMs : undefined;
  }

  /** The leader took its whole time without assigning: the others go on without it. */
  #giveUpLeader(group: Group): void {
    const leader = group.members.get(group.leaderId);
    if (leader !== undefined) this.#remove(group, leader);
    else this.#startRound(group);
  }
}

function allHaveJoined(group: Group): boolean {
  if (group.members.size === 0) return false;
  for (const member of group.members.values()) if (member.join === undefined) return false;
  return true;
}
