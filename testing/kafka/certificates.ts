import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";

/** A certificate with its key, both PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  readonly commonName: string;
  /** Names and IPv4 addresses that the certificate is for. */
  readonly hosts?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Who signs it; without one it is an authority that signs itself. */
  readonly issuer?: Certificate & { readonly commonName: string };
}

const DAY_MS = 86_400_000;

/** Makes a certificate for tests: written here, since neither Node nor a machine with only Docker has a tool for it. */
export function makeCertificate(options: CertificateOptions): Certificate & { readonly commonName: string } {
  const { commonName, issuer } = options;
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signature = sequence(oid(ECDSA_WITH_SHA256));
  const toBeSigned = sequence(
    tagged(0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    signature,
    name(issuer?.commonName ?? commonName),
    sequence(time(options.notBefore ?? daysFromNow(-1)), time(options.notAfter ?? daysFromNow(30))),
    name(commonName),
    publicKey.export({ type: "spki", format: "der" }),
    tagged(3, sequence(...extensions(options))),
  );
  const signer: KeyObject = issuer === undefined ? privateKey : createPrivateKey(issuer.key);
  const der = sequence(toBeSigned, signature, bitString(sign("sha256", toBeSigned, signer)));
  return {
    commonName,
    cert: `-----BEGIN CERTIFICATE-----\n${lines(der.toString("base64"))}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  };
}

function daysFromNow(days: number): Date {
  return new Date(Date.now() + days * DAY_MS);
}

function lines(base64: string): string {
  return base64.replace(/(.{64})(?=.)/g, "$1\n");
}

// ---- DER, as far as a certificate needs it ----

const ECDSA_WITH_SHA256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const COMMON_NAME = [0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS = [0x55, 0x1d, 0x13];
const SUBJECT_ALTERNATIVE_NAME = [0x55, 0x1d, 0x11];
const TRUE = Buffer.from([0x01, 0x01, 0xff]);

function extensions({ hosts = [], issuer }: CertificateOptions): Buffer[] {
  const alternatives = hosts.map((host) =>
    isIPv4(host) ? der(0x87, Buffer.from(host.split(".").map(Number))) : der(0x82, Buffer.from(host)),
  );
  return [
    ...(issuer === undefined
      ? [sequence(oid(BASIC_CONSTRAINTS), TRUE, der(0x04, sequence(TRUE)))]
      : [sequence(oid(BASIC_CONSTRAINTS), der(0x04, sequence()))]),
    ...(alternatives.length === 0
      ? []
      : [sequence(oid(SUBJECT_ALTERNATIVE_NAME), der(0x04, sequence(...alternatives)))]),
  ];
}

function name(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid(COMMON_NAME), der(0x0c, Buffer.from(commonName)))));
}

function time(date: Date): Buffer {
  const text = date.toISOString().replace(/[-:T]/g, "").replace(/\.\d+/, "");
  // Up to 2049 in two digits (RFC 5280, 4.1.2.5).
  return der(0x17, Buffer.from(text.slice(2)));
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function tagged(number: number, content: Buffer): Buffer {
  return der(0xa0 + number, content);
}

function oid(bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes));
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

function bitString(bytes: Buffer): Buffer {
  return der(0x03, Buffer.concat([Buffer.from([0]), bytes]));
}
