import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import type { ISocketFactory } from "kafkajs";

const KEEP_ALIVE_MS = 60_000;
const PROBE_MS = 3_000;
/** The first bytes of a TLS alert, which is what a TLS listener answers to anything else. */
const TLS_ALERT = 0x15;
const TLS_MAJOR_VERSION = 3;

/** ApiVersions v0, correlation id 7, no client id: the one request that every listener answers before a login. */
const API_VERSIONS = Buffer.from([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]);

const answeredInTls = new WeakSet<Socket>();

/** Sockets as `make` (or else KafkaJS) would make them, which note when a plain one meets a TLS listener. */
export function watchedSockets(make: ISocketFactory = plainOrTls): ISocketFactory {
  return (options) => {
    const socket = make(options);
    if (!options.ssl) {
      socket.once("data", (bytes: Buffer) => {
        if (bytes[0] === TLS_ALERT && bytes[1] === TLS_MAJOR_VERSION) answeredInTls.add(socket);
      });
    }
    return socket;
  };
}

export function hasAnsweredInTls(socket: Socket | undefined): boolean {
  return socket !== undefined && answeredInTls.has(socket);
}

const plainOrTls: ISocketFactory = ({ host, port, ssl, onConnect }) => {
  const name = isIP(host) === 0 ? { servername: host } : {};
  const socket = ssl ? connectTls({ host, port, ...name, ...ssl }, onConnect) : connect({ host, port }, onConnect);
  return socket.setKeepAlive(true, KEEP_ALIVE_MS);
};

/**
 * Closes a socket whose requests may still be on their way. After a plain close the kernel goes on to deliver what it has: with a cable that was pulled and is
 * plugged in again an output of at_least_once came behind those of the next owner. A reset drops it. Node resets TCP alone, and throws at TLS and at pipes, which have
 * no remote family.
 */
export function reset(socket: Socket | undefined): void {
  if (socket?.remoteFamily === undefined || socket instanceof TLSSocket) socket?.destroy();
  else socket.resetAndDestroy();
}

/** Whether a Kafka listener without TLS answers there. */
export function answersInPlain(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port }, () => socket.write(API_VERSIONS));
    const settle = (answer: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => settle(false), PROBE_MS);
    socket.on("error", () => settle(false));
    socket.on("close", () => settle(false));
    // size int32, correlation id int32
    socket.once("data", (bytes) => settle(bytes.length >= 8 && bytes.readInt32BE(4) === 7));
  });
}
