import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { AssignerProtocol, Kafka, logLevel } from "kafkajs";
import { expect, inject, test } from "vitest";
import { eventually } from "../../testing/log-probe.suite.js";
import { UnavailableError } from "../errors.js";
import { silentLogger } from "../logger.js";
import type { GroupMember } from "../transport.js";
import { transportSuite } from "../transport.suite.js";
import { KafkaJsTransport } from "./transport.js";

async function connected(): Promise<KafkaJsTransport> {
  const transport = new KafkaJsTransport({ client: { brokers: [...inject("kafkaBrokers")] }, logger: silentLogger });
  await transport.connect();
  return transport;
}

transportSuite("the KafkaJS transport", async () => {
  const transport = await connected();
  return { transport, another: connected, close: () => transport.close() };
});

function memberOf(transport: KafkaJsTransport, groupId: string, groupInstanceId: string) {
  const times = { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 30_000, heartbeatIntervalMs: 1_000 };
  return transport.openGroupMember({ groupId, groupInstanceId, ...times });
}

test("closing ends what is waiting: a fetch returns, a join fails, at once", async () => {
  const transport = await connected();
  const topic = `closing-${randomUUID()}`;
  await transport.topics.create([{ topic, partitions: 1, replicationFactor: -1, configs: {} }]);
  const groupId = randomUUID();
  const assign = () => new Map<string, Uint8Array>();
  const first = memberOf(transport, groupId, "first");
  await first.join({ topics: [topic], metadata: new Uint8Array(), assign });
  // It waits for the first one, who does not join again.
  const joining = memberOf(transport, groupId, "second").join({ topics: [topic], metadata: new Uint8Array(), assign });
  const failure = expect(joining).rejects.toThrow(UnavailableError);
  const positions = [{ topic, partition: 0, offset: 0 }];
  const fetcher = transport.openFetcher({ readCommitted: true, name: "closing" });
  const fetching = fetcher.fetch({ positions, maxWaitMs: 20_000, bytesMax: 1_000, partitionBytesMax: 1_000 });
  await first.changed();

  const startMs = performance.now();
  await transport.close();
  await failure;
  await fetching;
  expect(performance.now() - startMs).toBeLessThan(1_000);
  await expect(fetcher.fetch({ positions, maxWaitMs: 1, bytesMax: 1, partitionBytesMax: 1 })).rejects.toThrow(
    UnavailableError,
  );
  const after = await connected();
  await after.topics.delete([topic]);
  await after.close();
});

test("a member that joined alone hears at once of another that starts beside it, long before its heartbeats are due", async () => {
  const transport = await connected();
  const groupId = randomUUID();
  const times = { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 30_000, heartbeatIntervalMs: 10_000 };
  const [first, second] = ["first", "second"].map((groupInstanceId) =>
    transport.openGroupMember({ groupId, groupInstanceId, ...times }),
  ) as [GroupMember, GroupMember];
  const request = { topics: ["purchases"], metadata: new Uint8Array(), assign: () => new Map() };
  await first.join(request);
  const startMs = performance.now();
  const joining = second.join(request);
  await first.changed();
  expect(performance.now() - startMs).toBeLessThan(2_000);
  const generations = await Promise.all([first.join(request), joining]);
  expect(new Set(generations.map(({ generationId }) => generationId)).size).toBe(1);
  await Promise.all([first.leave(), second.leave()]);
  await transport.close();
});

test("of two members with one identity that join at the same time one stays and one ends", async () => {
  const transport = await connected();
  const groupId = randomUUID();
  const times = { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 30_000, heartbeatIntervalMs: 100 };
  const members = [1, 2].map(() => transport.openGroupMember({ groupId, groupInstanceId: "same", ...times }));
  const request = { topics: ["purchases"], metadata: new Uint8Array(), assign: () => new Map() };
  await Promise.allSettled(members.map((member) => member.join(request)));
  const statuses = () => members.map(({ status }) => status);
  // The one that was first may hear of the other by a heartbeat.
  await eventually(
    () => `one is fenced; they are ${statuses().join(", ")}`,
    () => statuses().includes("fenced"),
  );
  expect(statuses().filter((status) => status === "fenced")).toHaveLength(1);
  await Promise.all(members.map((member) => member.leave()));
  await transport.close();
});

test("a connection that is closed with a question unanswered is reset: what of it is still on its way goes nowhere", async () => {
  const [host, port] = (inject("kafkaBrokers")[0] as string).split(":") as [string, string];
  const seen = new EventEmitter();
  // Of the broker's answers only that to the handshake gets through.
  const proxy = createServer((client) => {
    const broker = connect({ host, port: Number(port) });
    broker.once("data", (answer) => {
      client.write(answer);
      client.once("data", () => seen.emit("question"));
    });
    client.on("data", (bytes) => broker.write(bytes));
    client.once("error", (error) => seen.emit("end", error));
    client.once("end", () => seen.emit("end", undefined));
    client.once("close", () => broker.destroy());
  });
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  const { port: proxyPort } = proxy.address() as AddressInfo;
  const [question, end] = [once(seen, "question"), once(seen, "end")];
  const transport = new KafkaJsTransport({ client: { brokers: [`127.0.0.1:${proxyPort}`] }, logger: silentLogger });
  const connecting = expect(transport.connect()).rejects.toThrow(UnavailableError);
  await question;
  await transport.close();
  await connecting;
  expect(await end).toMatchObject([{ code: "ECONNRESET" }]);
  proxy.close();
});

test("Kafka's own tools can show the group and what it reads", async () => {
  const transport = await connected();
  const groupId = randomUUID();
  const member = memberOf(transport, groupId, "one");
  await member.join({ topics: ["purchases"], metadata: Buffer.from("ours"), assign: () => new Map() });
  const admin = new Kafka({ brokers: [...inject("kafkaBrokers")], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const { groups } = await admin.describeGroups([groupId]);
  await admin.disconnect();
  expect(groups[0]).toMatchObject({ state: "Stable", protocolType: "consumer", protocol: "millrace" });
  const metadata = groups[0]?.members[0]?.memberMetadata ?? Buffer.alloc(0);
  expect(AssignerProtocol.MemberMetadata.decode(metadata)).toMatchObject({ topics: ["purchases"] });
  await member.leave();
  await transport.close();
});
