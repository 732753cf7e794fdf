import type { AddressInfo } from "node:net";
import { connect, createServer, type Server } from "node:net";
import { type KafkaConfig, logLevel, type SASLOptions } from "kafkajs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type SecuredKafka, startSecuredKafka } from "../../testing/kafka/secured-kafka.js";
import { ConfigError, UnavailableError } from "../errors.js";
import { silentLogger } from "../logger.js";
import { KafkaJsTransport } from "./transport.js";

/** Far below the patience of a request, which is 30 s: what cannot work is not tried for that long. */
const AT_ONCE_MS = 5_000;
const SASL_AUTHENTICATE = 36;

let kafka: SecuredKafka;

beforeAll(async () => {
  kafka = await startSecuredKafka();
});

afterAll(() => kafka?.stop());

function open(address: string, client: Partial<KafkaConfig>): KafkaJsTransport {
  const transport = new KafkaJsTransport({ client: { brokers: [address], ...client }, logger: silentLogger });
  onTestFinished(() => transport.close());
  return transport;
}

/** Connects, and asks something that only those who may be there are told. */
async function use(address: string, client: Partial<KafkaConfig>): Promise<void> {
  const transport = open(address, client);
  await transport.connect();
  await transport.topics.describe(["nothing"]);
}

async function refusal(address: string, client: Partial<KafkaConfig>): Promise<Error> {
  const beganMs = performance.now();
  const error = await use(address, client).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(performance.now() - beganMs).toBeLessThan(AT_ONCE_MS);
  expect(error).toBeInstanceOf(Error);
  expect((error as Error).message).not.toContain("\n");
  return error as Error;
}

const MECHANISMS = ["plain", "scram-sha-256", "scram-sha-512"] as const;

function login(mechanism: (typeof MECHANISMS)[number], password = kafka.user.password): SASLOptions {
  return { mechanism, username: kafka.user.username, password };
}

describe("who may connect", () => {
  test("over TLS, with the authority that has signed the broker's certificate", async () => {
    await use(kafka.at.TLS, { ssl: { ca: kafka.authority.cert } });
  });

  test("over TLS by a name instead of an address", async () => {
    await use(kafka.at.TLS.replace("127.0.0.1", "localhost"), { ssl: { ca: kafka.authority.cert } });
  });

  test("with a certificate of its own, where the broker wants one", async () => {
    await use(kafka.at.TLS_MUTUAL, { ssl: { ca: kafka.authority.cert, ...kafka.client } });
  });

  test.each(MECHANISMS)("with a login by %s, with and without TLS", async (mechanism) => {
    await use(kafka.at.SASL, { sasl: login(mechanism) });
    await use(kafka.at.SASL_TLS, { sasl: login(mechanism), ssl: { ca: kafka.authority.cert } });
  });
});

