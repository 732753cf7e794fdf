import { hostname } from "node:os";
import type { StateFiles } from "../stores/state-files.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { hashOfSubTopology } from "../topology/sub-topologies.js";
import { assignTasks, decodeAssignment, encodeReport, type MemberAssignment, type MemberReport } from "./assignment.js";
import type { ResolvedConfig } from "./config.js";
import { FatalError, FencedError } from "./errors.js";
import { sourceTopics } from "./internal-topics.js";
import type { Layout } from "./local-state.js";
import { formatTaskId } from "./task.js";
import type { TaskSet } from "./task-set.js";
import type { GroupMember, GroupMetadata, MembershipStatus } from "./transport.js";

/** One old assignment is what a change of the topology brings; more mean that somebody else has this instance id. */
const JOINS_MAX = 3;

export interface MembershipOptions {
  readonly topology: ProcessorTopology;
  readonly config: ResolvedConfig;
  readonly files: StateFiles;
  readonly groupInstanceId: string;
  readonly transactionalId: string;
}

export interface JoinedGeneration {
  readonly generationId: number;
  readonly assignment: MemberAssignment;
}

/** This session's place in the group: tells the leader what is here, and is told which tasks to run. */
export class Membership {
  readonly #options: MembershipOptions;
  readonly #member: GroupMember;
  #group: GroupMetadata | undefined;
  #layout: Layout | undefined;

  constructor(options: MembershipOptions) {
    const { config, groupInstanceId } = options;
    this.#options = options;
    this.#member = config.transport.openGroupMember({
      groupId: config.applicationId,
      groupInstanceId,
      sessionTimeoutMs: config.sessionTimeoutMs,
      rebalanceTimeoutMs: Math.max(config.sessionTimeoutMs, 60_000),
      heartbeatIntervalMs: Math.min(3_000, Math.floor(config.sessionTimeoutMs / 3)),
    });
  }

  get status(): MembershipStatus {
    return this.#member.status;
  }

  /** What commits go with (protocol 8); undefined before the first join. */
  get group(): GroupMetadata | undefined {
    return this.#group;
  }

  /** How wide everything is and who has what, as of the last join. */
  get layout(): Layout | undefined {
    return this.#layout;
  }

  /** Resolves when this generation is over. */
  changed(): Promise<void> {
    return this.#member.changed();
  }

  /**
   * Joins, or joins again. A static member that comes back with another topology gets its old assignment, until it really
   * leaves (protocol 12). `taskCounts`: by sub-topology.
   */
  async join(tasks: TaskSet, taskCounts: readonly number[]): Promise<JoinedGeneration> {
    const { topology, config, files, groupInstanceId, transactionalId } = this.#options;
    const subTopologies = topology.subTopologies.map(hashOfSubTopology);
    const hasChangelogs = topology.subTopologies.map(({ stores }) => stores.some(({ changelog }) => changelog));
    const { standbyReplicas } = config;
    const work = { topologyHash: topology.hash, subTopologies, taskCounts, hasChangelogs, standbyReplicas };
    for (let joins = 0; joins < JOINS_MAX; joins++) {
      const metadata = encodeReport({
        topologyHash: topology.hash,
        subTopologies,
        transactionalId,
        open: tasks.all.map(({ id }) => id),
        ...this.#onDisk(taskCounts),
        directory: files.identity,
        server: config.applicationServer ?? "",
      });
      const request = { topics: sourceTopics(topology), metadata, assign: assignTasks(work) };
      const { generationId, memberId, assignment } = await this.#member.join(request).catch(async (error: unknown) => {
        throw this.#member.status === "fenced" ? await this.instanceFenced(error) : error;
      });
      this.#group = { groupId: config.applicationId, generationId, memberId, groupInstanceId };
      const decoded = decodeAssignment(assignment);
      if (decoded.topologyHash === topology.hash) {
        this.#layout = { taskCounts, hosts: decoded.hosts };
        return { generationId, assignment: decoded };
      }
      tasks.closeAll();
      await this.#member.leave();
      config.logger.info({ memberId }, "the assignment is for another topology of this instance; joining anew");
    }
    throw new FencedError(`${JOINS_MAX} assignments in a row were for another topology than this instance's`);
  }

  /** @throws FatalError or FencedError when what was processed in this generation must not be committed any more */
  async assertMember(): Promise<void> {
    const { status } = this.#member;
    if (status === "fenced") throw await this.instanceFenced();
    if (status === "lost" || status === "unavailable") {
      throw new FencedError(
        `the session in group "${this.#options.config.applicationId}" is over (${status}): its partitions may belong to others already`,
      );
    }
  }

  /** Names both: whoever reads it has to find the other one. */
  async instanceFenced(cause?: unknown): Promise<FatalError> {
    const { config, groupInstanceId } = this.#options;
    const own = this.#group?.memberId ?? "not in it yet";
    const rival = (await this.#member.rival()) ?? "one that has left it already";
    return new FatalError(
      "INSTANCE_FENCED",
      `two processes have the group instance id "${groupInstanceId}" in group "${config.applicationId}": ` +
        `this one, member ${own} on ${hostname()} (process ${process.pid}), was replaced by member ${rival}; ` +
        "stop one of the two, or give each its own state directory or GROUP_INSTANCE_ID",
      { cause },
    );
  }

  async leave(): Promise<void> {
    await this.#member.leave();
  }

  async close(): Promise<void> {
    await this.#member.close();
  }

  #onDisk(taskCounts: readonly number[]): Pick<MemberReport, "onDisk" | "positions"> {
    const { topology, files } = this.#options;
    const positions: Record<string, number> = {};
    for (const { id, stores } of topology.subTopologies) {
      for (let partition = 0; partition < (taskCounts[id] ?? 0); partition++) {
        if (!files.has(stores, partition)) continue;
        const offsets = Object.values(files.changelogOffsets(stores, partition));
        positions[formatTaskId({ subTopology: id, partition })] = offsets.reduce((sum, offset) => sum + offset, 0);
      }
    }
    return { onDisk: Object.keys(positions), positions };
  }
}
