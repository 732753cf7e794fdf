import { StreamsError } from "../topology/errors.js";
import { formatTaskId, parseTaskId } from "./task.js";
import type { Assign, GroupMemberMetadata } from "./transport.js";

/** What a member tells the leader when it joins. */
export interface MemberReport {
  readonly topologyHash: string;
  /** Hashes of its sub-topologies, by number: members of two topologies know by them which tasks they share. */
  readonly subTopologies: readonly string[];
  /** What it commits as: a transaction of an id that no member reports was left by somebody who died (protocol 13). */
  readonly transactionalId: string;
  /** Tasks that are open here: moving them costs a restore. */
  readonly open: readonly string[];
  /** Tasks whose state lies in the directory here, standbys included: cheaper than starting from nothing. */
  readonly onDisk: readonly string[];
  /** Where it can be asked for rows; "" where it does not say. */
  readonly server: string;
  /** Of those, how far: the sum of their changelog offsets. The one with most needs the shortest restore. */
  readonly positions: Readonly<Record<string, number>>;
  /** The state directory: members of one process share it, and a copy there would be none. */
  readonly directory: string;
}

/** What the leader tells a member. */
export interface MemberAssignment {
  /** The member's own. Another one stands in an assignment that was made for its predecessor. */
  readonly topologyHash: string;
  readonly active: readonly string[];
  /** Tasks of others whose state it keeps a copy of. */
  readonly standby: readonly string[];
  /** The transactional ids of all members. */
  readonly owners: readonly string[];
  /** How many tasks nobody runs, because not every member knows them. */
  readonly waiting: number;
  /** Who has which tasks, of those that say where they can be asked; the tasks under the numbers that the member has for them. */
  readonly hosts: readonly AssignedHost[];
}

export interface AssignedHost {
  readonly server: string;
  readonly tasks: readonly string[];
}

/** What the leader knows of the work: its own topology, and how wide each sub-topology is. */
export interface Work {
  readonly topologyHash: string;
  readonly subTopologies: readonly string[];
  readonly taskCounts: readonly number[];
  /** By sub-topology: whether it has stores with a changelog, which a standby can follow. */
  readonly hasChangelogs: readonly boolean[];
  /** Copies of each such task on other instances. */
  readonly standbyReplicas: number;
}

const VERSION = 1;

export function encodeReport(report: MemberReport): Uint8Array {
  return Buffer.from(JSON.stringify({ version: VERSION, ...report }), "utf8");
}

export function encodeAssignment(assignment: MemberAssignment): Uint8Array {
  return Buffer.from(JSON.stringify({ version: VERSION, ...assignment }), "utf8");
}

export function decodeAssignment(bytes: Uint8Array): MemberAssignment {
  const assignment = decode(bytes, "assignment") as Partial<MemberAssignment>;
  const { topologyHash, active, standby, owners, waiting, hosts } = assignment;
  return {
    topologyHash: topologyHash ?? "",
    active: active ?? [],
    standby: standby ?? [],
    owners: owners ?? [],
    waiting: waiting ?? 0,
    hosts: hosts ?? [],
  };
}

function decodeReport(member: GroupMemberMetadata): MemberReport {
  const report = decode(member.metadata, `metadata of member ${member.memberId}`) as Partial<MemberReport>;
  const { topologyHash, subTopologies, transactionalId, open, onDisk, server, positions, directory } = report;
  return {
    topologyHash: topologyHash ?? "",
    subTopologies: subTopologies ?? [],
    transactionalId: transactionalId ?? "",
    open: open ?? [],
    onDisk: onDisk ?? [],
    server: server ?? "",
    positions: positions ?? {},
    directory: directory ?? member.memberId,
  };
}

function decode(bytes: Uint8Array, what: string): unknown {
  try {
    const value = JSON.parse(Buffer.from(bytes).toString("utf8")) as { readonly version?: number };
    if (value.version === VERSION) return value;
  } catch (cause) {
    throw new StreamsError(
      "FOREIGN_MEMBER",
      `the ${what} is not ours: another kind of application uses this group; give this one an application id of its own`,
      { cause },
    );
  }
  throw new StreamsError(
    "FOREIGN_MEMBER",
    `the ${what} has a version this release does not read; run one release in a group`,
  );
}

interface Candidate {
  readonly memberId: string;
  readonly report: MemberReport;
  readonly tasks: string[];
  readonly standbys: string[];
}

/**
 * Sticky and balanced: every task to one member, no member with more than one task above another, and a task stays where
 * it is open, else goes where most of its state lies, as far as balance allows; so a task that has lost its owner goes to
 * its standby. Then standbys, each in another state directory than the task and its other copies, where most of its state
 * lies, as far as balance allows. The same input gives the same output, whoever leads.
 *
 * While an application goes from one topology to another its group has both (protocol 12). Then only the tasks that every
 * member knows are given out, each under the number that the member has for it: a task that one of them would run in
 * another way waits until all are of one topology.
 */
