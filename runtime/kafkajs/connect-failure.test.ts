import { expect, test } from "vitest";
import { FatalError } from "../errors.js";
import { connectFailure, type FailedConnect } from "./connect-failure.js";
import { ConnectionLostError } from "./protocol-errors.js";

function error(name: string, message: string, more: object = {}): Error {
  return Object.assign(new Error(message), { name, ...more });
}

function failureOf(cause: unknown, facts: Partial<FailedConnect> = {}): Error {
  return connectFailure({
    cause,
    address: "kafka:9093",
    hasClientCertificate: false,
    mechanism: "plain",
    isStillConnected: false,
    shows: undefined,
    ...facts,
  });
}

const refusedLogin = error("KafkaJSSASLAuthenticationError", "SASL PLAIN authentication failed: Closed connection");

test("a login that the broker refuses is fatal", () => {
  const failure = failureOf(refusedLogin, { isStillConnected: true });
  expect(failure).toBeInstanceOf(FatalError);
  expect(failure.message).toContain("kafka:9093 refused the login with SASL PLAIN (Closed connection)");
});

test("a connection that breaks in the middle of a login is tried again, whatever KafkaJS calls it", () => {
  expect(failureOf(refusedLogin)).toBeInstanceOf(ConnectionLostError);
});

test.each(["ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "ETIMEDOUT", "EHOSTUNREACH", undefined])(
  "a broker that is away (%s) is tried again",
  (code) => {
    expect(failureOf(error("KafkaJSConnectionError", "no", { code }))).toBeInstanceOf(ConnectionLostError);
  },
);

test.each(["ERR_SSL_UNEXPECTED_EOF_WHILE_READING", "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR"])(
  "a broker that ends in the middle of a handshake (%s) is tried again",
  (code) => {
    expect(failureOf(error("KafkaJSConnectionError", "no", { code }))).toBeInstanceOf(ConnectionLostError);
  },
);

test.each([
  ["SELF_SIGNED_CERT_IN_CHAIN", "KAFKA_SSL_CA"],
  ["CERT_HAS_EXPIRED", "has expired"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "another name"],
  ["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "KAFKA_SSL_CERT"],
  ["ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "of a version that both sides know"],
])("TLS that cannot work (%s) is fatal, in one line that says what to do", (code, advice) => {
  const failure = failureOf(error("KafkaJSConnectionError", "Connection error: 80:SSL alert\n", { code }));
  expect(failure).toMatchObject({ code: "TLS_FAILED", message: expect.stringContaining(advice) });
  expect(failure.message).not.toContain("\n");
});

test("only a client that has a certificate is told that it is not accepted", () => {
  const alert = error("KafkaJSConnectionError", "", { code: "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE" });
  expect(failureOf(alert).message).toContain("wants a certificate");
  expect(failureOf(alert, { hasClientCertificate: true }).message).toContain("does not accept");
});
