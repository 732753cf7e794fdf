import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const ATTEMPT_MS = 2_000;

/** Metadata v1 of no topics, correlation id 7, no client id. */
const METADATA_REQUEST = Buffer.from([0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0]);

/**
 * Whether a broker at this address serves: an open port is not enough, it accepts connections seconds before it has a
 * place in its cluster, and only brokers that have one stand in a metadata answer.
 */
export function isServing(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host, port });
    const settle = (answer: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => settle(false), ATTEMPT_MS);
    socket.on("connect", () => socket.write(METADATA_REQUEST));
    socket.on("error", () => settle(false));
    socket.on("close", () => settle(false));
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      const answer = Buffer.concat(chunks);
      // size int32, correlation id int32, count of brokers int32
      if (answer.length >= 12) settle(answer.readInt32BE(4) === 7 && answer.readInt32BE(8) > 0);
    });
  });
}

/** Resolves when the broker serves; false when `timeoutMs` are over or `gaveUp` says that waiting is in vain. */
export async function becomesServing(
  address: { readonly host: string; readonly port: number },
  timeoutMs: number,
  gaveUp: () => boolean,
): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (Date.now() < deadline && !gaveUp()) {
    if (await isServing(address.host, address.port)) return true;
    await delay(100);
  }
  return false;
}
