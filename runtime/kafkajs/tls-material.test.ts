import { expect, test } from "vitest";
import { makeCertificate } from "../../testing/kafka/certificates.js";
import { tlsFaults } from "./tls-material.js";

const authority = makeCertificate({ commonName: "authority" });
const client = makeCertificate({ commonName: "client", issuer: authority });
const other = makeCertificate({ commonName: "other", issuer: authority });

test("certificates and their key have no faults; nothing at all has none either", () => {
  expect(tlsFaults({ ca: authority.cert, cert: client.cert, key: client.key })).toEqual([]);
  expect(tlsFaults({ ca: [authority.cert, other.cert], cert: Buffer.from(client.cert), key: client.key })).toEqual([]);
  expect(tlsFaults(true)).toEqual([]);
  expect(tlsFaults(undefined)).toEqual([]);
});

test("each fault has its line, and no line holds what was given", () => {
  const faults = tlsFaults({ ca: "first secret", cert: "second secret", key: "third secret" });
  expect(faults.map((fault) => fault.split(" ")[0])).toEqual(["KAFKA_SSL_CA", "KAFKA_SSL_CERT", "KAFKA_SSL_KEY"]);
  expect(faults.join()).not.toContain("secret");
});

test("the key of another certificate is a fault", () => {
  expect(tlsFaults({ cert: client.cert, key: other.key })).toEqual([expect.stringContaining("KAFKA_SSL_KEY")]);
});
