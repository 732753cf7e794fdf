import { expect, test } from "vitest";
import type { Generation, GroupMember } from "../transport.js";
import { eventually, join, type SuiteLog, text, unique, within } from "./fixture.suite.js";

export function groupRules(log: SuiteLog): void {
  test("a member alone gets what it assigns to itself", async () => {
    const member = log.member(unique("group"), { groupInstanceId: "i-1" });
    const generation = await join(member, "meta");
    expect(text(generation.assignment)).toBe("i-1 of i-1:meta");
    expect(member.status).toBe("stable");
  });

  test("a second member makes the first join again, and both get what the leader assigns", async () => {
    const groupId = unique("group");
    const first = log.member(groupId, { groupInstanceId: "i-1" });
    const alone = await join(first, "a");

    const second = log.member(groupId, { groupInstanceId: "i-2", transport: await log.another() });
    const { theirs, ours } = await joinBoth(first, second);

    expect(text(ours.assignment)).toBe("i-1 of i-1:a2,i-2:b");
    expect(text(theirs.assignment)).toBe("i-2 of i-1:a2,i-2:b");
    expect(ours.generationId).toBe(theirs.generationId);
    expect(ours.generationId).toBeGreaterThan(alone.generationId);
    expect([first.status, second.status]).toEqual(["stable", "stable"]);
  });

  /** The second joins, the first notices and joins again. */
  async function joinBoth(first: GroupMember, second: GroupMember): Promise<{ ours: Generation; theirs: Generation }> {
    const joining = join(second, "b");
    await within("the first member hears of the second", first.changed());
    expect(first.status).toBe("rebalancing");
    const [ours, theirs] = await Promise.all([join(first, "a2"), joining]);
    return { ours, theirs };
  }

  test("when a member leaves, the others join again without it", async () => {
    const groupId = unique("group");
    const first = log.member(groupId, { groupInstanceId: "i-1" });
    await join(first, "a");
    const second = log.member(groupId, { groupInstanceId: "i-2", transport: await log.another() });
    await joinBoth(first, second);

    await second.leave();
    await within("the first member hears that the second left", first.changed());
    expect(first.status).toBe("rebalancing");
    expect(text((await join(first, "a3")).assignment)).toBe("i-1 of i-1:a3");
  });

  test("a static member that stopped and will not come back can be removed: the others join again without it", async () => {
    const groupId = unique("group");
    const first = log.member(groupId, { groupInstanceId: "i-1" });
    await join(first, "a");
    const second = log.member(groupId, { groupInstanceId: "i-2", transport: await log.another() });
    await joinBoth(first, second);

    await second.close();
    await log.transport.topics.removeMembers(groupId, ["i-2", "never-there"]);
    await within("the first member hears that the second is gone", first.changed());
    expect(first.status).toBe("rebalancing");
    expect(text((await join(first, "a3")).assignment)).toBe("i-1 of i-1:a3");
    await log.transport.topics.removeMembers(unique("group"), ["never-there"]);
  });

  test("a group with members cannot be deleted, one that all have left can, and one that never was is no error", async () => {
    const groupId = unique("group");
    const { topics } = log.transport;
    expect(await topics.members(groupId)).toEqual([]);
    const member = log.member(groupId, { groupInstanceId: "i-1" });
    await join(member, "a");
    expect(await topics.members(groupId)).toEqual([expect.stringContaining("i-1")]);
    await expect(topics.deleteGroup(groupId)).rejects.toMatchObject({ code: "GROUP_NOT_EMPTY" });
    await member.leave();
    await topics.deleteGroup(groupId);
    expect(await topics.members(groupId)).toEqual([]);
    await topics.deleteGroup(unique("group"));
  });

  test("an assign function may be asynchronous, and members it gives nothing get an empty assignment", async () => {
    const member = log.member(unique("group"));
    const generation = await within(
      "the member joins",
      member.join({ topics: [], metadata: Buffer.alloc(0), assign: async () => new Map() }),
    );
    expect(generation.assignment.length).toBe(0);
  });

  test("a static member that was closed and comes back has its assignment at once, and nobody else joins again", async () => {
    const groupId = unique("group");
    const first = log.member(groupId, { groupInstanceId: "i-1" });
    await join(first, "a");
    const transport = await log.another();
    const second = log.member(groupId, { groupInstanceId: "i-2", transport });
    const { theirs } = await joinBoth(first, second);

    await second.close();
    const back = log.member(groupId, { groupInstanceId: "i-2", transport });
    const again = await join(back, "b");

    expect(text(again.assignment)).toBe(text(theirs.assignment));
    expect(again.generationId).toBe(theirs.generationId);
    expect(again.memberId).not.toBe(theirs.memberId);
    expect([first.status, back.status]).toEqual(["stable", "stable"]);
  });

  test("a leader that was closed and comes back has its assignment at once as well", async () => {
    const groupId = unique("group");
    const member = log.member(groupId, { groupInstanceId: "i-1" });
    const before = await join(member, "a");
    await member.close();
    const again = await join(log.member(groupId, { groupInstanceId: "i-1" }), "a");
    expect(text(again.assignment)).toBe(text(before.assignment));
    expect(again.generationId).toBe(before.generationId);
  });

  test("a session that ends without a heartbeat is lost, and joining again makes a new one", async () => {
    const groupId = unique("group");
    const member = log.member(groupId, {
      groupInstanceId: "i-1",
      heartbeatIntervalMs: log.sessionTimeoutMs * 1.5,
    });
    const before = await join(member, "a");
    await within("the member hears of it", member.changed());
    expect(member.status).toBe("lost");

    const again = await join(member, "a");
    expect(text(again.assignment)).toBe("i-1 of i-1:a");
    expect(again.memberId).not.toBe(before.memberId);
    expect(again.generationId).toBeGreaterThan(before.generationId);
    expect(member.status).toBe("stable");
  });

  test("the partitions of a member that stopped without leaving go to the others when its session ends", async () => {
    const groupId = unique("group");
    const first = log.member(groupId, { groupInstanceId: "i-1" });
    await join(first, "a");
    const second = log.member(groupId, { groupInstanceId: "i-2", transport: await log.another() });
    await joinBoth(first, second);

    await second.close();
    await within("the session of the second member ends", first.changed());
    expect(first.status).toBe("rebalancing");
    expect(text((await join(first, "a")).assignment)).toBe("i-1 of i-1:a");
  });

  test("a member that has left can join again", async () => {
    const groupId = unique("group");
    const member = log.member(groupId, { groupInstanceId: "i-1" });
    await join(member, "a");
    await member.leave();
    expect(text((await join(member, "b")).assignment)).toBe("i-1 of i-1:b");
    await eventually("it is stable", () => member.status === "stable");
  });
}
