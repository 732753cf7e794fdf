import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { avro } from "./avro.js";
import { FakeRegistry } from "./fake-registry.suite.js";
import {
  deserializeLoaded,
  recordSubject,
  registryAvro,
  registryJson,
  topicRecordSubject,
  topicSubject,
} from "./registry-serdes.js";
import { SchemaRegistry, type SchemaRegistryError } from "./schema-registry.js";
import { NotLoadedError, PrepareError } from "./serde.js";

const V1 = {
  type: "record",
  name: "Purchase",
  namespace: "shop",
  fields: [
    { name: "id", type: "string" },
    { name: "cents", type: "long" },
  ],
} as const;
const V2 = { ...V1, fields: [...V1.fields, { name: "note", type: "string", default: "none" }] } as const;
const V3 = { ...V1, fields: [...V1.fields, { name: "must", type: "string" }] } as const;
const VALUE = { id: "a", cents: 5 };

let fake: FakeRegistry;
let registry: SchemaRegistry;
beforeEach(async () => {
  fake = await FakeRegistry.start();
  registry = new SchemaRegistry({ url: `${fake.url}/`, timeoutMs: 300 });
});
afterEach(() => fake.close());

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const another = (): SchemaRegistry => new SchemaRegistry({ url: fake.url, timeoutMs: 300 });

describe("the wire format", () => {
  test("is 0, the id as int32 BE, then the body", async () => {
    fake.add("other", "string");
    const serde = registryAvro(registry, V1, { subject: topicSubject("purchases") });
    await serde.prepare?.("write");
    expect(hex(serde.serialize(VALUE))).toBe(`0000000002${hex(avro(V1).serialize(VALUE))}`);
    expect(fake.subjects.get("purchases-value")).toEqual([2]);
  });

  test("asks once for an id, and never again", async () => {
    const serde = registryAvro(registry, V1, { subject: "s" });
    await serde.prepare?.("write");
    await serde.prepare?.("write");
    const bytes = serde.serialize(VALUE);
    const reader = registryAvro(another(), V1, { subject: "s" });
    expect(() => reader.deserialize(bytes)).toThrow(NotLoadedError);
    const values = await Promise.all([1, 2, 3].map(() => deserializeLoaded(reader, bytes)));
    expect(values).toEqual([VALUE, VALUE, VALUE]);
    for (let i = 0; i < 100; i++) reader.deserialize(bytes);
    expect(fake.requests).toEqual(["POST /subjects/s/versions", "GET /schemas/ids/1"]);
  });

  test("a source's serde registers nothing", async () => {
    await registryAvro(registry, V1, { subject: "s" }).prepare?.("read");
    expect(fake.requests).toEqual([]);
  });

  test("what another version wrote is resolved", async () => {
    const old = registryAvro(registry, V1, { subject: "s" });
    await old.prepare?.("write");
    const reader = registryAvro(another(), V2, { subject: "s" });
    expect(await deserializeLoaded(reader, old.serialize(VALUE))).toEqual({ ...VALUE, note: "none" });
  });

  test("a schema that names others is read with them", async () => {
    const money = { type: "record", name: "Money", namespace: "shop", fields: [{ name: "cents", type: "long" }] };
    fake.add("money", money);
    const fields = [{ name: "total", type: "shop.Money" }];
    const id = fake.add(
      "s",
      { type: "record", name: "Bill", fields },
      {
        references: [{ name: "shop.Money", subject: "money", version: 1 }],
      },
    );
    const reader = registryAvro(
      registry,
      { type: "record", name: "Bill", fields: [{ name: "total", type: money }] },
      {
        subject: "s",
      },
    );
    expect(await deserializeLoaded(reader, Buffer.from([0, 0, 0, 0, id, 14]))).toEqual({ total: { cents: 7 } });
  });

  test.each([
    ["another first byte", "0100000001", "its first byte is 1"],
    ["JSON", Buffer.from('{"id":1}').toString("hex"), "its first byte is 123"],
    ["nothing", "", "it has 0 bytes"],
    ["half an id", "000000", "it has 3 bytes"],
    ["no body", "0000000001", "the bytes end"],
    ["a body cut short", "00000000010261", "the bytes end"],
    ["a body with more behind", "000000000102610aff", "1 bytes are left behind"],
    ["an id that nobody has", "0000000063", "schema id 99: schema registry"],
    ["a schema of another type", "0000000002", "type JSON, not AVRO"],
    ["a schema of something else", "0000000003", "cannot read"],
  ])("%s is a plain error, after what was loaded", async (_, bytes, message) => {
    fake.add("s", V1);
    fake.add("j", { type: "object" }, { schemaType: "JSON" });
    fake.add("o", "double");
    const serde = registryAvro(registry, V1, { subject: "s" });
    const read = deserializeLoaded(serde, Buffer.from(bytes, "hex"));
    await expect(read).rejects.toThrow(message);
    await expect(read).rejects.not.toThrow(NotLoadedError);
  });

  test("an id that nobody has is asked for once in half a minute", async () => {
    const serde = registryAvro(registry, V1, { subject: "s" });
    for (let i = 0; i < 5; i++)
      await expect(deserializeLoaded(serde, Buffer.from([0, 0, 0, 0, 9]))).rejects.toThrow("schema id 9");
    expect(fake.requests).toEqual(["GET /schemas/ids/9"]);
  });
});

describe("subjects", () => {
  test.each([
    [topicSubject("t"), "t-value"],
    [topicSubject("t", "key"), "t-key"],
    [recordSubject, "shop.Purchase"],
    [topicRecordSubject("t"), "t-shop.Purchase"],
  ])("%s", async (subject, name) => {
    await registryAvro(registry, V1, { subject }).prepare?.("write");
    expect([...fake.subjects.keys()]).toEqual([name]);
  });

  test("made of a name need one", () => {
    expect(() => registryAvro(registry, "string", { subject: recordSubject })).toThrow("the schema has none");
  });
});

