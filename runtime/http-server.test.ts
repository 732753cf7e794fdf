import { request } from "node:http";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { HttpError, type HttpRoute } from "./http-router.js";
import { type HttpServer, openHttpServer, sendJson } from "./http-server.js";

const TOKEN = "correct-horse-battery";
const routes: readonly HttpRoute[] = [
  { method: "GET", path: "/healthz", isOpen: true, handle: (_request, response) => sendJson(response, 200, "up") },
  {
    method: "GET",
    path: "/stores/:store/keys/:key",
    handle: ({ parameters, query }, response) =>
      sendJson(response, 200, { ...parameters, ...Object.fromEntries(query) }),
  },
  {
    method: "POST",
    path: "/sql",
    handle: async (asked, response) => sendJson(response, 200, { length: (await asked.body()).length }),
  },
  {
    method: "GET",
    path: "/fails",
    handle: () => {
      throw new Error("no");
    },
  },
  {
    method: "GET",
    path: "/refuses",
    handle: () => {
      throw new HttpError(503, "STORE_MOVED", "elsewhere");
    },
  },
];

let server: HttpServer;
afterEach(() => server.close());

async function open(token?: string): Promise<void> {
  server = await openHttpServer({ host: "127.0.0.1", port: 0, token, routes });
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

/** Node's own client: fetch would not send these headers and paths as they are. */
function ask(
  path: string,
  {
    method = "GET",
    headers = {},
    body = "",
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port: server.port, path, method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: text === "" ? undefined : JSON.parse(text),
        }),
      );
    });
    sent.on("error", reject).end(body);
  });
}

const errorOf = (answer: Answer): unknown => (answer.body as { error: { code: string } }).error.code;

describe("routes", () => {
  test("a part that the route names is decoded, a slash in it included", async () => {
    await open();
    const { body } = await ask("/stores/per%20user/keys/a%2F..%2Fb?from=1");
    expect(body).toEqual({ store: "per user", key: "a/../b", from: "1" });
  });

  test("a path that is not there is 404, a method that it has not is 405 and says which", async () => {
    await open();
    expect(await ask("/stores")).toMatchObject({ status: 404, body: { error: { code: "NOT_FOUND" } } });
    expect(await ask("/../../etc/passwd")).toMatchObject({ status: 404 });
    const posted = await ask("/healthz", { method: "POST" });
    expect(posted).toMatchObject({ status: 405, headers: { allow: "GET" } });
    expect(await ask("/sql")).toMatchObject({ status: 405, headers: { allow: "POST" } });
    expect((await ask("/healthz", { method: "DELETE" })).status).toBe(405);
  });

  test("HEAD is answered as GET, without a body", async () => {
    await open();
    expect(await ask("/healthz", { method: "HEAD" })).toMatchObject({ status: 200, body: undefined });
  });

  test("a percent sign that begins no byte, and an address of another server, are 400", async () => {
    await open();
    expect(errorOf(await ask("/stores/%E0%A4%A/keys/x"))).toBe("BAD_PATH");
    expect(errorOf(await ask("http://elsewhere.example/healthz"))).toBe("BAD_PATH");
  });

  test("what a handler throws is an answer in JSON with its code", async () => {
    await open();
    expect(await ask("/refuses")).toMatchObject({ status: 503, body: { error: { code: "STORE_MOVED" } } });
    expect(await ask("/fails")).toMatchObject({ status: 500, body: { error: { code: "INTERNAL", message: "no" } } });
  });

  test("a body of more than 64 KiB is 413", async () => {
    await open();
    expect((await ask("/sql", { method: "POST", body: "x".repeat(64 * 1024) })).body).toEqual({ length: 65_536 });
    expect(errorOf(await ask("/sql", { method: "POST", body: "x".repeat(64 * 1024 + 1) }))).toBe("BODY_TOO_LARGE");
  });

  test("what is no HTTP is answered with 400 and a closed connection, and the server goes on", async () => {
    await open();
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(server.port, "127.0.0.1", () => socket.write("\0\0nothing like it\r\n\r\n"));
      let text = "";
      socket.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      socket.on("close", () => resolve(text)).on("error", reject);
    });
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect((await ask("/healthz")).status).toBe(200);
  });
});

