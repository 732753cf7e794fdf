import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import type { KafkaConfig } from "kafkajs";

/**
 * What is wrong with the certificates and the key that a client was given, one line each. Node takes an authority that is
 * no certificate without a word, and says what is wrong with a key anew at each connection.
 */
export function tlsFaults(ssl: KafkaConfig["ssl"]): string[] {
  if (typeof ssl !== "object") return [];
  const { ca, cert, key, passphrase } = ssl;
  const faults: string[] = [];
  if (listOf(ca).some((one) => isText(one) && certificateIn(one) === undefined)) {
    faults.push("KAFKA_SSL_CA (ssl.ca): holds no certificate in PEM form");
  }
  if (!isText(cert) || !isText(key)) return faults;
  const certificate = certificateIn(cert);
  const privateKey = keyIn(key, passphrase);
  if (certificate === undefined) faults.push("KAFKA_SSL_CERT (ssl.cert): holds no certificate in PEM form");
  if (privateKey === undefined) {
    faults.push("KAFKA_SSL_KEY (ssl.key): holds no private key in PEM form, or one that needs another passphrase");
  }
  if (certificate !== undefined && privateKey !== undefined && !certificate.checkPrivateKey(privateKey)) {
    faults.push("KAFKA_SSL_KEY (ssl.key): is not the key of KAFKA_SSL_CERT (ssl.cert)");
  }
  return faults;
}

function listOf<T>(given: T | readonly T[] | undefined): readonly T[] {
  if (given === undefined) return [];
  return Array.isArray(given) ? given : [given as T];
}

function isText(given: unknown): given is string | Buffer {
  return typeof given === "string" || Buffer.isBuffer(given);
}

/** The first one of a chain. */
function certificateIn(pem: string | Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

function keyIn(pem: string | Buffer, passphrase: string | undefined): KeyObject | undefined {
  try {
    return createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    return undefined;
  }
}
