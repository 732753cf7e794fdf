import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { registryAvro, SchemaRegistry, type Serde, string } from "millrace/serdes";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { FakeRegistry } from "../serdes/fake-registry.suite.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { KafkaStreams } from "./streams.js";

const V1 = { type: "record", name: "R", fields: [{ name: "n", type: "int" }] } as const;
const V2 = { type: "record", name: "R", fields: [...V1.fields, { name: "s", type: "string", default: "-" }] } as const;

let fake: FakeRegistry;
let log: EmbeddedLog;
let probe: LogProbe;
beforeEach(async () => {
  fake = await FakeRegistry.start();
  log = new EmbeddedLog({ file: ":memory:" });
  probe = new LogProbe(new EmbeddedTransport({ log }));
  await probe.transport.connect();
  await probe.createTopic("in", 2);
  await probe.createTopic("out", 2);
  await probe.createTopic("dead", 2);
});
afterEach(async () => {
  await probe.transport.close();
  log.close();
  await fake.close();
});

const client = (timeoutMs = 300): SchemaRegistry => new SchemaRegistry({ url: fake.url, timeoutMs });

/** Reads `in` as `schema`, writes what it read to `out` as text, and what it cannot read to `dead`. */
async function start(schema: typeof V1 | typeof V2, registry = client()): Promise<KafkaStreams> {
  const builder = new StreamsBuilder();
  builder
    .stream("in", {
      key: string,
      value: registryAvro(registry, schema, { subject: "in-value" }),
      onError: { deadLetter: "dead" },
    })
    .mapValues((value) => JSON.stringify(value))
    .to("out", { value: string });
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-serdes-"));
  const transport = new EmbeddedTransport({ log });
  const streams = new KafkaStreams(builder.build(), {
    applicationId: "app",
    transport,
    stateDir,
    commitIntervalMs: 10,
  });
  onTestFinished(async () => {
    await streams.close();
    await rm(stateDir, { recursive: true, force: true });
  });
  await streams.start();
  return streams;
}

async function textsOf(topic: string): Promise<string[]> {
  return (await probe.read(topic)).map(({ value }) => String(value));
}

async function written(topic: string, count: number): Promise<string[]> {
  await eventually(`${count} records in ${topic}`, async () => (await textsOf(topic)).length >= count, 15_000);
  return textsOf(topic);
}

async function writerOf(schema: typeof V1 | typeof V2) {
  const serde = registryAvro(client(), schema, { subject: "in-value" });
  await serde.prepare?.("write");
  return serde;
}

describe("a record whose schema is not known yet", () => {
  test("waits for it, and what comes behind it keeps its order", async () => {
    const [one, two] = [await writerOf(V1), await writerOf(V2)];
    await start(V1);
    const records = Array.from({ length: 200 }, (_, n) => ({
      key: "k",
      value: n % 2 === 0 ? one.serialize({ n }) : two.serialize({ n, s: "x" }),
      partition: 0,
    }));
    await probe.write("in", records);
    expect(await written("out", 200)).toEqual(records.map((_, n) => JSON.stringify({ n })));
    expect(fake.requests.filter((request) => request.startsWith("GET"))).toEqual([
      "GET /schemas/ids/1",
      "GET /schemas/ids/2",
    ]);
  });

  test("holds its own partition only, however long the registry takes", async () => {
    const [one, two] = [await writerOf(V1), await writerOf(V2)];
    await start(V1, client(4_000));
    await probe.write("in", [{ key: "a", value: one.serialize({ n: 1 }), partition: 1 }]);
    await written("out", 1);
    fake.failures.push("hang");
    await probe.write("in", [{ key: "b", value: two.serialize({ n: 2, s: "" }), partition: 0 }]);
    await eventually("the registry was asked", () => fake.requests.at(-1) === "GET /schemas/ids/2", 5_000);
    await probe.write("in", [{ key: "a", value: one.serialize({ n: 3 }), partition: 1 }]);
    expect((await written("out", 2)).sort()).toEqual(['{"n":1}', '{"n":3}']);
    expect((await written("out", 3)).sort()).toEqual(['{"n":1}', '{"n":2}', '{"n":3}']);
  });

  test("that nobody has goes to the handler with its bytes, and nothing else is disturbed", async () => {
    const one = await writerOf(V1);
    await start(V1);
    const bad = ["0000000063", "0200000001", "0000000001", "00000000010202", ""].map((hex) => Buffer.from(hex, "hex"));
    const good = [1, 2, 3].map((n) => one.serialize({ n }));
    const values = [good[0], bad[0], bad[1], good[1], bad[2], bad[3], bad[4], good[2]] as Uint8Array[];
    await probe.write(
      "in",
      values.map((value) => ({ key: "k", value, partition: 0 })),
    );
    expect(await written("out", 3)).toEqual(['{"n":1}', '{"n":2}', '{"n":3}']);
    await written("dead", 5);
    const dead = await probe.read("dead");
    expect(dead.map(({ value }) => value?.toString("hex"))).toEqual(bad.map((one_) => one_.toString("hex")));
    const messages = dead.map(({ headers }) =>
      String(headers.find(([name]) => name === "__streams.errors.message")?.[1]),
    );
    expect(messages[0]).toContain("schema id 99");
  });

  test("goes to the handler when the registry is down", async () => {
    const one = await writerOf(V1);
    await start(V1, client(50));
    fake.failures.push("hang", 503, "hang", 503);
    await probe.write("in", [{ key: "k", value: one.serialize({ n: 1 }), partition: 0 }]);
    await written("dead", 1);
    expect(await textsOf("out")).toEqual([]);
  });
});

