import { afterEach, beforeEach, expect, test } from "vitest";
import { LogProbe } from "../testing/log-probe.suite.js";
import { encodeCommitMetadata } from "./commit-metadata.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { settleOrphans, stableOffsets } from "./stable-offsets.js";
import type { GroupMetadata, TransactionalProducer } from "./transport.js";

const IN = { topic: "in", partition: 0 };
const OWNER = "app-of-the-dead-1";

let log: EmbeddedLog;
let transport: EmbeddedTransport;

beforeEach(async () => {
  log = new EmbeddedLog({ file: ":memory:" });
  transport = new EmbeddedTransport({ log });
  await transport.connect();
  await new LogProbe(transport).createTopic("in", 1);
});

afterEach(async () => {
  await transport.close();
  log.close();
});

/** Commits offset 1 as an instance does, then begins to commit offset 2 and never ends: as one that was killed. */
async function dieWhileCommitting(): Promise<TransactionalProducer> {
  const member = transport.openGroupMember({
    groupId: "app",
    groupInstanceId: "dead",
    sessionTimeoutMs: 60_000,
    rebalanceTimeoutMs: 60_000,
    heartbeatIntervalMs: 1_000,
  });
  const { generationId, memberId } = await member.join({
    topics: ["in"],
    metadata: new Uint8Array(),
    assign: (members) => new Map(members.map((one) => [one.memberId, new Uint8Array()])),
  });
  const group: GroupMetadata = { groupId: "app", generationId, memberId, groupInstanceId: "dead" };
  const producer = transport.openTransactionalProducer({ transactionalId: OWNER, transactionTimeoutMs: 60_000 });
  await producer.initialize();
  for (const offset of [1, 2]) {
    const metadata = encodeCommitMetadata({ commitNumber: offset, owner: OWNER, clocks: {} });
    producer.begin();
    await producer.sendOffsets(group, [{ ...IN, offset, metadata }]);
    if (offset === 1) await producer.commit();
  }
  return producer;
}

test("a transaction of an owner who is gone is ended at once, not at its timeout of a minute", async () => {
  await dieWhileCommitting();
  const beganMs = performance.now();
  const committed = await stableOffsets(transport.topics, "app", [IN], {
    settleOrphans: async () => {
      expect(await settleOrphans(transport, "app", [IN], new Set(["app-alive-1"]))).toEqual([OWNER]);
    },
  });
  expect(committed).toMatchObject([{ offset: 1 }]);
  expect(performance.now() - beganMs).toBeLessThan(5_000);
});

test("the transaction of a living owner is left alone: it is waited for", async () => {
  const producer = await dieWhileCommitting();
  expect(await settleOrphans(transport, "app", [IN], new Set([OWNER]))).toEqual([]);
  const waiting = stableOffsets(transport.topics, "app", [IN]);
  await producer.commit();
  expect(await waiting).toMatchObject([{ offset: 2 }]);
});