describe("registering", () => {
  test("can be left to others", async () => {
    const options = { subject: "s", register: false } as const;
    await expect(registryAvro(registry, V1, options).prepare?.("write")).rejects.toThrow('not registered under "s"');
    fake.add("s", V1);
    await expect(registryAvro(registry, V1, options).prepare?.("write")).resolves.toBeUndefined();
    expect(fake.schemas).toHaveLength(1);
  });

  test("an incompatible schema is refused by the field's name", async () => {
    fake.add("s", V1);
    fake.refuses = true;
    const refused = registryAvro(registry, V3, { subject: "s" }).prepare?.("write");
    await expect(refused).rejects.toThrow("field shop.Purchase.must is new and has no default");
    await expect(refused).rejects.toMatchObject({ isRetriable: false });
    const narrower = { ...V1, fields: [V1.fields[0], { name: "cents", type: "int" }] };
    await expect(registryAvro(registry, narrower, { subject: "s" }).prepare?.("write")).rejects.toThrow(
      /field shop\.Purchase\.cents: cannot read "long" as "int"/,
    );
  });

  test("before it nothing can be written", () => {
    expect(() => registryAvro(registry, V1, { subject: "s" }).serialize(VALUE)).toThrow('await prepare("write")');
  });
});

describe("stores", () => {
  test("read their own rows without a request", async () => {
    const serde = registryAvro(registry, V1, { subject: "s" });
    await serde.prepare?.("store");
    fake.requests.length = 0;
    expect(serde.deserialize(serde.serialize(VALUE))).toEqual(VALUE);
    expect(fake.requests).toEqual([]);
  });

  test("every version that rows may have is loaded before they are read", async () => {
    const old = registryAvro(registry, V1, { subject: "s" });
    await old.prepare?.("store");
    const bytes = old.serialize(VALUE);
    const evolved = registryAvro(another(), V2, { subject: "s" });
    await evolved.prepare?.("store");
    expect(evolved.deserialize(bytes)).toEqual({ ...VALUE, note: "none" });
  });

  test("a schema that cannot read one of them is refused with the way out, whatever the registry allows", async () => {
    fake.add("s", V1);
    fake.add("s", V2);
    const refused = registryAvro(registry, V3, { subject: "s" }).prepare?.("store");
    await expect(refused).rejects.toThrow(PrepareError);
    await expect(refused).rejects.toThrow(/Purchase\.must is new.*schema id 2.*the store a new name, or reset/);
    expect(fake.schemas).toHaveLength(2);
  });
});

describe("a registry that is away", () => {
  test("is asked again, and its answer taken", async () => {
    fake.failures.push(503, 500, 429);
    await registryAvro(registry, V1, { subject: "s" }).prepare?.("write");
    expect(fake.requests).toHaveLength(4);
  });

  test("is given up after four requests, for now", async () => {
    fake.failures.push(503, 503, 503, 503);
    const refused = registryAvro(registry, V1, { subject: "s" }).prepare?.("write");
    await expect(refused).rejects.toMatchObject({ isRetriable: true, status: 503 });
    expect(fake.requests).toHaveLength(4);
  });

  test("or silent ends a read within its timeouts, with a plain error", async () => {
    fake.failures.push("hang", "hang", "hang", "hang");
    const serde = registryAvro(registry, V1, { subject: "s" });
    const startMs = performance.now();
    await expect(deserializeLoaded(serde, Buffer.from([0, 0, 0, 0, 1]))).rejects.toThrow("no answer");
    expect(performance.now() - startMs).toBeLessThan(4 * 300 + 700 + 1_000);
  });

  test("or is none says so", async () => {
    const nowhere = new SchemaRegistry({ url: "http://127.0.0.1:1", attempts: 1 });
    const error = await nowhere.idsOf("s").catch((thrown: SchemaRegistryError) => thrown);
    expect(error).toMatchObject({ isRetriable: true, status: undefined });
    expect(() => new SchemaRegistry({ url: "registry" })).toThrow();
  });

  test("a refused login is not tried again, and says what to look at", async () => {
    fake.failures.push(401);
    const secured = new SchemaRegistry({ url: fake.url, auth: { username: "ann", password: "p:w" } });
    await expect(secured.idsOf("s")).rejects.toThrow("refuses these credentials");
    const tokened = new SchemaRegistry({ url: fake.url, auth: { token: "t0" } });
    await tokened.idsOf("s");
    expect(fake.authorizations).toEqual(["Basic YW5uOnA6dw==", "Bearer t0"]);
  });
});

describe("JSON Schema", () => {
  const Purchase = z.object({ id: z.string(), cents: z.int() });

  test("has the same wire format around JSON text", async () => {
    const schema = { title: "Purchase", ...z.toJSONSchema(Purchase) };
    const serde = registryJson(registry, schema, Purchase, { subject: topicSubject("t") });
    await serde.prepare?.("write");
    const bytes = serde.serialize(VALUE);
    expect(Buffer.from(bytes).toString("latin1")).toBe('\0\0\0\0\x01{"id":"a","cents":5}');
    expect(fake.schemas[0]).toMatchObject({ schemaType: "JSON" });
    const reader = registryJson(another(), schema, Purchase, { subject: topicSubject("t") });
    expect(await deserializeLoaded(reader, bytes)).toEqual(VALUE);
    const wrong = Buffer.concat([bytes.subarray(0, 5), Buffer.from('{"id":1,"cents":5}')]);
    expect(() => reader.deserialize(wrong)).toThrow(/^id: /);
  });
});
