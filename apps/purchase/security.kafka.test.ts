import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KafkaJsTransport, silentLogger } from "millrace";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { PipelineProcess } from "../../bench/pipeline-process.js";
import { type SecuredKafka, startSecuredKafka } from "../../testing/kafka/secured-kafka.js";
import { eventually, LogProbe, unique } from "../../testing/log-probe.suite.js";
import { buildIfStale, logLines } from "./pipeline.suite.js";

const CLI = fileURLToPath(new URL("../../dist/apps/purchase/cli.js", import.meta.url));
const ERROR_LEVEL = 50;
/** Far below the patience of a request, which is 30 s; the start of the process is in it. */
const AT_ONCE_MS = 10_000;
const WRONG_PASSWORD = "wr0ng-Wort-77ab";
const PURCHASES = 500;

let kafka: SecuredKafka;
let directory: string;
/** By name, each in a file: certificates and keys, and the password. */
let files: Readonly<Record<"ca" | "strangeCa" | "cert" | "key" | "strangeCert" | "strangeKey" | "password", string>>;

beforeAll(async () => {
  await buildIfStale();
  kafka = await startSecuredKafka();
  directory = await mkdtemp(join(tmpdir(), "millrace-security-"));
  const texts = {
    ca: kafka.authority.cert,
    strangeCa: kafka.strangeAuthority.cert,
    cert: kafka.client.cert,
    key: kafka.client.key,
    strangeCert: kafka.strangeClient.cert,
    strangeKey: kafka.strangeClient.key,
    password: `${kafka.user.password}\n`,
  };
  for (const [name, text] of Object.entries(texts)) await writeFile(join(directory, name), text);
  files = Object.fromEntries(Object.keys(texts).map((name) => [name, join(directory, name)])) as typeof files;
});

afterAll(async () => {
  await kafka?.stop();
  await rm(directory, { recursive: true, force: true });
});

type Environment = Readonly<Record<string, string>>;

function start(command: string, environment: Environment, flags: readonly string[] = []): PipelineProcess {
  const process = new PipelineProcess({ LOG_LEVEL: "debug", ...environment }, [CLI, command, ...flags]);
  onTestFinished(async () => void (await process.end("SIGKILL")));
  return process;
}

function login(mechanism: string, password = kafka.user.password): Environment {
  return {
    KAFKA_SASL_MECHANISM: mechanism,
    KAFKA_SASL_USERNAME: kafka.user.username,
    KAFKA_SASL_PASSWORD: password,
  };
}

/** Nothing that must stay secret stands in it, in no form in which it goes over the wire. */
function expectNoSecret(text: string): void {
  const keys = [kafka.client.key, kafka.strangeClient.key].map((pem) => pem.split("\n")[1] ?? "");
  for (const password of [kafka.user.password, WRONG_PASSWORD]) {
    expect(text).not.toContain(password);
    expect(text).not.toContain(Buffer.from(password).toString("base64"));
    expect(text).not.toContain(Buffer.from(`\0${kafka.user.username}\0${password}`).toString("base64"));
  }
  for (const key of keys) expect(text).not.toContain(key);
}

/** Purchases in, aggregates out, with the real commands over this connection. */
async function expectPipelineToWork(connection: Environment): Promise<void> {
  const id = unique("secured");
  const probe = new LogProbe(new KafkaJsTransport({ client: { brokers: [...kafka.brokers] }, logger: silentLogger }));
  onTestFinished(() => probe.close());
  await probe.transport.connect();
  const topics = { INPUT_TOPIC: `${id}-in`, OUTPUT_TOPIC: `${id}-out`, LATE_TOPIC: `${id}-late` };
  const environment = { ...connection, ...topics, EXPIRED_TOPIC: `${id}-expired`, DEAD_LETTER_TOPIC: `${id}-dead` };
  const producer = start("produce", { ...connection, INPUT_TOPIC: topics.INPUT_TOPIC }, [
    ...["--count", String(PURCHASES), "--rate", "0", "--partitions", "3", "--seed", "1"],
  ]);
  expect(await producer.ended, producer.output).toBe(0);

  const instance = start("run", { ...environment, APPLICATION_ID: id, STATE_DIR: join(directory, id) });
  await eventually(
    () => `the instance is ready; it said:\n${instance.output}`,
    () => instance.isReady(),
  );
  await probe.caughtUp(id, topics.INPUT_TOPIC);
  const counted = new Map<string, number>();
  for (const { key, value } of await probe.read(topics.OUTPUT_TOPIC)) {
    const { transaction_count } = JSON.parse(String(value)) as { readonly transaction_count: number };
    counted.set(String(key?.toString("hex")), transaction_count);
  }
  expect([...counted.values()].reduce((sum, count) => sum + count, 0)).toBe(PURCHASES);
  const said = await Promise.all(["/metrics", "/readyz", "/healthz"].map((path) => instance.get(path)));
  expect(said.map((answer) => answer?.status)).toEqual([200, 200, 200]);
  expect(await instance.end("SIGTERM")).toBe(0);
  expectNoSecret([producer.output, instance.output, ...said.map((answer) => answer?.text)].join("\n"));
}