describe("with a token", () => {
  const path = "/stores/s/keys/k";
  const basic = (password: string): string => `Basic ${Buffer.from(`me:${password}`).toString("base64")}`;

  test.each([`Bearer ${TOKEN}`, `bearer  ${TOKEN}`, basic(TOKEN)])("%s is let in", async (authorization) => {
    await open(TOKEN);
    expect((await ask(path, { headers: { authorization } })).status).toBe(200);
  });

  test.each([
    undefined,
    "Bearer",
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN.slice(1)}`,
    basic("wrong"),
    `Digest ${TOKEN}`,
    TOKEN,
  ])("%s is not, and is told how", async (authorization) => {
    await open(TOKEN);
    const answer = await ask(path, { headers: authorization === undefined ? {} : { authorization } });
    expect(answer).toMatchObject({ status: 401, body: { error: { code: "UNAUTHORIZED" } } });
    expect(answer.headers["www-authenticate"]).toMatch(/^Basic realm=.*, Bearer realm=/);
    expect(JSON.stringify(answer)).not.toContain(TOKEN);
  });

  test("the probes stay open; whoever has no token does not learn which paths there are", async () => {
    await open(TOKEN);
    expect((await ask("/healthz")).status).toBe(200);
    expect((await ask("/nowhere")).status).toBe(401);
    expect((await ask("/sql")).status).toBe(401);
  });

  test("any name may stand in Host: who has the token is no page of another site", async () => {
    await open(TOKEN);
    const headers = { host: "pipeline.example", authorization: `Bearer ${TOKEN}` };
    expect((await ask(path, { headers })).status).toBe(200);
  });
});

describe("on a loopback address without a token", () => {
  const path = "/stores/s/keys/k";

  test.each(["localhost", "localhost:9999", "127.0.0.1:80", "127.1.2.3", "[::1]:8080"])(
    "Host %s is ours",
    async (host) => {
      await open();
      expect((await ask(path, { headers: { host } })).status).toBe(200);
    },
  );

  test.each([
    "evil.example",
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.0.0.1",
    "0.0.0.0",
  ])("Host %s is a name that was bound to us from outside", async (host) => {
    await open();
    expect(errorOf(await ask(path, { headers: { host } }))).toBe("FOREIGN_HOST");
  });

  test("a page of another site is refused, a link that leads here is not", async () => {
    await open();
    const from = (headers: Record<string, string>) => ask(path, { headers });
    expect(errorOf(await from({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }))).toBe("FOREIGN_ORIGIN");
    expect(errorOf(await from({ "sec-fetch-site": "same-site", "sec-fetch-dest": "iframe" }))).toBe("FOREIGN_ORIGIN");
    expect(errorOf(await from({ origin: "https://evil.example" }))).toBe("FOREIGN_ORIGIN");
    expect(errorOf(await from({ origin: "null" }))).toBe("FOREIGN_ORIGIN");
    expect((await from({ "sec-fetch-site": "same-origin", origin: "https://proxy.example" })).status).toBe(200);
    expect((await from({ origin: `http://127.0.0.1:${server.port}` })).status).toBe(200);
    expect((await from({ "sec-fetch-site": "cross-site", "sec-fetch-dest": "document" })).status).toBe(200);
    const form = { "sec-fetch-site": "cross-site", "sec-fetch-dest": "document", origin: "https://evil.example" };
    expect(errorOf(await ask("/sql", { method: "POST", headers: form }))).toBe("FOREIGN_ORIGIN");
  });
});

test("nothing of an answer may be kept, guessed at or framed", async () => {
  await open();
  expect((await ask("/healthz")).headers).toMatchObject({
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-type": "application/json; charset=utf-8",
  });
});

test("a client that does not read its answer loses its connection, and one that reads slowly does not", async () => {
  const large = "x".repeat(32_000_000);
  const handle: HttpRoute["handle"] = (_request, response) => sendJson(response, 200, large);
  const idleTimeoutMs = 1_000;
  const route: HttpRoute = { method: "GET", path: "/large", handle };
  server = await openHttpServer({ host: "127.0.0.1", port: 0, routes: [route], idleTimeoutMs });
  const received = (waitMs: number, everyBytes: number): Promise<number> =>
    new Promise((resolve, reject) => {
      let bytes = 0;
      let pausedAt = 0;
      const socket = connect(server.port, "127.0.0.1", () =>
        socket.write("GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
      );
      const pause = (): void => {
        socket.pause();
        setTimeout(() => socket.resume(), waitMs);
      };
      socket.on("data", (part) => {
        bytes += part.length;
        if (bytes - pausedAt < everyBytes) return;
        pausedAt = bytes;
        pause();
      });
      socket.on("close", () => resolve(bytes)).on("error", reject);
    });

  expect(await received(3_000, 10_000_000)).toBeLessThan(large.length);
  // Sixteen pauses, longer together than a connection may be idle.
  expect(await received(100, 2_000_000)).toBeGreaterThan(large.length);
});
