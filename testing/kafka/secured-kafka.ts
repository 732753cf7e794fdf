import { type Certificate, makeCertificate } from "./certificates.js";
import { freePort } from "./free-port.js";
import { type LocalKafka, startLocalKafka } from "./local-kafka.js";

/** The listeners beside the plaintext one, each with what is special about it. */
const LISTENERS = {
  TLS: "SSL",
  TLS_MUTUAL: "SSL",
  TLS_EXPIRED: "SSL",
  TLS_OTHER_HOST: "SSL",
  SASL: "SASL_PLAINTEXT",
  SASL_PLAIN_ONLY: "SASL_PLAINTEXT",
  SASL_TLS: "SASL_SSL",
} as const;

export type SecuredListener = keyof typeof LISTENERS;

export interface SecuredKafka extends LocalKafka {
  /** The address of each listener. */
  readonly at: Readonly<Record<SecuredListener, string>>;
  /** Has signed the brokers' certificates, and the client's. */
  readonly authority: Certificate;
  /** Nobody trusts it. */
  readonly strangeAuthority: Certificate;
  readonly client: Certificate;
  readonly strangeClient: Certificate;
  /** May log in with PLAIN and both kinds of SCRAM. */
  readonly user: { readonly username: string; readonly password: string };
}

const USER = { username: "ann", password: "s3cret-Wort-9f2c" } as const;

/** A broker that asks who is there, on one listener of every kind. Without a login, a client is `User:ANONYMOUS`. */
export async function startSecuredKafka(properties: Readonly<Record<string, string>> = {}): Promise<SecuredKafka> {
  const authority = makeCertificate({ commonName: "Test authority" });
  const strangeAuthority = makeCertificate({ commonName: "Strange authority" });
  const signed = (commonName: string, hosts: readonly string[], notAfter?: Date): Certificate =>
    makeCertificate({ commonName, hosts, issuer: authority, ...(notAfter === undefined ? {} : { notAfter }) });
  const here = ["127.0.0.1", "localhost"];
  const broker = signed("broker", here);
  const certificates: Partial<Record<SecuredListener, Certificate>> = {
    TLS: broker,
    TLS_MUTUAL: broker,
    TLS_EXPIRED: signed("expired", here, new Date(Date.now() - 60_000)),
    TLS_OTHER_HOST: signed("elsewhere", ["kafka.example"]),
    SASL_TLS: broker,
  };
  const names = Object.keys(LISTENERS) as SecuredListener[];
  const ports = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await freePort()] as const)));
  const kafka = await startLocalKafka({
    listeners: ports,
    scramUsers: { [USER.username]: USER },
    properties: {
      "listener.security.protocol.map": [
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        ...Object.entries(LISTENERS).map(([name, protocol]) => `${name}:${protocol}`),
      ].join(","),
      ...Object.assign({}, ...names.map((name) => keyStore(name, certificates[name], authority))),
      "listener.name.tls_mutual.ssl.client.auth": "required",
      ...login("sasl"),
      ...login("sasl_tls"),
      ...login("sasl_plain_only"),
      "listener.name.sasl_plain_only.sasl.enabled.mechanisms": "PLAIN",
      ...properties,
    },
  });
  return {
    ...kafka,
    at: Object.fromEntries(names.map((name) => [name, `127.0.0.1:${ports[name]}`])) as SecuredKafka["at"],
    authority,
    strangeAuthority,
    client: signed("client", []),
    strangeClient: makeCertificate({
      commonName: "stranger",
      issuer: { ...strangeAuthority, commonName: "Strange authority" },
    }),
    user: USER,
  };
}

/** PEM in one line, as a file of properties and a container's environment take it. */
function keyStore(
  listener: string,
  certificate: Certificate | undefined,
  authority: Certificate,
): Record<string, string> {
  if (certificate === undefined) return {};
  const oneLine = (pem: string): string => pem.trim().replaceAll("\n", " ");
  const prefix = `listener.name.${listener.toLowerCase()}`;
  return {
    [`${prefix}.ssl.keystore.type`]: "PEM",
    [`${prefix}.ssl.keystore.certificate.chain`]: oneLine(certificate.cert),
    [`${prefix}.ssl.keystore.key`]: oneLine(certificate.key),
    [`${prefix}.ssl.truststore.type`]: "PEM",
    [`${prefix}.ssl.truststore.certificates`]: oneLine(authority.cert),
  };
}

function login(listener: string): Record<string, string> {
  const plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
  const scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
  const prefix = `listener.name.${listener}`;
  return {
    [`${prefix}.sasl.enabled.mechanisms`]: "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    [`${prefix}.plain.sasl.jaas.config`]: `${plain} required user_${USER.username}="${USER.password}";`,
    [`${prefix}.scram-sha-256.sasl.jaas.config`]: `${scram} required;`,
    [`${prefix}.scram-sha-512.sasl.jaas.config`]: `${scram} required;`,
  };
}
