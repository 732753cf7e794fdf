import { expect, test } from "vitest";
import { EmbeddedLog, EmbeddedTransport } from "../../index.js";
import { RecordBatch } from "../../runtime/record-batch.js";
import { LogProbe } from "../log-probe.suite.js";
import { whereabouts } from "./whereabouts.js";

const NOON_MS = Date.UTC(2026, 10, 22, 12);

test("each record of an id is told with its offset, and whether it was committed, aborted or is still open", async () => {
  const log = new EmbeddedLog({ file: ":memory:" });
  const transport = new EmbeddedTransport({ log });
  const probe = new LogProbe(transport);
  await transport.connect();
  for (const topic of ["in", "out"]) await probe.createTopic(topic, 1);
  const record = (value: string) => ({ key: null, value, timestampMs: NOON_MS });
  await probe.write("in", [record("ann"), record("bob")]);
  const inTransaction = async (value: string) => {
    const transactionalId = `writer of ${value}`;
    const producer = transport.openTransactionalProducer({ transactionalId, transactionTimeoutMs: 60_000 });
    await producer.initialize();
    producer.begin();
    const batch = new RecordBatch();
    batch.append(NOON_MS, null, Buffer.from(value), []);
    await producer.produce([{ topic: "out", partition: 0, batch }]);
    return producer;
  };
  // The marker that ends a transaction takes an offset of its own.
  await (await inTransaction("ann 1")).abort();
  await (await inTransaction("ann 1")).commit();
  await (await inTransaction("bob 1")).commit();
  await inTransaction("ann 2");

  const idOf = ({ value }: { readonly value: Buffer | null }): string[] => [String(value).slice(0, 3)];
  expect(await whereabouts(transport, ["in", "out"], idOf, new Set(["ann", "eve"]))).toEqual([
    "in the log of ann:",
    "  in-0@0 committed, 2026-11-22T12:00:00.000Z: ann",
    "  out-0@0 ABORTED, 2026-11-22T12:00:00.000Z: ann 1",
    "  out-0@2 committed, 2026-11-22T12:00:00.000Z: ann 1",
    "  out-0@6 IN AN OPEN TRANSACTION, 2026-11-22T12:00:00.000Z: ann 2",
    "in the log of eve:",
    "  nothing",
  ]);
  await transport.close();
  log.close();
});
