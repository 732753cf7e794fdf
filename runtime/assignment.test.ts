import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assignTasks, decodeAssignment, encodeReport } from "./assignment.js";

interface Member {
  readonly id: string;
  readonly open?: readonly string[];
  readonly onDisk?: readonly string[];
  /** Changelog offsets of what is on disk. */
  readonly positions?: Readonly<Record<string, number>>;
  /** Its state directory; by default one of its own. */
  readonly directory?: string;
  /** Its topology; by default that of the leader, "h". */
  readonly hash?: string;
  /** Hashes of its sub-topologies. */
  readonly subTopologies?: readonly string[];
}

const SUB_TOPOLOGIES = ["a", "b", "c"];

const work = (taskCounts: readonly number[], standbyReplicas = 0) => ({
  topologyHash: "h",
  subTopologies: SUB_TOPOLOGIES.slice(0, taskCounts.length),
  taskCounts,
  hasChangelogs: taskCounts.map(() => true),
  standbyReplicas,
});

async function assignments(taskCounts: readonly number[], members: readonly Member[], standbyReplicas = 0) {
  const reports = members.map(({ id, hash = "h", ...member }) => ({
    memberId: id,
    groupInstanceId: id,
    metadata: encodeReport({
      ...{ topologyHash: hash, subTopologies: SUB_TOPOLOGIES, transactionalId: `tx-${id}`, directory: id },
      ...{ open: [], onDisk: Object.keys(member.positions ?? {}), positions: {}, server: `http://${id}` },
      ...member,
    }),
  }));
  const assigned = await assignTasks(work(taskCounts, standbyReplicas))(reports);
  return [...assigned].map(([id, bytes]) => ({ id, ...decodeAssignment(bytes) }));
}

async function assign(
  taskCounts: readonly number[],
  members: readonly Member[],
): Promise<Record<string, readonly string[]>> {
  return Object.fromEntries((await assignments(taskCounts, members)).map(({ id, active }) => [id, active]));
}

/** The standbys of each member. */
async function standbys(
  taskCounts: readonly number[],
  members: readonly Member[],
  replicas: number,
): Promise<Record<string, readonly string[]>> {
  const assigned = await assignments(taskCounts, members, replicas);
  return Object.fromEntries(assigned.map(({ id, standby }) => [id, standby]));
}

