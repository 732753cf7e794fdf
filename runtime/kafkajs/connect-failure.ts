import { StreamsError } from "../../topology/errors.js";
import { FatalError } from "../errors.js";
import { ConnectionLostError } from "./protocol-errors.js";

/** What is known of a connection that did not come about. */
export interface FailedConnect {
  readonly cause: unknown;
  /** host:port */
  readonly address: string;
  readonly hasClientCertificate: boolean;
  /** The SASL mechanism; undefined without a login. */
  readonly mechanism: string | undefined;
  /** The broker has answered and not hung up: what failed is the login, not the connection. */
  readonly isStillConnected: boolean;
  /** What listens there, as far as it has shown itself to a client that expected something else. */
  readonly shows: "tls" | "plain" | undefined;
}

/**
 * Why a connection failed, as the error it calls for: what a setting has to mend is fatal, and a broker that is away is
 * tried again.
 */
export function connectFailure(failed: FailedConnect): Error {
  const { cause, address, shows } = failed;
  if (cause instanceof StreamsError) return cause;
  const refusal = loginRefusal(failed) ?? tlsRefusal(failed);
  if (refusal !== undefined) return refusal;
  if (shows === "tls") {
    return tlsFailed(
      `${address} talks TLS, and this client does not: set KAFKA_SSL (ssl), or name a port without TLS`,
      cause,
    );
  }
  if (shows === "plain") {
    return tlsFailed(
      `${address} does not talk TLS, and this client does: name a port with TLS, or leave KAFKA_SSL (ssl) off`,
      cause,
    );
  }
  return new ConnectionLostError(`cannot connect to ${address}: ${messageOf(cause)}`, { sent: false, cause });
}

/** A listener that wants a login hangs up on a client without one at its first request. */
export function loginExpected(address: string, mechanisms: readonly string[]): FatalError {
  return new FatalError(
    "AUTHENTICATION_FAILED",
    `${address} wants a login (SASL ${mechanisms.join(", ")}), and this client has none: set KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD (sasl)`,
  );
}

/** Cut before TLS was there, without a word: the broker went away, or it does not know what TLS is. */
export function isCutInHandshake(cause: unknown): boolean {
  return codeOf(cause) === "ECONNRESET" && messageOf(cause).includes("before secure TLS connection");
}

function loginRefusal({ cause, address, mechanism, isStillConnected }: FailedConnect): FatalError | undefined {
  const refused = (why: string): FatalError => new FatalError("AUTHENTICATION_FAILED", why, { cause });
  switch (nameOf(cause)) {
    // KafkaJS says this as well when the connection breaks in the middle of a login.
    case "KafkaJSSASLAuthenticationError":
      return isStillConnected ? refused(wrongLogin(address, mechanism, messageOf(cause))) : undefined;
    case "KafkaJSProtocolError":
      break;
    default:
      return undefined;
  }
  switch (typeOf(cause)) {
    case "UNSUPPORTED_SASL_MECHANISM":
      return refused(
        `${address} has no login with SASL ${mechanism?.toUpperCase()}: set KAFKA_SASL_MECHANISM (sasl.mechanism) to one of the broker's sasl.enabled.mechanisms`,
      );
    case "ILLEGAL_SASL_STATE":
      return refused(
        `${address} knows no login, and this client wants one: name the port of a SASL listener, or leave KAFKA_SASL_MECHANISM (sasl) away`,
      );
    default:
      return undefined;
  }
}

function wrongLogin(address: string, mechanism: string | undefined, message: string): string {
  const why = message.replace(/^SASL [\w ]+ authentication failed: /, "");
  return `${address} refused the login with SASL ${mechanism?.toUpperCase()} (${why}): check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD (sasl)`;
}

/** The broker's certificate as OpenSSL judges it; what is not here means that its signer is not trusted. */
const JUDGEMENTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "has expired: renew it, or set the clock",
  CERT_NOT_YET_VALID: "is not valid yet: set the clock",
  CERT_REVOKED: "is revoked: have another one made",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "is for another name: connect by a name that stands in it, or have one made for this name",
};

const UNTRUSTED: ReadonlySet<string> = new Set([
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "CERT_REJECTED",
  "CERT_CHAIN_TOO_LONG",
  "INVALID_CA",
  "INVALID_PURPOSE",
  "PATH_LENGTH_EXCEEDED",
]);

/** Alerts about the certificate of the client, or that there is none. */
const OF_THE_CLIENT =
  /_ALERT_(BAD_CERTIFICATE|CERTIFICATE_REQUIRED|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|CERTIFICATE_REVOKED|UNSUPPORTED_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)$/;
/** A broker that goes down in the middle of a handshake. */
const OF_A_BROKER_THAT_ENDS = /^ERR_SSL_UNEXPECTED_EOF|_ALERT_INTERNAL_ERROR$|_ALERT_USER_CANCELLED$/;

function tlsRefusal({ cause, address, hasClientCertificate }: FailedConnect): FatalError | undefined {
  const code = codeOf(cause);
  if (code === undefined || OF_A_BROKER_THAT_ENDS.test(code)) return undefined;
  const judgement = JUDGEMENTS[code];
  if (judgement !== undefined) return tlsFailed(`the certificate of ${address} ${judgement} (${code})`, cause);
  if (UNTRUSTED.has(code)) {
    return tlsFailed(
      `the certificate of ${address} is not signed by an authority that is trusted here (${code}): name the file of the right one in KAFKA_SSL_CA (ssl.ca)`,
      cause,
    );
  }
  if (OF_THE_CLIENT.test(code)) {
    const why = hasClientCertificate
      ? "does not accept this client's certificate"
      : "wants a certificate of this client";
    return tlsFailed(
      `${address} ${why} (${code}): set KAFKA_SSL_CERT and KAFKA_SSL_KEY (ssl.cert, ssl.key) to one that the broker trusts`,
      cause,
    );
  }
  if (!/^(ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code)) return undefined;
  return tlsFailed(
    `TLS with ${address} failed (${code}): is it a port with TLS, of a version that both sides know?`,
    cause,
  );
}

function tlsFailed(message: string, cause: unknown): FatalError {
  return new FatalError("TLS_FAILED", message, { cause });
}

function nameOf(cause: unknown): string | undefined {
  return cause instanceof Error ? cause.name : undefined;
}

function codeOf(cause: unknown): string | undefined {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return typeof code === "string" ? code : undefined;
}

function typeOf(cause: unknown): unknown {
  return cause instanceof Error && "type" in cause ? cause.type : undefined;
}

/** OpenSSL's messages end with a line break. */
function messageOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).trim().replace(/\s*\n\s*/g, " ");
}
