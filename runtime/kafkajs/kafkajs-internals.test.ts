import { expect, test } from "vitest";
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  kafkaJsRequest,
  selfCheck,
} from "./kafkajs-internals.js";

test("the installed KafkaJS is the one that was tried", async () => {
  await expect(selfCheck()).resolves.toBeUndefined();
});

test("a join carries the group instance id, which KafkaJS's own consumer never does", async () => {
  const request = kafkaJsRequest("JoinGroup", {
    groupId: "group",
    sessionTimeout: 1,
    rebalanceTimeout: 2,
    memberId: "member",
    groupInstanceId: "instance",
    protocolType: "consumer",
    groupProtocols: [{ name: "millrace", metadata: encodeSubscription(["topic"], Buffer.from("user data")) }],
  });
  const bytes = Buffer.concat(await request.encode());
  for (const part of ["instance", "member", "millrace", "topic", "user data"]) expect(bytes.includes(part)).toBe(true);
  expect(request.apiVersion).toBe(5);
});

test("subscriptions and assignments give their bytes back", () => {
  const bytes = new Uint8Array([0, 1, 255]);
  expect([...decodeSubscription(encodeSubscription(["a", "b"], bytes))]).toEqual([0, 1, 255]);
  expect([...decodeAssignment(encodeAssignment(bytes))]).toEqual([0, 1, 255]);
});
