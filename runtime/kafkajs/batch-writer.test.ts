import { expect, test } from "vitest";
import { UnavailableError } from "../errors.js";
import { BATCH, RecordBatch } from "../record-batch.js";
import { BatchWriter, inRounds, type Outgoing, type PartitionLeaders } from "./batch-writer.js";
import type { WireRequest } from "./kafkajs-internals.js";
import { CODE, ConnectionLostError } from "./protocol-errors.js";
import type { ProducedPartition } from "./requests.js";
import { WireReader } from "./wire.js";

interface Sent {
  readonly partition: number;
  readonly sequence: number;
  readonly count: number;
}

/** A broker that leads everything, notes what it gets, and answers as told: one list of error codes per request. */
class ScriptedBroker implements PartitionLeaders {
  readonly requestTimeoutMs: number = 2_000;
  readonly signal = new AbortController().signal;
  readonly sent: Sent[][] = [];
  readonly answers: (readonly number[] | "broken")[] = [];
  #nextOffset = 100;

  async findLeaders(): Promise<void> {}

  leaderOf(): number {
    return 1;
  }

  errorOf(): number {
    return CODE.NONE;
  }

  forgetLeaders(): void {}

  async sendTo<T>(_nodeId: number, request: WireRequest<T>): Promise<T> {
    const read = new WireReader(Buffer.concat(await request.encode()));
    read.nullableString();
    read.int16();
    read.int32();
    const batches = read.array(() => {
      read.string();
      return read.array(() => ({ partition: read.int32(), records: read.bytes32() }));
    });
    const sent = batches.flat().map(({ partition, records }) => ({
      partition,
      sequence: records.readInt32BE(BATCH.baseSequence),
      count: records.readInt32BE(BATCH.count),
    }));
    this.sent.push(sent);
    const codes = this.answers.shift() ?? [];
    if (codes === "broken") throw new ConnectionLostError("broken", { sent: true });
    const partitions = sent.map(({ partition, count }, at): ProducedPartition => {
      const baseOffset = this.#nextOffset;
      this.#nextOffset += count;
      return { topic: "t", partition, errorCode: codes[at] ?? CODE.NONE, baseOffset, message: null };
    });
    return { partitions, clientSideThrottleTime: 0 } as T;
  }
}

function writerTo(broker: ScriptedBroker): BatchWriter {
  const writer = new BatchWriter(broker, "id");
  writer.become({ producerId: 7n, producerEpoch: 3 });
  return writer;
}

function outgoing(partition: number, count: number): Outgoing {
  const batch = new RecordBatch();
  for (let at = 0; at < count; at++) batch.append(1_000, null, Buffer.from("v"), []);
  return { topic: "t", partition, batch, result: undefined };
}

test("sequence numbers of a partition go on by the number of records written", async () => {
  const broker = new ScriptedBroker();
  const writer = writerTo(broker);
  await writer.write([outgoing(0, 3), outgoing(1, 5)]);
  await writer.write([outgoing(0, 2), outgoing(1, 1)]);
  await writer.write([outgoing(0, 1)]);
  expect(broker.sent.map((request) => request.map(({ sequence }) => sequence))).toEqual([[0, 0], [3, 5], [5]]);
});

test("a new identity starts every partition at 0", async () => {
  const broker = new ScriptedBroker();
  const writer = writerTo(broker);
  await writer.write([outgoing(0, 3)]);
  writer.become({ producerId: 8n, producerEpoch: 0 });
  await writer.write([outgoing(0, 3)]);
  expect(broker.sent.flat().map(({ sequence }) => sequence)).toEqual([0, 0]);
});

test("a refused batch uses up no sequence number, and the others of the request do", async () => {
  const broker = new ScriptedBroker();
  broker.answers.push([CODE.MESSAGE_TOO_LARGE, CODE.NONE]);
  const writer = writerTo(broker);
  const [refused, written] = [outgoing(0, 3), outgoing(1, 5)];
  await writer.write([refused, written]);
  expect(refused.result).toMatchObject({ refusal: "message-too-large" });
  expect(written.result).toEqual({ baseOffset: 103 });
  await writer.write([outgoing(0, 1), outgoing(1, 1)]);
  expect(broker.sent[1]?.map(({ sequence }) => sequence)).toEqual([0, 5]);
});

test("a batch whose connection broke is sent again with the number it had", async () => {
  const broker = new ScriptedBroker();
  broker.answers.push([CODE.NONE], "broken");
  const writer = writerTo(broker);
  await writer.write([outgoing(0, 4)]);
  await writer.write([outgoing(0, 2)]);
  expect(broker.sent.flat().map(({ sequence }) => sequence)).toEqual([0, 4, 4]);
});

test("only what a moved leader did not take is sent again", async () => {
  const broker = new ScriptedBroker();
  broker.answers.push([CODE.NOT_LEADER_OR_FOLLOWER, CODE.NONE]);
  await writerTo(broker).write([outgoing(0, 1), outgoing(1, 1)]);
  expect(broker.sent.map((request) => request.map(({ partition }) => partition))).toEqual([[0, 1], [0]]);
});

test("a batch that the broker has already counts as written", async () => {
  const broker = new ScriptedBroker();
  broker.answers.push([CODE.DUPLICATE_SEQUENCE_NUMBER]);
  const writer = writerTo(broker);
  await writer.write([outgoing(0, 2)]);
  await writer.write([outgoing(0, 2)]);
  expect(broker.sent.flat().map(({ sequence }) => sequence)).toEqual([0, 2]);
});

test("a broker that has lost track of the producer is not asked again", async () => {
  const broker = new ScriptedBroker();
  broker.answers.push([CODE.OUT_OF_ORDER_SEQUENCE_NUMBER]);
  await expect(writerTo(broker).write([outgoing(0, 1)])).rejects.toMatchObject({
    errorCode: CODE.OUT_OF_ORDER_SEQUENCE_NUMBER,
  });
  expect(broker.sent).toHaveLength(1);
});

test("retries end when the request's time is over", async () => {
  const broker = new (class extends ScriptedBroker {
    override readonly requestTimeoutMs = 200;
  })();
  for (let at = 0; at < 50; at++) broker.answers.push([CODE.NOT_ENOUGH_REPLICAS]);
  await expect(writerTo(broker).write([outgoing(0, 1)])).rejects.toThrow(UnavailableError);
  expect(broker.sent.length).toBeGreaterThan(1);
});

test("several batches of one partition go in rounds, in their order", () => {
  const batches = [outgoing(0, 1), outgoing(0, 2), outgoing(1, 3), outgoing(0, 4)];
  const rounds = inRounds(batches).map((round) => round.map(({ partition, batch }) => [partition, batch.count]));
  expect(rounds).toEqual([
    [
      [0, 1],
      [1, 3],
    ],
    [[0, 2]],
    [[0, 4]],
  ]);
});
