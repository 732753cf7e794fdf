import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { StreamsError } from "../topology/errors.js";
import { FatalError } from "./errors.js";
import { HttpGuard } from "./http-guard.js";
import { HttpError, type HttpMethod, type HttpRequest, type HttpRoute, HttpRouter } from "./http-router.js";

export interface HttpServerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly token?: string | undefined;
  readonly routes: readonly HttpRoute[];
  /** After so long without a byte in either direction a connection is closed. Default 90 s, longer than a query may take. */
  readonly idleTimeoutMs?: number;
}

export interface HttpServer {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/** How long a request, its body included, may take to arrive; a client that trickles is cut off. */
const REQUEST_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_TIMEOUT_MS = 5_000;
/** A client that does not read its answer would keep it in memory, and its place among the connections, for ever. */
const IDLE_TIMEOUT_MS = 90_000;
/** Of everyone together: open pages, scrapes and programs. The next one waits in the system's queue, then is refused. */
const CONNECTIONS_MAX = 256;
const BODY_BYTES_MAX = 64 * 1024;

const METHODS: readonly string[] = ["GET", "HEAD", "POST"];
/** On every answer: none of it is to be kept, guessed at or shown inside another site's page. */
const HEADERS = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
};

/**
 * Serves routes over HTTP, to who is let in (`http-guard.ts`).
 *
 * @throws FatalError HTTP_PORT_IN_USE, HTTP_UNAVAILABLE
 */
export async function openHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, token, routes, idleTimeoutMs = IDLE_TIMEOUT_MS } = options;
  const router = new HttpRouter(routes);
  const guard = new HttpGuard({ host, token });
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: 1_000 },
    (request, response) => void answer(router, guard, request, response),
  );
  server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  server.timeout = idleTimeoutMs;
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, host, port);
  return { host, port: (server.address() as AddressInfo).port, close: () => closeServer(server) };
}

async function answer(
  router: HttpRouter,
  guard: HttpGuard,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // A client that goes away in the middle is no failure of ours.
  response.on("error", () => response.destroy());
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  try {
    const { pathname, query } = targetOf(request.url ?? "/");
    const method = request.method ?? "GET";
    if (!METHODS.includes(method))
      throw new HttpError(405, "METHOD_NOT_ALLOWED", `there are ${METHODS.join(", ")}`, { allow: METHODS.join(", ") });
    const { route, parameters } = matched(router, guard, request, { method, pathname });
    const asked: HttpRequest = {
      method: method as HttpMethod | "HEAD",
      path: pathname,
      parameters,
      query,
      headers: request.headers,
      body: () => bodyOf(request),
    };
    await route.handle(asked, response);
  } catch (error) {
    sendError(response, error);
  }
}

/** Who is not let in does not learn which paths there are. */
function matched(
  router: HttpRouter,
  guard: HttpGuard,
  request: IncomingMessage,
  { method, pathname }: { readonly method: string; readonly pathname: string },
): ReturnType<HttpRouter["match"]> {
  try {
    const match = router.match(method, pathname);
    guard.check(request.headers, { isOpen: match.route.isOpen === true });
    return match;
  } catch (error) {
    if (error instanceof HttpError && [400, 404, 405].includes(error.status))
      guard.check(request.headers, { isOpen: false });
    throw error;
  }
}

function targetOf(url: string): { readonly pathname: string; readonly query: URLSearchParams } {
  if (!url.startsWith("/"))
    throw new HttpError(400, "BAD_PATH", "the request names a whole address or none; this is no proxy");
  const at = url.indexOf("?");
  const pathname = at === -1 ? url : url.slice(0, at);
  return { pathname, query: new URLSearchParams(at === -1 ? "" : url.slice(at + 1)) };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > BODY_BYTES_MAX)
      throw new HttpError(413, "BODY_TOO_LARGE", `a body has at most ${BODY_BYTES_MAX} bytes`, { connection: "close" });
    chunks.push(chunk);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new HttpError(400, "BAD_BODY", "the body is no UTF-8");
  }
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  response.end(`${JSON.stringify(body)}\n`);
}

/** `{"error": {"code", "message"}}`. */
function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) return void response.destroy();
  const isOurs = error instanceof HttpError;
  const code = isOurs || error instanceof StreamsError ? error.code : "INTERNAL";
  const message = error instanceof Error ? error.message : String(error);
  for (const [name, value] of Object.entries(isOurs ? error.headers : {})) response.setHeader(name, value);
  sendJson(response, isOurs ? error.status : 500, { error: { code, message } });
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