describe("the pipeline runs, and says nothing secret at LOG_LEVEL=debug", () => {
  test("over TLS", async () => {
    await expectPipelineToWork({ KAFKA_BROKERS: kafka.at.TLS, KAFKA_SSL: "true", KAFKA_SSL_CA: files.ca });
  });

  test("over TLS with a certificate of its own", async () => {
    await expectPipelineToWork({
      KAFKA_BROKERS: kafka.at.TLS_MUTUAL,
      KAFKA_SSL: "true",
      KAFKA_SSL_CA: files.ca,
      KAFKA_SSL_CERT: files.cert,
      KAFKA_SSL_KEY: files.key,
    });
  });

  test("with a login by SCRAM-SHA-256", async () => {
    await expectPipelineToWork({ KAFKA_BROKERS: kafka.at.SASL, ...login("SCRAM-SHA-256") });
  });

  test.each(["PLAIN", "SCRAM-SHA-512"])("over TLS with a login by %s, the password in a file", async (mechanism) => {
    await expectPipelineToWork({
      KAFKA_BROKERS: kafka.at.SASL_TLS,
      KAFKA_SSL: "true",
      KAFKA_SSL_CA: files.ca,
      KAFKA_SASL_MECHANISM: mechanism,
      KAFKA_SASL_USERNAME: kafka.user.username,
      KAFKA_SASL_PASSWORD_FILE: files.password,
    });
  });
});

describe("a connection that cannot work: exit code 1, at once, with one line that says why", () => {
  /** By what is wrong: the settings, and what the line must say. */
  const WRONG: Readonly<Record<string, () => { readonly settings: Environment; readonly says: string }>> = {
    "an unknown authority": () => ({
      settings: { KAFKA_BROKERS: kafka.at.TLS, KAFKA_SSL: "true", KAFKA_SSL_CA: files.strangeCa },
      says: "KAFKA_SSL_CA",
    }),
    "a certificate for another host": () => ({
      settings: { KAFKA_BROKERS: kafka.at.TLS_OTHER_HOST, KAFKA_SSL: "true", KAFKA_SSL_CA: files.ca },
      says: "is for another name",
    }),
    "an expired certificate": () => ({
      settings: { KAFKA_BROKERS: kafka.at.TLS_EXPIRED, KAFKA_SSL: "true", KAFKA_SSL_CA: files.ca },
      says: "has expired",
    }),
    "a client certificate that the broker does not trust": () => ({
      settings: {
        KAFKA_BROKERS: kafka.at.TLS_MUTUAL,
        KAFKA_SSL: "true",
        KAFKA_SSL_CA: files.ca,
        KAFKA_SSL_CERT: files.strangeCert,
        KAFKA_SSL_KEY: files.strangeKey,
      },
      says: "KAFKA_SSL_CERT",
    }),
    "a wrong password, PLAIN": () => ({
      settings: { KAFKA_BROKERS: kafka.at.SASL, ...login("PLAIN", WRONG_PASSWORD) },
      says: "KAFKA_SASL_PASSWORD",
    }),
    "a wrong password, SCRAM": () => ({
      settings: { KAFKA_BROKERS: kafka.at.SASL, ...login("SCRAM-SHA-256", WRONG_PASSWORD) },
      says: "KAFKA_SASL_PASSWORD",
    }),
    "a mechanism that the listener does not have": () => ({
      settings: { KAFKA_BROKERS: kafka.at.SASL_PLAIN_ONLY, ...login("SCRAM-SHA-512") },
      says: "no login with SASL SCRAM-SHA-512",
    }),
    "no login": () => ({ settings: { KAFKA_BROKERS: kafka.at.SASL }, says: "wants a login" }),
    "no TLS on a port with TLS": () => ({ settings: { KAFKA_BROKERS: kafka.at.TLS }, says: "talks TLS" }),
    "TLS on a port without TLS": () => ({
      settings: { KAFKA_BROKERS: kafka.brokers.join(","), KAFKA_SSL: "true", KAFKA_SSL_CA: files.ca },
      says: "does not talk TLS",
    }),
  };

  test.each(Object.keys(WRONG))("%s", async (what) => {
    const { settings, says } = WRONG[what]?.() ?? { settings: {}, says: "" };
    const beganMs = performance.now();
    const instance = start("run", { ...settings, STATE_DIR: join(directory, unique("wrong")) });
    expect(await instance.ended, instance.output).toBe(1);
    expect(performance.now() - beganMs).toBeLessThan(AT_ONCE_MS);
    const errors = logLines(instance).filter(({ level }) => level >= ERROR_LEVEL);
    expect(errors.map(({ msg }) => msg)).toEqual([expect.stringContaining(says)]);
    expectNoSecret(instance.output);
  });

  test.each(["produce", "live"])("`%s` with a wrong password", async (command) => {
    const settings = { KAFKA_BROKERS: kafka.at.SASL, ...login("SCRAM-SHA-512", WRONG_PASSWORD), LOG_LEVEL: "info" };
    const process = start(command, settings);
    expect(await process.ended, process.output).toBe(1);
    expect(process.output).toMatch(/^purchase: [^\n]*refused the login[^\n]*\n$/);
    expectNoSecret(process.output);
  });
});

test("files that are no certificates: exit code 2, and one line for each that names its key", async () => {
  const instance = start("run", {
    KAFKA_BROKERS: kafka.at.TLS_MUTUAL,
    KAFKA_SSL: "true",
    KAFKA_SSL_CA: files.password,
    KAFKA_SSL_CERT: files.cert,
    KAFKA_SSL_KEY: files.strangeKey,
    STATE_DIR: join(directory, unique("wrong")),
  });
  expect(await instance.ended).toBe(2);
  const lines = instance.output.trimEnd().split("\n");
  expect(lines.map((line) => line.split(" ")[0])).toEqual(["KAFKA_SSL_CA", "KAFKA_SSL_KEY"]);
  expectNoSecret(instance.output);
});

test("a broker that is away is waited for, up to the patience of a request: it is no wrong setting", async () => {
  const instance = start("run", { KAFKA_BROKERS: "127.0.0.1:9", STATE_DIR: join(directory, unique("away")) });
  await eventually("it says that it goes on trying", () => instance.output.includes("not yet, trying on"));
  expect((await instance.get("/healthz"))?.status).toBe(200);
  expect(await instance.end("SIGTERM")).toBe(0);
});
