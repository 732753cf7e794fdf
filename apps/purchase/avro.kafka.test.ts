import { createServer, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { SchemaRegistry as OtherRegistry, SchemaType } from "@kafkajs/confluent-schema-registry";
import { partitionOf } from "millrace";
import {
  deserializeLoaded,
  registryAvro,
  registryJson,
  SchemaRegistry,
  type Serde,
  topicSubject,
} from "millrace/serdes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { type LocalRegistry, startApicurio } from "../../testing/kafka/apicurio.js";
import { eventually, unique } from "../../testing/log-probe.suite.js";
import { Account } from "./account.js";
import { avroFormat, PURCHASE_SCHEMA } from "./avro-format.js";
import { aggregateOf } from "./output.js";
import { buildIfStale, Pipeline } from "./pipeline.suite.js";
import { Simulator } from "./simulator.js";

const PARTITIONS = 3;
const START_MS = Date.UTC(2026, 10, 22, 12);

let real: LocalRegistry;
beforeAll(async () => {
  [real] = await Promise.all([startApicurio(), buildIfStale()]);
});
afterAll(() => real?.stop());

const client = (): SchemaRegistry => new SchemaRegistry({ url: real.url });

class AvroPipeline {
  readonly account = new Account();
  readonly simulator = new Simulator({
    seed: 11,
    users: 50,
    late: 0.1,
    lateByMs: { from: 30 * 60_000, to: 60 * 60_000 },
    expired: 0.02,
    invalid: 0.05,
    partitions: PARTITIONS,
    partitionOf,
  });

  private constructor(
    readonly pipeline: Pipeline,
    readonly purchase: Serde<never>,
    readonly userWindow: Serde<unknown>,
    readonly late: Serde<unknown>,
  ) {}

  static async open(): Promise<AvroPipeline> {
    const pipeline = await Pipeline.open();
    await pipeline.probe.createTopic(pipeline.input, PARTITIONS);
    const topics = { inputTopic: pipeline.input, lateTopic: pipeline.late, outputTopic: pipeline.output };
    const { readers } = avroFormat(client(), topics, "");
    await readers.purchase.prepare?.("write");
    return new AvroPipeline(
      pipeline,
      readers.purchase as unknown as Serde<never>,
      readers.userWindow as unknown as Serde<unknown>,
      readers.late as unknown as Serde<unknown>,
    );
  }

  start(instance = "1", environment: Readonly<Record<string, string>> = {}) {
    return this.pipeline.start(instance, {
      FORMAT: "avro",
      SCHEMA_REGISTRY_URL: real.url,
      SESSION_TIMEOUT_MS: "6000",
      ...environment,
    });
  }

  /** Simulated purchases, as Avro; what is no purchase as it is. */
  async write(count: number, serde: Pick<Serde<never>, "serialize"> = this.purchase): Promise<void> {
    const records = Array.from({ length: count }, (_, n) =>
      this.simulator.next(START_MS + this.simulator.made * 400 + n),
    );
    const sent = records.map((record) => {
      const { expected, value } = record;
      if (expected.kind === "invalid" || value === null) return record;
      return { ...record, value: Buffer.from(serde.serialize(JSON.parse(value.toString("utf8")) as never)) };
    });
    for (const record of sent) this.account.produced(record);
    await this.pipeline.probe.write(
      this.pipeline.input,
      sent.map(({ ingestionTimeMs, ...record }) => ({ ...record, timestampMs: ingestionTimeMs })),
    );
  }

  /** What is none of this topic's purchases, one record for each of `values`, spread over the users and partitions. */
  async writeMalformed(values: readonly { readonly why: string; readonly value: Buffer }[]): Promise<void> {
    const records = values.map(({ why, value }, at) => {
      const key = Buffer.from(`user-${String(at % 50).padStart(6, "0")}`);
      const partition = partitionOf(key, PARTITIONS);
      const ingestionTimeMs = START_MS + this.simulator.made * 400;
      return { key, value, partition, ingestionTimeMs, expected: { kind: "invalid", why } as const };
    });
    for (const record of records) this.account.produced(record);
    await this.pipeline.probe.write(
      this.pipeline.input,
      records.map(({ key, value, partition, ingestionTimeMs }) => ({
        key,
        value,
        partition,
        timestampMs: ingestionTimeMs,
      })),
    );
  }

  /** Waits until the pipeline has processed everything, and compares what it wrote with the simulator's books. */
  async expectRight(): Promise<void> {
    const { probe, output, late, expired, deadLetter } = this.pipeline;
    await this.pipeline.caughtUp();
    for (const record of await probe.read(output)) {
      const json = JSON.stringify(await deserializeLoaded(this.userWindow, record.value ?? Buffer.alloc(0)));
      const row = aggregateOf({ key: record.key, value: Buffer.from(json) });
      if (row !== undefined) this.account.sawAggregate(row);
    }
    for (const { value } of await probe.read(late)) {
      const found = (await deserializeLoaded(this.late, value ?? Buffer.alloc(0))) as { transaction_id: string };
      this.account.sawLate(found.transaction_id);
    }
    for (const record of await probe.read(expired)) this.account.sawExpired(record);
    for (const record of await probe.read(deadLetter)) this.account.sawDeadLetter(record);
    expect([...this.account.mismatches()]).toEqual([]);
    const { produced, accounted } = this.account.totals();
    expect(accounted).toBe(produced);
  }
}

describe("the pipeline on Avro and a real registry", () => {
  test("accounts for every record, after a SIGKILL and a wiped state directory as well", async () => {
    const avro = await AvroPipeline.open();
    const first = avro.start();
    await avro.pipeline.ready(first);
    await avro.write(3_000);
    process.kill(first.pid, "SIGKILL");
    await first.ended;
    await avro.write(2_000);
    const second = avro.start("2", { COMPRESSION: "zstd" });
    await avro.pipeline.ready(second);
    await avro.write(1_000);
    await avro.expectRight();
    expect(second.hasEnded).toBe(false);
  });

  test("goes on when producers add a field with a default while it runs", async () => {
    const avro = await AvroPipeline.open();
    await avro.pipeline.ready(avro.start());
    await avro.write(500);
    const evolved = {
      ...PURCHASE_SCHEMA,
      fields: [{ name: "coupon", type: ["null", "string"], default: null }, ...PURCHASE_SCHEMA.fields],
    };
    const wire = registryAvro(client(), evolved, {
      subject: topicSubject(avro.pipeline.input),
    }) as unknown as Serde<object>;
    await wire.prepare?.("write");
    await avro.write(500, {
      serialize: (value: { price: number; amount: number; timestamp: string }) =>
        wire.serialize({
          ...value,
          coupon: "SPRING",
          price: value.price.toFixed(2),
          amount: value.amount.toFixed(2),
          timestamp: new Date(value.timestamp),
        }),
    } as Pick<Serde<never>, "serialize">);
    await avro.expectRight();
  });

  test("wrong magic, unknown id, truncated bodies and other schemas are dead letters, and nothing else is disturbed", async () => {
    const avro = await AvroPipeline.open();
    await avro.pipeline.ready(avro.start());
    await avro.write(300);
    const good = Buffer.from(avro.purchase.serialize(PURCHASE as never));
    await avro.writeMalformed(await malformed(good));
    await avro.write(300);
    await avro.expectRight();
  });

  test("refuses to start where the registry refuses its output's schema, naming the field", async () => {
    const avro = await AvroPipeline.open();
    const subject = `${avro.pipeline.output}-value`;
    const before = { type: "record", name: "UserWindow", namespace: "millrace.purchase", fields: [] };
    await client().register(subject, { type: "AVRO", text: JSON.stringify(before) });
    await setCompatibility(subject, "BACKWARD");
    const process = avro.start();
    expect(await process.ended).toBe(1);
    expect(process.output).toMatch(
      /sink .*field millrace\.purchase\.UserWindow\.window_start is new and has no default/,
    );
  });

  test("refuses a store whose rows its schema cannot read, with the way out", async () => {
    const avro = await AvroPipeline.open();
    const subject = `${avro.pipeline.changelog}-value`;
    const fields = [{ name: "transaction_count", type: "string" }];
    const before = { type: "record", name: "Sums", namespace: "millrace.purchase", fields };
    await client().register(subject, { type: "AVRO", text: JSON.stringify(before) });
    const process = avro.start();
    expect(await process.ended).toBe(1);
    expect(process.output).toMatch(/store .*Sums\.transaction_count: cannot read .* the store a new name, or reset/);
  });
});

const PURCHASE = {
  transaction_id: "t-1",
  user_id: "user-000001",
  goods: "tea kettle",
  quantity: 1,
  price: 34.75,
  amount: 34.75,
  timestamp: new Date(START_MS).toISOString(),
};

/** Made from the bytes of a good purchase, `header` (0, the id) and body: what its topic must not count. */
async function malformed(good: Buffer): Promise<{ readonly why: string; readonly value: Buffer }[]> {
  const body = good.subarray(5);
  const withId = (id: number, rest: Buffer): Buffer => {
    const header = Buffer.alloc(5);
    header.writeUInt32BE(id, 1);
    return Buffer.concat([header, rest]);
  };
  const register = (type: "AVRO" | "JSON", schema: object): Promise<number> =>
    client().register(unique("elsewhere"), { type, text: JSON.stringify(schema) });
  const fields = [{ name: "transaction_id", type: "string" }];
  const renamed = await register("AVRO", { type: "record", name: "Refund", namespace: "shop", fields });
  const fieldMissing = await register("AVRO", { ...PURCHASE_SCHEMA, fields });
  const list = await register("AVRO", { type: "array", items: "long" });
  const jsonSchema = await register("JSON", z.toJSONSchema(z.object({ transaction_id: z.string() })));
  const truncated = Array.from({ length: good.length }, (_, length) => ({
    why: `cut to ${length} bytes`,
    value: good.subarray(0, length),
  }));
  return [
    ...truncated,
    { why: "magic 1", value: Buffer.concat([Buffer.of(1), good.subarray(1)]) },
    { why: "JSON without a header", value: Buffer.from(JSON.stringify(PURCHASE)) },
    { why: "Avro without a header", value: Buffer.from(body) },
    { why: "an id that nobody has", value: withId(2_000_000_000, body) },
    { why: "a negative id", value: withId(0xffff_ffff, body) },
    { why: "another record's schema", value: withId(renamed, Buffer.from("06742d31", "hex")) },
    { why: "a purchase without most fields", value: withId(fieldMissing, Buffer.from("06742d31", "hex")) },
    { why: "a list's schema", value: withId(list, Buffer.of(2, 2, 0)) },
    { why: "a JSON Schema", value: withId(jsonSchema, Buffer.from(JSON.stringify(PURCHASE))) },
    { why: "a byte too many", value: Buffer.concat([good, Buffer.of(0)]) },
  ];
}

async function setCompatibility(subject: string, compatibility: string): Promise<void> {
  const response = await fetch(`${real.url}/config/${subject}`, {
    method: "PUT",
    headers: { "content-type": "application/vnd.schemaregistry.v1+json" },
    body: JSON.stringify({ compatibility }),
  });
  expect(response.ok).toBe(true);
}

describe("beside another client of the registry", () => {
  const schema = {
    type: "record",
    name: "Order",
    namespace: "shop",
    fields: [
      { name: "id", type: "string" },
      { name: "quantity", type: "int" },
      { name: "note", type: ["null", "string"], default: null },
    ],
  } as const;
  const value = { id: "é1", quantity: -7, note: "x" };

  test("each reads what the other writes", async () => {
    const subject = unique("orders");
    const other = new OtherRegistry({ host: real.url });
    const { id } = await other.register({ type: SchemaType.AVRO, schema: JSON.stringify(schema) }, { subject });
    const theirs = await other.encode(id, value);
    const serde = registryAvro(client(), schema, { subject });
    expect(await deserializeLoaded(serde, theirs)).toEqual(value);
    await serde.prepare?.("write");
    expect(Buffer.from(serde.serialize(value)).equals(theirs)).toBe(true);
    expect({ ...(await other.decode(theirs)) }).toEqual(value);
  });

  test("JSON Schema has the same wire format, and what the validator refuses is an error of its field", async () => {
    const Order = z.object({ id: z.string(), quantity: z.int() });
    const subject = unique("orders");
    const serde = registryJson(client(), { title: "Order", ...z.toJSONSchema(Order, { target: "draft-7" }) }, Order, {
      subject,
    });
    await serde.prepare?.("write");
    const bytes = Buffer.from(serde.serialize({ id: "a", quantity: 2 }));
    const other = new OtherRegistry({ host: real.url });
    expect(await other.decode(bytes)).toEqual({ id: "a", quantity: 2 });
    const reader = registryJson(client(), {}, Order, { subject });
    expect(
      await deserializeLoaded(reader, await other.encode(bytes.readUInt32BE(1), { id: "b", quantity: 3 })),
    ).toEqual({
      id: "b",
      quantity: 3,
    });
    const wrong = Buffer.concat([bytes.subarray(0, 5), Buffer.from('{"id":1,"quantity":2}')]);
    await expect(deserializeLoaded(reader, wrong)).rejects.toThrow(/^id: /);
  });

  test("a login is sent, and one that is refused says what to look at", async () => {
    const guarded = await guardRegistry(real.url, "ann", "p:w é");
    const subject = unique("orders");
    try {
      const open = new SchemaRegistry({ url: guarded.url, auth: { username: "ann", password: "p:w é" } });
      const serde = registryAvro(open, schema, { subject });
      await serde.prepare?.("write");
      expect(await deserializeLoaded(registryAvro(client(), schema, { subject }), serde.serialize(value))).toEqual(
        value,
      );
      const shut = new SchemaRegistry({ url: guarded.url, auth: { username: "ann", password: "guess" } });
      const refused = registryAvro(shut, schema, { subject }).prepare?.("write");
      await expect(refused).rejects.toThrow("401, the registry refuses these credentials");
      await expect(refused).rejects.not.toThrow("guess");
    } finally {
      await guarded.stop();
    }
  });

  test("an added field needs a default, and the refusal names it", async () => {
    const subject = unique("orders");
    await new OtherRegistry({ host: real.url }).register(
      { type: SchemaType.AVRO, schema: JSON.stringify(schema) },
      { subject },
    );
    const added = (field: object) => ({ ...schema, fields: [...schema.fields, field] });
    const good = added({ name: "tag", type: "string", default: "" });
    await registryAvro(client(), good, { subject }).prepare?.("write");
    const bad = added({ name: "must", type: "string" });
    await expect(registryAvro(client(), bad, { subject }).prepare?.("write")).rejects.toThrow(
      "field shop.Order.must is new and has no default",
    );
  });
});

/** The registry behind a proxy that asks for a login, as the hosted ones do: Apicurio's own login needs a Keycloak. */
async function guardRegistry(url: string, username: string, password: string): Promise<LocalRegistry> {
  const wanted = `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
  const server = createServer((request, response) => {
    if (request.headers.authorization !== wanted) {
      response.writeHead(401).end();
      return;
    }
    const { authorization: _, ...headers } = request.headers;
    const upstream = send(`${url}${request.url}`, { method: request.method ?? "GET", headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    request.pipe(upstream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

test("produce and live speak Avro as well", async () => {
  const pipeline = await Pipeline.open();
  const environment = { FORMAT: "avro", SCHEMA_REGISTRY_URL: real.url };
  const produce = [
    "produce",
    "--count",
    "300",
    "--rate",
    "0",
    "--late",
    "0.5",
    "--partitions",
    "3",
    "--compression",
    "lz4",
  ];
  const first = pipeline.command(produce, environment);
  expect(await first.ended, first.output).toBe(0);
  await pipeline.ready(pipeline.start("1", environment));
  const live = pipeline.command(["live"], environment);
  // What comes from now on is shown: something has to come, until the console is there to see it.
  await eventually(
    () => `the console shows purchases and late ones; it said:\n${live.output}`,
    async () => {
      await pipeline.command(produce, environment).ended;
      return /user-\d+ .* × /.test(live.output) && / late\b/.test(live.output);
    },
  );
  expect(await pipeline.probe.read(pipeline.deadLetter)).toEqual([]);
  expect((await pipeline.probe.read(pipeline.output)).length).toBeGreaterThan(0);
});
