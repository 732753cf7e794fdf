import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { FatalError } from "./errors.js";
import type { KafkaStreams } from "./streams.js";

export interface HttpOptions {
  /** Default 127.0.0.1: what these endpoints say is for this machine only, unless someone decides otherwise. */
  readonly host?: string;
  /** Default 8080; 0 takes any free port. */
  readonly port?: number;
}

export interface HttpEndpoints {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

type Handler = (streams: KafkaStreams, response: ServerResponse) => void | Promise<void>;

const ROUTES: Readonly<Record<string, Handler>> = {
  // Answering at all shows that the event loop turns. Restoring, or a broker that is away, is healthy: a restart would not help.
  "/healthz": (streams, response) => sendJson(response, streams.state === "ERROR" ? 503 : 200, streams.status),
  "/readyz": (streams, response) => sendJson(response, streams.state === "RUNNING" ? 200 : 503, streams.status),
  "/metrics": async (streams, response) => {
    const text = await streams.metrics.text();
    response.writeHead(200, { "content-type": streams.metrics.contentType });
    response.end(text);
  },
};

/**
 * Serves `/healthz`, `/readyz` and `/metrics`.
 *
 * @throws FatalError HTTP_PORT_IN_USE
 */
export async function serveHttp(streams: KafkaStreams, options: HttpOptions): Promise<HttpEndpoints> {
  const host = options.host ?? "127.0.0.1";
  const port = options.port ?? 8080;
  const server = createServer((request, response) => void answer(streams, request, response));
  server.requestTimeout = 10_000;
  await listen(server, host, port);
  return { host, port: (server.address() as AddressInfo).port, close: () => closeServer(server) };
}

async function answer(streams: KafkaStreams, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? "/").split("?")[0] as string;
  const handler = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  if (handler === undefined)
    return sendJson(response, 404, { error: `nothing at this path; there are ${Object.keys(ROUTES).join(", ")}` });
  if (request.method !== "GET" && request.method !== "HEAD") return sendJson(response, 405, { error: "only GET" });
  try {
    await handler(streams, response);
  } catch (error) {
    sendJson(response, 500, { error: error instanceof Error ? error.message : String(error) });
  }
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const inUse = error.code === "EADDRINUSE";
      const message = inUse
        ? `port ${port} on ${host} is in use; choose another HTTP_PORT, 0 for any`
        : `cannot listen on ${host}:${port}: ${error.message}`;
      reject(new FatalError(inUse ? "HTTP_PORT_IN_USE" : "HTTP_UNAVAILABLE", message, { cause: error }));
    });
    server.listen(port, host, resolve);
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