describe("who may not is told why, at once and in one line", () => {
  test("an authority that has not signed the broker's certificate", async () => {
    for (const ssl of [true, { ca: kafka.strangeAuthority.cert }]) {
      expect(await refusal(kafka.at.TLS, { ssl })).toMatchObject({
        code: "TLS_FAILED",
        message: expect.stringContaining("KAFKA_SSL_CA"),
      });
    }
  });

  test("a broker's certificate that has expired, or is for another name", async () => {
    const ssl = { ca: kafka.authority.cert };
    const [expired, elsewhere] = [kafka.at.TLS_EXPIRED, kafka.at.TLS_OTHER_HOST];
    expect((await refusal(expired, { ssl })).message).toContain(`the certificate of ${expired} has expired`);
    expect((await refusal(elsewhere, { ssl })).message).toContain(
      `the certificate of ${elsewhere} is for another name`,
    );
  });

  test("no certificate where the broker wants one, or one that it does not trust", async () => {
    const ca = kafka.authority.cert;
    const none = await refusal(kafka.at.TLS_MUTUAL, { ssl: { ca } });
    expect(none).toMatchObject({ code: "TLS_FAILED", message: expect.stringContaining("wants a certificate") });
    const strange = await refusal(kafka.at.TLS_MUTUAL, { ssl: { ca, ...kafka.strangeClient } });
    expect(strange).toMatchObject({ code: "TLS_FAILED", message: expect.stringContaining("does not accept") });
  });

  test.each(MECHANISMS)("a wrong password with %s, which is not in the line", async (mechanism) => {
    const wrong = await refusal(kafka.at.SASL, { sasl: login(mechanism, "wr0ng-Wort") });
    expect(wrong).toMatchObject({
      code: "AUTHENTICATION_FAILED",
      message: expect.stringContaining(`refused the login with SASL ${mechanism.toUpperCase()}`),
    });
    expect(wrong.message).not.toContain("wr0ng");
  });

  test("a mechanism that the broker does not have", async () => {
    const oauthBearerProvider = async (): Promise<{ value: string }> => ({ value: "token" });
    const unknown = await refusal(kafka.at.SASL, { sasl: { mechanism: "oauthbearer", oauthBearerProvider } });
    expect(unknown).toMatchObject({
      code: "AUTHENTICATION_FAILED",
      message: expect.stringContaining("no login with SASL OAUTHBEARER"),
    });
  });

  test("no login where the broker wants one: the mechanisms are named", async () => {
    const without = await refusal(kafka.at.SASL, {});
    expect(without.message).toMatch(/wants a login \(SASL [^)]*SCRAM-SHA-256[^)]*\)/);
    const overTls = await refusal(kafka.at.SASL_TLS, { ssl: { ca: kafka.authority.cert } });
    expect(overTls).toMatchObject({ code: "AUTHENTICATION_FAILED" });
  });

  test("a login where the broker knows none", async () => {
    const [plaintext = ""] = kafka.brokers;
    expect((await refusal(plaintext, { sasl: login("plain") })).message).toContain("knows no login");
  });

  test("a plain client on a port with TLS, and the other way round", async () => {
    const [plaintext = ""] = kafka.brokers;
    const ssl = { ca: kafka.authority.cert };
    expect((await refusal(kafka.at.TLS, {})).message).toContain(`${kafka.at.TLS} talks TLS`);
    expect((await refusal(kafka.at.SASL_TLS, { sasl: login("plain") })).message).toContain("talks TLS");
    expect((await refusal(plaintext, { ssl })).message).toContain(`${plaintext} does not talk TLS`);
    expect((await refusal(kafka.at.SASL, { ssl, sasl: login("plain") })).message).toContain("does not talk TLS");
  });
});

test("KafkaJS's own debug log, passed on, holds no password", async () => {
  const lines: string[] = [];
  const note = (data: object, message: string): void => void lines.push(`${message} ${JSON.stringify(data)}`);
  for (const [mechanism, password] of MECHANISMS.flatMap((one) => [
    [one, kafka.user.password] as const,
    [one, "wr0ng-Wort"] as const,
  ])) {
    const client = { brokers: [kafka.at.SASL], sasl: login(mechanism, password), logLevel: logLevel.DEBUG };
    const transport = new KafkaJsTransport({ client, logger: { debug: note, info: note, warn: note, error: note } });
    const failure = await transport.connect().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure === undefined).toBe(password === kafka.user.password);
    await transport.close();
  }
  const said = lines.join("\n");
  expect(said).toContain("SaslAuthenticate");
  for (const password of [kafka.user.password, "wr0ng-Wort"]) {
    expect(said).not.toContain(password);
    expect(said).not.toContain(Buffer.from(password).toString("base64"));
    expect(said).not.toContain(JSON.stringify([...Buffer.from(password)]).slice(1, -1));
  }
});

test("files that hold no certificates are wrong settings, before anything is connected", () => {
  const ssl = { ca: "nothing", cert: kafka.client.cert, key: kafka.strangeClient.key };
  expect(() => open(kafka.at.TLS, { ssl })).toThrow(ConfigError);
});

test("a broker that goes away in the middle of the login is tried again until the time is over", async () => {
  const proxy = await proxyThatCuts(kafka.at.SASL, SASL_AUTHENTICATE);
  const transport = open(`127.0.0.1:${(proxy.address() as AddressInfo).port}`, {
    sasl: login("plain"),
    requestTimeout: 1_000,
  });
  await expect(transport.connect()).rejects.toThrow(UnavailableError);
});

/** Passes bytes on in both directions until a client sends a request of this kind: then it hangs up. */
async function proxyThatCuts(address: string, apiKey: number): Promise<Server> {
  const [host, port] = address.split(":");
  const server = createServer((client) => {
    const broker = connect(Number(port), host);
    for (const socket of [client, broker]) {
      socket.on("error", () => undefined).on("close", () => [client, broker].forEach((one) => void one.destroy()));
    }
    broker.on("data", (bytes) => client.write(bytes));
    client.on("data", (bytes) => {
      if (bytes.readInt16BE(4) === apiKey) client.destroy();
      else broker.write(bytes);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return server;
}
