import { StreamsBuilder } from "millrace";
import { string } from "millrace/serdes";
import { afterEach, describe, expect, test, vi } from "vitest";
import { StreamsMetrics } from "../metrics/metrics.js";
import { type HttpServer, openHttpServer } from "../runtime/http-server.js";
import type { StateListener, StreamsStatus } from "../runtime/streams.js";
import { Dashboard, type DashboardOptions } from "./dashboard.js";
import { PointHistory } from "./history.js";
import type { Snapshot } from "./messages.js";

const builder = new StreamsBuilder();
builder.stream("orders", { key: string, value: string }).to("copies");
const topology = builder.build();

let server: HttpServer;
let dashboard: Dashboard;
afterEach(async () => {
  await dashboard.close();
  await server.close();
});

async function open(options: Partial<DashboardOptions> = {}) {
  const streams = {
    metrics: new StreamsMetrics({ applicationId: "orders" }),
    status: { state: "RUNNING", reason: "running", tasks: [] } as StreamsStatus,
    listener: (() => undefined) as StateListener,
    onStateChange(listener: StateListener) {
      this.listener = listener;
      return () => undefined;
    },
  };
  dashboard = new Dashboard(streams, { applicationId: "orders", topology, ...options });
  server = await openHttpServer({ host: "127.0.0.1", port: 0, routes: dashboard.routes });
  return { streams, url: `http://127.0.0.1:${server.port}` };
}

/** Events as they come; ends with the test. */
function listen(url: string): { events: { name: string; data: unknown }[]; end: () => void } {
  const events: { name: string; data: unknown }[] = [];
  const abort = new AbortController();
  const read = async (): Promise<void> => {
    const answer = await fetch(`${url}/events`, { signal: abort.signal });
    let text = "";
    for await (const part of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += part;
      for (let at = text.indexOf("\n\n"); at >= 0; at = text.indexOf("\n\n")) {
        const [name = "", data = ""] = text.slice(0, at).split("\n");
        events.push({ name: name.replace("event: ", ""), data: JSON.parse(data.replace("data: ", "")) });
        text = text.slice(at + 2);
      }
    }
  };
  read().catch((error: Error) => {
    if (!abort.signal.aborted && error.message !== "terminated") throw error;
  });
  return { events, end: () => abort.abort() };
}

describe("the stream of events", () => {
  test("begins with the whole picture and goes on each second; a change of state does not wait for the second", async () => {
    const { streams, url } = await open();
    const { events, end } = listen(url);
    await vi.waitFor(() => expect(events.length).toBeGreaterThanOrEqual(3), 5_000);
    expect(events.slice(0, 2).map(({ name }) => name)).toEqual(["hello", "snapshot"]);
    expect(events[0]?.data).toMatchObject({ applicationId: "orders", history: { atMs: expect.any(Array) } });

    const before = events.length;
    streams.status = { state: "ERROR", reason: "the disk is full", tasks: [] };
    streams.listener("ERROR", "RUNNING");
    await vi.waitFor(() => expect(events.length).toBeGreaterThan(before), 900);
    expect(events.at(-1)?.data).toMatchObject({ state: "ERROR", reason: "the disk is full" });
    end();
    await vi.waitFor(() => expect(dashboard.pages).toBe(0));
  });

  test("is one picture for all pages, whatever their number", async () => {
    const { url } = await open();
    const pages = Array.from({ length: 20 }, () => listen(url));
    await vi.waitFor(() => expect(dashboard.pages).toBe(20), 5_000);
    const times = pages.map(
      ({ events }) =>
        (): number[] =>
          events.filter(({ name }) => name === "snapshot").map(({ data }) => (data as Snapshot).atMs),
    );
    await vi.waitFor(() => {
      for (const timesOf of times) expect(timesOf().length).toBeGreaterThanOrEqual(4);
    }, 10_000);
    const [first = [], ...rest] = times.map((timesOf) => timesOf().slice(-2));
    for (const other of rest) expect(first.some((atMs) => other.includes(atMs))).toBe(true);
    for (const { end } of pages) end();
  });

  test("makes the whole picture once for all pages that open within a second", async () => {
    const { url } = await open();
    const histories = vi.spyOn(PointHistory.prototype, "columns");
    const pages = Array.from({ length: 20 }, () => listen(url));
    await vi.waitFor(() => {
      for (const { events } of pages) expect(events.map(({ name }) => name)).toContain("hello");
    }, 5_000);
    // One for each picture that was the last one meanwhile: a second more or less.
    expect(histories.mock.calls.length).toBeLessThanOrEqual(5);
    for (const { end } of pages) end();
  });
});

describe("a panel", () => {
  test("is read while somebody looks and not else; what it throws is shown beside what was there", async () => {
    let reads = 0;
    const panel = {
      ...{ name: "p", title: "P", note: "", empty: "", everyMs: 0, columns: [{ title: "n", kind: "number" as const }] },
      read: async () => {
        if (++reads > 1) throw new Error("the topic is gone");
        return { rows: [[1]], summary: "one" };
      },
    };
    const { url } = await open({ panels: [panel] });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(reads).toBe(0);
    const { events, end } = listen(url);
    await vi.waitFor(() => {
      const last = events.at(-1)?.data as Partial<Snapshot> | undefined;
      const data = last?.panels?.[0];
      expect(data).toMatchObject({ rows: [[1]], summary: "one", trouble: "the topic is gone" });
      expect(data?.atMs).toBeGreaterThan(0);
    }, 8_000);
    end();
  });
});

describe("a look-up", () => {
  const lookups = [
    {
      ...{ name: "user", title: "", note: "", label: "", placeholder: "", columns: [] },
      find: async (text: string) => {
        if (text === "boom") throw new Error("the store is restoring");
        return { rows: Array.from({ length: 1_000 }, () => [text]), summary: "" };
      },
    },
  ];

  test("gets the text as it was typed, and gives a bounded number of rows", async () => {
    const { url } = await open({ lookups });
    const answer = await fetch(`${url}/lookup?name=user&text=${encodeURIComponent("<b>\"'&/../ü")}`);
    const body = (await answer.json()) as { rows: unknown[][] };
    expect(body.rows).toHaveLength(500);
    expect(body.rows[0]).toEqual(["<b>\"'&/../ü"]);
  });

  test.each([
    ["name=other&text=x", 404],
    ["name=user&text=", 400],
    [`name=user&text=${"x".repeat(257)}`, 400],
    ["name=user&text=boom", 500],
  ])("%s is %i", async (query, status) => {
    const { url } = await open({ lookups });
    const answer = await fetch(`${url}/lookup?${query}`);
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ error: { message: expect.any(String) } });
  });
});

test("the page may load and run nothing but what is served here", async () => {
  const { url } = await open();
  const answer = await fetch(url);
  const policy = answer.headers.get("content-security-policy") ?? "";
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toMatch(/unsafe|http|\*/);
  const html = await answer.text();
  expect(html).not.toMatch(/<script>|<style|\sstyle=|\son\w+=|https?:/);
});
