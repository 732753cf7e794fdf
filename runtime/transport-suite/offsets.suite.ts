import { expect, test } from "vitest";
import { FencedError, UnstableOffsetsError } from "../errors.js";
import type { GroupMetadata } from "../transport.js";
import { batchOf, eventually, join, metadataOf, type SuiteLog, unique } from "./fixture.suite.js";

export function committedOffsetRules(log: SuiteLog): void {
  test("a partition without a committed offset has none", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const found = await log.transport.topics.committedOffsets(unique("group"), [at], { requireStable: true });
    expect(found).toEqual([{ ...at, offset: undefined, metadata: "" }]);
  });

  test("offsets and their metadata are visible after the commit, together with its records", async () => {
    const topic = await log.topic(2);
    const [p0, p1] = [
      { topic, partition: 0 },
      { topic, partition: 1 },
    ];
    const groupId = unique("group");
    const { group } = await log.joined(groupId);
    const producer = await log.initialized();
    producer.begin();
    await producer.produce([batchOf(p0, "a")]);
    await producer.sendOffsets(group, [
      { ...p0, offset: 5, metadata: "five" },
      { ...p1, offset: 6, metadata: "" },
    ]);
    await producer.commit();

    expect(await log.stableOffset(groupId, p0)).toEqual({ ...p0, offset: 5, metadata: "five" });
    expect(await log.stableOffset(groupId, p1)).toEqual({ ...p1, offset: 6, metadata: "" });
    await log.endsAt(p0, 2);
  });

  test("a transaction of offsets alone commits them", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const groupId = unique("group");
    const { group } = await log.joined(groupId);
    const producer = await log.initialized();
    for (const offset of [1, 2]) {
      producer.begin();
      await producer.sendOffsets(group, [{ ...at, offset, metadata: `${offset}` }]);
      await producer.commit();
      expect(await log.stableOffset(groupId, at)).toEqual({ ...at, offset, metadata: `${offset}` });
    }
    expect(await log.latest(at)).toBe(0);
  });

  test("the offsets of an aborted transaction never count", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const groupId = unique("group");
    const { group } = await log.joined(groupId);
    const producer = await log.initialized();
    producer.begin();
    await producer.sendOffsets(group, [{ ...at, offset: 9, metadata: "no" }]);
    await producer.abort();
    expect((await log.stableOffset(groupId, at))?.offset).toBeUndefined();
  });

  test("while a transaction that commits offsets is open, they are unstable; the old ones can still be read", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const groupId = unique("group");
    const { group } = await log.joined(groupId);
    const producer = await log.initialized();
    producer.begin();
    await producer.sendOffsets(group, [{ ...at, offset: 1, metadata: "" }]);
    const { topics } = await log.another();

    await expect(topics.committedOffsets(groupId, [at], { requireStable: true })).rejects.toThrow(UnstableOffsetsError);
    const [old] = await topics.committedOffsets(groupId, [at], { requireStable: false });
    expect(old?.offset).toBeUndefined();

    await producer.commit();
    expect((await log.stableOffset(groupId, at))?.offset).toBe(1);
  });

  test("metadata of 4,096 bytes is kept", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const groupId = unique("group");
    const { group } = await log.joined(groupId);
    const producer = await log.initialized();
    producer.begin();
    await producer.sendOffsets(group, [{ ...at, offset: 1, metadata: "m".repeat(4_096) }]);
    await producer.commit();
    expect((await log.stableOffset(groupId, at))?.metadata).toBe("m".repeat(4_096));
  });

  test("what a group has committed survives its last member", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const groupId = unique("group");
    const { member, group } = await log.joined(groupId);
    const producer = await log.initialized();
    producer.begin();
    await producer.sendOffsets(group, [{ ...at, offset: 3, metadata: "kept" }]);
    await producer.commit();
    expect((await log.stableOffset(groupId, at))?.offset).toBe(3);
    await member.leave();
    expect(await log.stableOffset(groupId, at)).toEqual({ ...at, offset: 3, metadata: "kept" });
  });
}

export function offsetFencingRules(log: SuiteLog): void {
  async function expectFenced(group: GroupMetadata): Promise<void> {
    const at = { topic: await log.topic(), partition: 0 };
    const producer = await log.initialized();
    producer.begin();
    await producer.produce([batchOf(at, "output")]);
    await expect(producer.sendOffsets(group, [{ ...at, offset: 1, metadata: "" }])).rejects.toThrow(FencedError);
    await producer.initialize(); // the safe path: settles what is open
    await log.endsAt(at, 2);
    expect(await log.read(at)).toEqual([]);
    expect((await log.stableOffset(group.groupId, at))?.offset).toBeUndefined();
  }

  test("offsets of an old generation are refused", async () => {
    const groupId = unique("group");
    const groupInstanceId = unique("instance");
    const { member, group: old } = await log.joined(groupId, groupInstanceId);
    const generation = await join(member, "changed"); // the leader joins again: a new round
    expect(generation.generationId).toBeGreaterThan(old.generationId);
    await expectFenced({ ...metadataOf(groupId, groupInstanceId, generation), generationId: old.generationId });
  });

  test("offsets of an unknown member are refused", async () => {
    const { group } = await log.joined(unique("group"));
    await expectFenced({ ...group, memberId: unique("nobody"), groupInstanceId: unique("instance") });
  });

  test("offsets for a group that nobody is in are refused", async () => {
    const group = { groupId: unique("group"), generationId: 1, memberId: "nobody", groupInstanceId: "nobody" };
    await expectFenced(group);
  });

  test("offsets of a member that has left are refused", async () => {
    const { member, group } = await log.joined(unique("group"));
    await member.leave();
    await expectFenced(group);
  });

  test("offsets of a static member that was replaced are refused, and it learns that it is fenced", async () => {
    const groupId = unique("group");
    const groupInstanceId = unique("instance");
    const { member, group } = await log.joined(groupId, groupInstanceId);
    const replacement = await log.joined(groupId, groupInstanceId, await log.another());
    expect(replacement.group.memberId).not.toBe(group.memberId);
    await expectFenced(group);
    await eventually("the old member is fenced", () => member.status === "fenced");
    expect(replacement.member.status).toBe("stable");
  });
}
