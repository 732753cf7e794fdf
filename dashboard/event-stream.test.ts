import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, describe, expect, test, vi } from "vitest";
import { EventStream, eventOf } from "./event-stream.js";

const FIRST = eventOf("hello", { n: 0 });
/** Much more than the buffers of two sockets on one machine take. */
const LARGE = Buffer.from(`data: ${"x".repeat(1024 * 1024)}\n\n`);
const messageOf = (update: Buffer, whole = update) => ({ update, whole: () => whole });

let server: Server;
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** A server whose every request opens a stream, and the answers it holds. */
async function serve(stream: EventStream): Promise<{ port: number; responses: ServerResponse[] }> {
  const responses: ServerResponse[] = [];
  server = createServer((_request, response) => {
    responses.push(response);
    stream.open(response, FIRST);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, responses };
}

function page(port: number): { socket: Socket; text: () => string } {
  const socket = connect(port, "127.0.0.1", () => socket.write("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  let text = "";
  socket.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  sockets.push(socket);
  return { socket, text: () => text };
}

/** The sockets have taken all that was written. */
const isTaken = (stream: EventStream) => vi.waitFor(() => expect(stream.heldBytesMax).toBe(0));

describe("a page that reads", () => {
  test("gets the whole picture, then each update", async () => {
    const stream = new EventStream({ pagesMax: 2, stalledMaxMs: 1_000 });
    const { port } = await serve(stream);
    const { text } = page(port);
    await vi.waitFor(() => expect(stream.pages).toBe(1));
    await isTaken(stream);
    stream.broadcast(messageOf(eventOf("snapshot", { n: 1 })), 0);
    await isTaken(stream);
    stream.broadcast(messageOf(eventOf("snapshot", { n: 2 })), 1_000);
    await vi.waitFor(() => expect(text()).toContain('data: {"n":2}'));
    expect(text().match(/\{"n":\d\}/g)).toEqual(['{"n":0}', '{"n":1}', '{"n":2}']);
  });

  test("is forgotten when it goes", async () => {
    const stream = new EventStream({ pagesMax: 2, stalledMaxMs: 1_000 });
    const { port } = await serve(stream);
    const { socket } = page(port);
    await vi.waitFor(() => expect(stream.pages).toBe(1));
    socket.destroy();
    await vi.waitFor(() => expect(stream.pages).toBe(0));
  });
});

test("one page more than the bound is told so, and costs nothing", async () => {
  const stream = new EventStream({ pagesMax: 1, stalledMaxMs: 1_000 });
  const { port } = await serve(stream);
  page(port);
  await vi.waitFor(() => expect(stream.pages).toBe(1));
  const { text } = page(port);
  await vi.waitFor(() => expect(text()).toMatch(/^HTTP\/1.1 503 [\s\S]*close one/));
  expect(stream.pages).toBe(1);
});

describe("a page that stops reading", () => {
  test("is held at most one message, however many there are, and is let go after a while", async () => {
    const stream = new EventStream({ pagesMax: 2, stalledMaxMs: 15_000 });
    const { port, responses } = await serve(stream);
    const { socket } = page(port);
    await vi.waitFor(() => expect(stream.pages).toBe(1));
    socket.pause();
    let heldMax = 0;
    for (let second = 0; second < 40 && stream.pages > 0; second++) {
      stream.broadcast(messageOf(LARGE), second * 1_000);
      heldMax = Math.max(heldMax, stream.heldBytesMax);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(heldMax).toBeGreaterThan(0);
    expect(heldMax).toBeLessThan(LARGE.byteLength + 1024);
    expect(stream.pages).toBe(0);
    expect(responses[0]?.destroyed).toBe(true);
  });

  test("gets the whole picture once it reads again", async () => {
    const stream = new EventStream({ pagesMax: 2, stalledMaxMs: 1_000_000 });
    const { port, responses } = await serve(stream);
    const { socket, text } = page(port);
    await vi.waitFor(() => expect(stream.pages).toBe(1));
    socket.pause();
    for (let second = 0; second < 40; second++) {
      stream.broadcast(messageOf(LARGE), second * 1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(stream.heldBytesMax).toBeGreaterThan(0);
    const drained = once(responses[0] as ServerResponse, "drain");
    socket.resume();
    await drained;
    await isTaken(stream);
    stream.broadcast(messageOf(eventOf("snapshot", { n: 1 }), eventOf("hello", { n: 2 })), 41_000);
    await isTaken(stream);
    stream.broadcast(messageOf(eventOf("snapshot", { n: 3 }), eventOf("hello", { n: 4 })), 42_000);
    await vi.waitFor(() => expect(text().includes('{"n":3}')).toBe(true));
    expect(text().match(/\{"n":[1-4]\}/g)).toEqual(['{"n":2}', '{"n":3}']);
  });

  test("does not keep the others from theirs", async () => {
    const stream = new EventStream({ pagesMax: 2, stalledMaxMs: 1_000_000 });
    const { port } = await serve(stream);
    const stopped = page(port);
    await vi.waitFor(() => expect(stream.pages).toBe(1));
    stopped.socket.pause();
    const { text } = page(port);
    await vi.waitFor(() => expect(stream.pages).toBe(2));
    for (let second = 0; second < 20; second++) stream.broadcast(messageOf(LARGE), second * 1_000);
    await vi.waitFor(() => expect(stream.heldBytesMax).toBeLessThan(LARGE.byteLength + 1024));
    await vi.waitFor(() => {
      stream.broadcast(messageOf(eventOf("snapshot", { n: 7 })), 30_000);
      expect(text().includes('{"n":7}')).toBe(true);
    });
  });
});

test("whatever is in the data, an event is one event", () => {
  const event = eventOf("snapshot", { text: "a\n\nevent: hello\ndata: {}\r\n\u2028" }).toString("utf8");
  expect(event.split("\n")).toHaveLength(4);
  expect(event.endsWith("\n\n")).toBe(true);
});
