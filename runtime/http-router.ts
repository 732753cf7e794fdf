import type { IncomingHttpHeaders, ServerResponse } from "node:http";

export type HttpMethod = "GET" | "POST";

/** A request as a route's handler sees it. */
export interface HttpRequest {
  /** HEAD is answered by GET's handler; Node leaves the body out. */
  readonly method: HttpMethod | "HEAD";
  /** As it was asked for, without the query. */
  readonly path: string;
  /** The parts of the path that the route names, decoded. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** @throws HttpError 413 beyond the bound, 400 for what is no UTF-8 */
  body(): Promise<string>;
}

export interface HttpRoute {
  readonly method: HttpMethod;
  /** `/stores/:store`: a part that begins with a colon stands for any one part. */
  readonly path: string;
  /** Answers by itself; what it throws becomes an answer in JSON. It may hold the response open, for a stream of events. */
  readonly handle: (request: HttpRequest, response: ServerResponse) => void | Promise<void>;
  /** Answers without the token: for probes, which have none. */
  readonly isOpen?: true;
}

/** An answer that is no success: `status` for HTTP, `code` for programs, the message for people. */
export class HttpError extends Error {
  override readonly name = "HttpError";

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly headers: Readonly<Record<string, string | readonly string[]>> = {},
  ) {
    super(message);
  }
}

export interface RouteMatch {
  readonly route: HttpRoute;
  readonly parameters: Readonly<Record<string, string>>;
}

interface Pattern {
  readonly parts: readonly string[];
  readonly route: HttpRoute;
}

/** Finds the route of a request. A path is taken apart and compared part by part: nothing in it is a file's name. */
export class HttpRouter {
  readonly #patterns: readonly Pattern[];

  constructor(routes: readonly HttpRoute[]) {
    this.#patterns = routes.map((route) => ({ parts: route.path.split("/"), route }));
  }

  /** @throws HttpError 400, 404 or 405 */
  match(method: string, path: string): RouteMatch {
    const parts = path.split("/").map(decoded);
    const found = this.#patterns.flatMap(({ parts: pattern, route }) => {
      const parameters = parametersOf(pattern, parts);
      return parameters === undefined ? [] : [{ route, parameters }];
    });
    if (found.length === 0) {
      const paths = [...new Set(this.#patterns.map(({ route }) => route.path))].join(", ");
      throw new HttpError(404, "NOT_FOUND", `nothing at this path; there are ${paths}`);
    }
    const wanted = method === "HEAD" ? "GET" : method;
    const match = found.find(({ route }) => route.method === wanted);
    if (match !== undefined) return match;
    const allowed = [...new Set(found.map(({ route }) => route.method))].join(", ");
    throw new HttpError(405, "METHOD_NOT_ALLOWED", `this path takes ${allowed}`, { allow: allowed });
  }
}

function parametersOf(pattern: readonly string[], parts: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== parts.length) return undefined;
  const parameters: Record<string, string> = {};
  for (let at = 0; at < pattern.length; at++) {
    const [wanted, part] = [pattern[at] as string, parts[at] as string];
    if (wanted.startsWith(":")) parameters[wanted.slice(1)] = part;
    else if (wanted !== part) return undefined;
  }
  return parameters;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    if (!(cause instanceof URIError)) throw cause;
    throw new HttpError(400, "BAD_PATH", "the path has a percent sign that begins no UTF-8 byte");
  }
}
