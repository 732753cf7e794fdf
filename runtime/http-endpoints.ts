import type { HttpRoute } from "./http-router.js";
import { type HttpServer, openHttpServer, sendJson } from "./http-server.js";
import { storeRoutes } from "./http-stores.js";
import type { KafkaStreams } from "./streams.js";

export interface HttpOptions {
  /** Default 127.0.0.1: what these endpoints say is for this machine only, unless someone decides otherwise. */
  readonly host?: string;
  /** Default 8080; 0 takes any free port. */
  readonly port?: number;
  /** What every request but the probes' must show; undefined: nothing. */
  readonly token?: string | undefined;
  /** Routes of your own beside these, behind the same guard: a page, for example. */
  readonly routes?: (streams: KafkaStreams) => readonly HttpRoute[];
}

export type HttpEndpoints = HttpServer;

/**
 * Serves `/healthz`, `/readyz`, `/metrics`, `/stores` and `/sql`.
 *
 * @throws FatalError HTTP_PORT_IN_USE
 */
export async function serveHttp(streams: KafkaStreams, options: HttpOptions): Promise<HttpEndpoints> {
  return openHttpServer({
    host: options.host ?? "127.0.0.1",
    port: options.port ?? 8080,
    token: options.token,
    routes: [...healthRoutes(streams), ...storeRoutes(streams, options.token), ...(options.routes?.(streams) ?? [])],
  });
}

function healthRoutes(streams: KafkaStreams): HttpRoute[] {
  return [
    {
      method: "GET",
      path: "/healthz",
      isOpen: true,
      // Answering at all shows that the event loop turns. Restoring, or a broker that is away, is healthy: a restart would not help.
      handle: (_request, response) => sendJson(response, streams.state === "ERROR" ? 503 : 200, streams.status),
    },
    {
      method: "GET",
      path: "/readyz",
      isOpen: true,
      handle: (_request, response) => sendJson(response, streams.state === "RUNNING" ? 200 : 503, streams.status),
    },
    {
      method: "GET",
      path: "/metrics",
      handle: async (_request, response) => {
        const text = await streams.metrics.text();
        response.writeHead(200, { "content-type": streams.metrics.contentType });
        response.end(text);
      },
    },
  ];
}