export function assignTasks(work: Work): Assign {
  const { topologyHash, subTopologies, taskCounts, hasChangelogs, standbyReplicas } = work;
  return (members) => {
    const all = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
    const candidates = all.map((member): Candidate => {
      const report = decodeReport(member);
      const translated = {
        open: renumber(report.open, report, subTopologies),
        onDisk: renumber(report.onDisk, report, subTopologies),
        positions: Object.fromEntries(
          Object.entries(report.positions).flatMap(([task, position]) =>
            renumber([task], report, subTopologies).map((own) => [own, position]),
          ),
        ),
      };
      return { memberId: member.memberId, report: { ...report, ...translated }, tasks: [], standbys: [] };
    });
    const isShared = (hash: string | undefined): boolean =>
      candidates.every(
        ({ report }) => report.topologyHash === topologyHash || report.subTopologies.includes(hash ?? ""),
      );
    const tasks = taskCounts.flatMap((count, subTopology) =>
      Array.from({ length: count }, (_, partition) => ({ subTopology, partition })),
    );
    const shared = tasks.filter(({ subTopology }) => isShared(subTopologies[subTopology]));
    distribute(shared.map(formatTaskId), candidates);
    const withChangelogs = shared.filter(({ subTopology }) => hasChangelogs[subTopology] === true);
    distributeStandbys(withChangelogs.map(formatTaskId), candidates, standbyReplicas);
    const owners = candidates.map(({ report }) => report.transactionalId);
    const waiting = tasks.length - shared.length;
    return new Map(
      candidates.map(({ memberId, report, tasks: mine, standbys }) => {
        const numbered = (given: readonly string[]): string[] =>
          renumber(given, { subTopologies }, report.subTopologies);
        const hosts = candidates
          .filter((other) => other.report.server !== "")
          .map((other) => ({ server: other.report.server, tasks: numbered(other.tasks) }));
        const own = { topologyHash: report.topologyHash, active: numbered(mine), standby: numbered(standbys) };
        return [memberId, encodeAssignment({ ...own, owners, waiting, hosts })];
      }),
    );
  };
}

/** The same tasks under the numbers of another topology; those that it does not have are left out. */
function renumber(
  tasks: readonly string[],
  from: { readonly subTopologies: readonly string[] },
  to: readonly string[],
): string[] {
  return tasks.flatMap((task) => {
    const { subTopology, partition } = parseTaskId(task);
    const hash = from.subTopologies[subTopology];
    const number = hash === undefined ? -1 : to.indexOf(hash);
    return number === -1 ? [] : [formatTaskId({ subTopology: number, partition })];
  });
}

function distribute(tasks: readonly string[], members: readonly Candidate[]): void {
  if (members.length === 0) return;
  const left = new Set(tasks);
  const floor = Math.floor(tasks.length / members.length);
  // So many members may have one task more than the floor.
  let above = tasks.length % members.length;
  const take = (member: Candidate, task: string): void => {
    if (!left.has(task)) return;
    if (member.tasks.length >= floor) {
      if (member.tasks.length > floor || above === 0) return;
      above--;
    }
    left.delete(task);
    member.tasks.push(task);
  };
  for (const member of members) for (const task of member.report.open) take(member, task);
  const warm = members.flatMap((member) => member.report.onDisk.map((task) => ({ member, task })));
  warm.sort((a, b) => positionOf(b.member, b.task) - positionOf(a.member, a.task));
  for (const { member, task } of warm) take(member, task);
  for (const task of [...left]) {
    const leastLoaded = members.reduce((least, member) => (load(member, task) < load(least, task) ? member : least));
    left.delete(task);
    leastLoaded.tasks.push(task);
  }
}

/** Fewest tasks first; among equals the one with fewest of the same sub-topology, so that one kind of work does not gather. */
function load(member: Candidate, task: string): number {
  const kind = `${task.split("_")[0]}_`;
  return member.tasks.length * 10_000 + member.tasks.filter((other) => other.startsWith(kind)).length;
}

/** Changelog offsets: more of them is less to restore. */
function positionOf({ report }: Candidate, task: string): number {
  return report.positions[task] ?? 0;
}

function distributeStandbys(tasks: readonly string[], members: readonly Candidate[], replicas: number): void {
  const share = Math.ceil((tasks.length * replicas) / Math.max(members.length, 1));
  const owners = new Map(members.flatMap((member) => member.tasks.map((task) => [task, member] as const)));
  const taken = new Map(tasks.map((task) => [task, new Set([owners.get(task)?.report.directory])]));
  for (let copy = 0; copy < replicas; copy++) {
    for (const task of tasks) {
      const directories = taken.get(task);
      const free = members.filter(({ report }) => directories?.has(report.directory) === false);
      const [best] = free.sort((a, b) => compareStandbys(a, b, task, share, owners));
      best?.standbys.push(task);
      directories?.add(best?.report.directory);
    }
  }
}

/** Who has room; then who has most of the state; then so that what one owner leaves behind is spread over the others. */
function compareStandbys(
  a: Candidate,
  b: Candidate,
  task: string,
  share: number,
  owners: ReadonlyMap<string, Candidate>,
): number {
  const isFull = ({ standbys }: Candidate): number => (standbys.length >= share ? 1 : 0);
  const ofOwner = ({ standbys }: Candidate): number =>
    standbys.filter((other) => owners.get(other) === owners.get(task)).length;
  return (
    isFull(a) - isFull(b) ||
    positionOf(b, task) - positionOf(a, task) ||
    ofOwner(a) - ofOwner(b) ||
    a.standbys.length - b.standbys.length
  );
}