describe("a sink's schema", () => {
  function topology(schema: typeof V1) {
    const builder = new StreamsBuilder();
    const value = registryAvro(client(), schema, { subject: "out-value" });
    builder
      .stream("in", { key: string, value: string })
      .mapValues(() => ({ n: 1 }))
      .to("out", { value });
    return builder.build();
  }

  test("that the registry refuses stops the application before it has read anything", async () => {
    fake.add("out-value", { type: "record", name: "R", fields: [] });
    fake.refuses = true;
    const stateDir = await mkdtemp(join(tmpdir(), "millrace-serdes-"));
    const streams = new KafkaStreams(topology(V1), {
      applicationId: "app",
      transport: new EmbeddedTransport({ log }),
      stateDir,
    });
    await streams.start();
    await streams.finished;
    expect(streams.failure).toMatchObject({ code: "SERDE_REFUSED" });
    expect(streams.failure?.message).toMatch(/^sink "[^"]+", value: .*field R\.n is new and has no default/);
    await rm(stateDir, { recursive: true, force: true });
  });

  test("waits for a registry that is away", async () => {
    fake.failures.push(...Array.from({ length: 8 }, () => 503));
    const stateDir = await mkdtemp(join(tmpdir(), "millrace-serdes-"));
    const streams = new KafkaStreams(topology(V1), {
      applicationId: "app",
      transport: new EmbeddedTransport({ log }),
      stateDir,
    });
    await streams.start();
    await eventually("RUNNING", () => streams.state === "RUNNING", 15_000);
    await streams.close();
    await rm(stateDir, { recursive: true, force: true });
  });
});

describe("a store whose schema has changed", () => {
  const V3 = { ...V1, fields: [...V1.fields, { name: "must", type: "string" }] } as const;

  async function counted(schema: object, stateDir: string): Promise<KafkaStreams> {
    const builder = new StreamsBuilder();
    const value = registryAvro(client(), schema, { subject: "app-sums-changelog-value" }) as never as Serde<{
      n: number;
    }>;
    builder
      .stream("in", { key: string, value: string })
      .groupByKey()
      .aggregate("sums", {
        initial: () => ({ n: 0, s: "", must: "" }),
        add: (sums) => ({ ...sums, n: sums.n + 1 }),
        value,
        cache: false,
      })
      .toStream()
      .mapValues((sums) => JSON.stringify(sums))
      .to("out", { value: string });
    const transport = new EmbeddedTransport({ log });
    const streams = new KafkaStreams(builder.build(), {
      applicationId: "app",
      transport,
      stateDir,
      commitIntervalMs: 10,
    });
    await streams.start();
    return streams;
  }

  test("opens with its rows resolved, or is refused with the way out", async () => {
    const stateDir = await mkdtemp(join(tmpdir(), "millrace-serdes-"));
    onTestFinished(() => rm(stateDir, { recursive: true, force: true }));
    const one = { key: "k", value: "x", partition: 0 };
    const before = await counted(V1, stateDir);
    await probe.write("in", [one, one]);
    expect(await written("out", 2)).toEqual(['{"n":1,"s":"","must":""}', '{"n":2,"s":"","must":""}']);
    await before.close();
    const after = await counted(V2, stateDir);
    await probe.write("in", [one]);
    expect((await written("out", 3)).at(-1)).toBe('{"n":3,"s":"-"}');
    await after.close();
    const refused = await counted(V3, stateDir);
    await refused.finished;
    expect(refused.failure?.message).toMatch(/^store "sums", value: .*R\.must is new.*the store a new name, or reset/);
  });
});