describe("assignTasks", () => {
  test("a task stays where it is open when a member joins", async () => {
    const assigned = await assign([4], [{ id: "a", open: ["0_0", "0_1", "0_2", "0_3"] }, { id: "b" }]);
    expect(assigned).toEqual({ a: ["0_0", "0_1"], b: ["0_2", "0_3"] });
  });

  test("a task goes to where its state lies when nobody has it open", async () => {
    const assigned = await assign(
      [2],
      [
        { id: "a", onDisk: ["0_1"] },
        { id: "b", onDisk: ["0_0", "0_1"] },
      ],
    );
    expect(assigned).toEqual({ a: ["0_1"], b: ["0_0"] });
  });

  test("a task that has lost its owner goes to the one with most of its state", async () => {
    const members = [
      { id: "a", positions: { "0_0": 900, "0_1": 20 } },
      { id: "b", positions: { "0_0": 100, "0_1": 800 } },
    ];
    expect(await assign([2], members)).toEqual({ a: ["0_0"], b: ["0_1"] });
  });

  describe("standbys", () => {
    test("each task has so many copies, on members that do not run it", async () => {
      const members = [{ id: "a" }, { id: "b" }, { id: "c" }];
      for (const { id, active, standby } of await assignments([3], members, 2)) {
        expect([...active, ...standby].sort(), id).toEqual(["0_0", "0_1", "0_2"]);
      }
    });

    test("what one owner leaves behind is spread over the others", async () => {
      const open = ["0_0", "0_1", "0_2", "0_3"];
      const members = [{ id: "a", open }, { id: "b", open: ["0_4", "0_5", "0_6", "0_7"] }, { id: "c" }];
      const assigned = await assignments([12], members, 1);
      const copiesOf = (tasks: readonly string[]) =>
        assigned.map(({ standby }) => standby.filter((task) => tasks.includes(task)).length).sort();
      for (const { active } of assigned) expect(copiesOf(active)).toEqual([0, 2, 2]);
    });

    test("a copy stays where most of the state lies", async () => {
      const members = [
        { id: "a", open: ["0_0"] },
        { id: "b", open: ["0_1"], positions: { "0_2": 5 } },
        { id: "c", open: ["0_2"], positions: { "0_0": 9, "0_1": 7 } },
      ];
      expect(await standbys([3], members, 1)).toEqual({ a: ["0_1"], b: ["0_2"], c: ["0_0"] });
    });

    test("no copy in the state directory of its task: two threads of one instance are no second machine", async () => {
      const members = [
        { id: "a1", directory: "a" },
        { id: "a2", directory: "a" },
      ];
      expect(await standbys([4], members, 1)).toEqual({ a1: [], a2: [] });
      const two = [...members, { id: "b1", directory: "b" }];
      const assigned = await assignments([6], two, 2);
      expect(assigned.map(({ standby }) => standby.length).reduce((sum, count) => sum + count)).toBe(6);
    });

    test("none for a task without a changelog, and none when nobody else is there", async () => {
      expect(await standbys([2], [{ id: "a" }], 3)).toEqual({ a: [] });
      const report = { topologyHash: "h", subTopologies: ["a"], transactionalId: "tx", open: [], onDisk: [] };
      const members = ["a", "b"].map((id) => ({
        ...{ memberId: id, groupInstanceId: id },
        metadata: encodeReport({ ...report, positions: {}, directory: id, server: "" }),
      }));
      const assigned = await assignTasks({ ...work([2], 1), hasChangelogs: [false] })(members);
      expect([...assigned.values()].flatMap((bytes) => decodeAssignment(bytes).standby)).toEqual([]);
    });
  });

  describe("in a group of two topologies", () => {
    test("tasks that one member does not know wait, and nobody runs them", async () => {
      const other = { id: "b", hash: "other", subTopologies: ["a", "z"] };
      expect(await assign([2, 2], [{ id: "a" }, other])).toEqual({ a: ["0_0"], b: ["0_1"] });
      expect(await assign([2], [{ id: "a" }, { ...other, subTopologies: ["z"] }])).toEqual({ a: [], b: [] });
    });

    test("a member gets, and reports, the tasks under its own numbers", async () => {
      const shifted = { id: "b", hash: "other", subTopologies: ["new", "b", "a"], open: ["2_1", "1_0", "0_0"] };
      const assigned = await assign([2, 2], [{ id: "a" }, shifted]);
      expect(assigned).toEqual({ a: ["0_0", "1_1"], b: ["2_1", "1_0"] });
    });

    test("each member is told its own topology, and how many tasks wait", async () => {
      const report = { transactionalId: "tx", open: [], onDisk: [], positions: {}, directory: "d", server: "" };
      const members = [
        { memberId: "a", metadata: encodeReport({ ...report, topologyHash: "h", subTopologies: ["a", "b"] }) },
        { memberId: "b", metadata: encodeReport({ ...report, topologyHash: "other", subTopologies: ["b"] }) },
      ].map((member) => ({ ...member, groupInstanceId: member.memberId }));
      const assigned = await assignTasks(work([3, 1]))(members);
      const decoded = [...assigned.values()].map(decodeAssignment);
      expect(decoded.map(({ topologyHash, waiting }) => ({ topologyHash, waiting }))).toEqual([
        { topologyHash: "h", waiting: 3 },
        { topologyHash: "other", waiting: 3 },
      ]);
    });
  });

  test("tasks of one sub-topology spread over the members", async () => {
    const assigned = await assign([2, 2], [{ id: "a" }, { id: "b" }]);
    expect(Object.values(assigned).map((tasks) => tasks.map((task) => task[0]).sort())).toEqual([
      ["0", "1"],
      ["0", "1"],
    ]);
  });

  test("every member learns who commits in this generation", async () => {
    const report = encodeReport({
      topologyHash: "h",
      subTopologies: ["a"],
      transactionalId: "tx-a",
      open: [],
      onDisk: [],
      server: "",
      positions: {},
      directory: "d",
    });
    const assigned = await assignTasks(work([1]))([{ memberId: "a", groupInstanceId: "a", metadata: report }]);
    expect([...assigned.values()].map((bytes) => decodeAssignment(bytes).owners)).toEqual([["tx-a"]]);
  });

  test("metadata of another application is an error that says so", async () => {
    const foreign = [{ memberId: "a", groupInstanceId: "a", metadata: Buffer.from("\u0000\u0001range") }];
    await expect(async () => assignTasks(work([1]))(foreign)).rejects.toThrow(
      "another kind of application uses this group",
    );
  });

  test("every task has one owner, loads differ by one at most, and a second round moves nothing", async () => {
    const counts = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 });
    const task = fc
      .tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 12 }))
      .map(([sub, partition]) => `${sub}_${partition}`);
    const member = fc.record({
      open: fc.uniqueArray(task, { maxLength: 8 }),
      onDisk: fc.uniqueArray(task, { maxLength: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(counts, fc.array(member, { minLength: 1, maxLength: 5 }), async (taskCounts, states) => {
        const members = states.map((state, at) => ({ id: `m${at}`, ...state }));
        const first = await assign(taskCounts, members);
        const all = Object.values(first).flat();
        const wanted = taskCounts.flatMap((count, sub) =>
          Array.from({ length: count }, (_, partition) => `${sub}_${partition}`),
        );
        expect([...all].sort()).toEqual([...wanted].sort());
        const loads = Object.values(first).map((tasks) => tasks.length);
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
        const second = await assign(
          taskCounts,
          members.map(({ id }) => ({ id, open: first[id] ?? [] })),
        );
        expect(Object.values(second).map((tasks) => [...tasks].sort())).toEqual(
          Object.values(first).map((tasks) => [...tasks].sort()),
        );
      }),
      { numRuns: 200 },
    );
  });
});
