import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { LoadStream } from "../../bench/load.js";
import type { PipelineProcess } from "../../bench/pipeline-process.js";
import { freePort } from "../../testing/kafka/free-port.js";
import { eventually } from "../../testing/log-probe.suite.js";
import { TestBrowser } from "./browser.suite.js";
import { buildIfStale, Pipeline } from "./pipeline.suite.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PLOTS = ["throughput", "lag", "latency", "commits", "lateness", "late"];
/** Several processes and a browser, on machines that do other things as well. */
const TIMEOUT_MS = 240_000;
const PANELS = ["windows", "late", "expired", "dead-letters"];

vi.setConfig({ testTimeout: TIMEOUT_MS });
beforeAll(buildIfStale);
const browser = new TestBrowser();

/** An instance at work on purchases of every kind; a minute of event time passes in a second. */
async function startFlow(environment: Record<string, string> = {}) {
  const pipeline = await Pipeline.open();
  const port = await freePort();
  const flags =
    "--partitions 3 --rate 300 --users 200 --late 0.2 --expired 0.05 --invalid 0.05 --time-scale 60 --seed 5";
  pipeline.command(["produce", ...flags.split(" ")]);
  const start = (): PipelineProcess => pipeline.start("1", { HTTP_PORT: String(port), ...environment });
  const instance = start();
  const url = `http://127.0.0.1:${port}/`;
  await eventually("the page is served", async () => (await instance.get("/healthz")) !== undefined);
  return { pipeline, instance, start, url };
}

const text = async (page: Page, selector: string): Promise<string> =>
  (await page.locator(selector).first().textContent()) ?? "";
const isRunning = (page: Page): Promise<void> =>
  page.locator("#state", { hasText: /^running$/ }).waitFor({ timeout: 120_000 });

/** What axe-core has against the page as it is. Scripts for the page are texts here: the tests' own world has no DOM. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(`(async () => {
    const { violations } = await axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"] });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ": " + html.slice(0, 200)));
  })()`);
}

describe("while purchases flow", () => {
  test.each(["1", "2"])("with %s threads plots, tables and drawing move, and a search finds users", async (threads) => {
    const { instance, url } = await startFlow({ THREADS: threads });
    const { page, complaints } = await browser.open(url);
    await isRunning(page);
    for (const name of PANELS) {
      const rows = page.locator(`[data-panel="${name}"] tbody th[scope="row"]`);
      await rows.first().waitFor({ timeout: 30_000 });
    }
    const look = async () => ({
      plots: await Promise.all(
        PLOTS.map((name) =>
          page.evaluate<string>(`document.querySelector('[data-plot="${name}"] canvas').toDataURL()`),
        ),
      ),
      values: await Promise.all(
        PLOTS.map((name) => page.locator(`[data-plot="${name}"] .plot`).getAttribute("aria-label")),
      ),
      panels: await Promise.all(PANELS.map((name) => text(page, `[data-panel="${name}"] tbody`))),
      tasks: await page.locator("#tasks tbody tr").allTextContents(),
      stores: await text(page, "#stores tbody"),
      rates: await page.locator("#graph text.rate").allTextContents(),
      records: await text(page, "#counts b"),
    });
    const before = await look();
    await eventually(
      "all of it has moved",
      async () => {
        const now = await look();
        const still = [
          ...PLOTS.filter((_, at) => now.plots[at] === before.plots[at]),
          ...PANELS.filter((_, at) => now.panels[at] === before.panels[at]),
          ...now.tasks.filter((row, at) => row === before.tasks[at]),
          ...(["stores", "records"] as const).filter((name) => now[name] === before[name]),
          ...(now.rates.join() === before.rates.join() ? ["rates"] : []),
        ];
        return still.length === 0;
      },
      60_000,
    );
    const now = await look();
    for (const label of now.values) expect(label).not.toContain("nothing");
    // 300 a second: what the first arrow says, and the last number of its plot.
    expect(Number(now.rates[0])).toBeGreaterThan(0);
    expect(now.tasks).toEqual([0, 1, 2].map((partition) => expect.stringMatching(`^0_${partition}running`)));
    // No two of the three partitions have more than 137 of the 200 users: so many are in one window only where all are read.
    // The panel is read a little at a time, less where the thread has more to do.
    await eventually("a window shows the users of all partitions", async () => {
      const users = await page.locator('[data-panel="windows"] tbody td.number:nth-child(3)').allTextContents();
      return Math.max(...users.map(Number)) > 150;
    });
    const times = await instance.metric("millrace_thread_activity_seconds_total");
    const working = [...times].filter(([labels, seconds]) => labels.includes('activity="process"') && seconds > 0);
    expect(working).toHaveLength(Number(threads));

    const user = await text(page, '[data-panel="late"] tbody td.text');
    await page.getByLabel("User, or how the name begins").fill(user);
    await page.getByRole("button", { name: "Search" }).click();
    const found = page.locator("#lookups tbody tr");
    await found.first().waitFor();
    expect(new Set(await page.locator("#lookups tbody th").allTextContents())).toEqual(new Set([user]));
    await page.getByLabel("User, or how the name begins").fill("<b>nobody</b>");
    await page.keyboard.press("Enter");
    await page.getByText("no window of such a user is here").waitFor();
    expect(complaints).toEqual([]);
  });

  test("it fits a phone, follows light and dark, holds still when asked to, and reads well to a screen reader", async () => {
    const { url } = await startFlow();
    const looks: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      const { page } = await browser.open(url, { colorScheme });
      await isRunning(page);
      await page.locator('[data-panel="late"] tbody th').first().waitFor({ timeout: 30_000 });
      looks.push(await page.evaluate<string>("getComputedStyle(document.body).backgroundColor"));
      expect(await violations(page)).toEqual([]);
    }
    expect(looks[0]).not.toBe(looks[1]);

    const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
    const { page } = await browser.open(`${url}#user=user-000001`, { ...phone, reducedMotion: "reduce" });
    await isRunning(page);
    await page.locator('[data-panel="dead-letters"] tbody th').first().waitFor({ timeout: 30_000 });
    await page.locator("#lookups tbody th").first().waitFor({ timeout: 30_000 });
    const widths = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]");
    expect(widths).toEqual([360, 360]);
    expect(await violations(page)).toEqual([]);
    const animations = await page.evaluate("document.getAnimations().length");
    expect(animations).toBe(0);
  });

  test("the keyboard alone gets everywhere, and one sees where it is", async () => {
    const { url } = await startFlow();
    const { page } = await browser.open(url);
    await isRunning(page);
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to the content");
    await page.keyboard.press("Enter");
    const seen: string[] = [];
    for (let presses = 0; presses < 30; presses++) {
      await page.keyboard.press("Tab");
      const focused = await page.evaluate<{ name: string; ring: string }>(`(() => {
        const element = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        const name = element.getAttribute("aria-label") || element.id || element.textContent.trim();
        return { name, ring: outlineStyle + " " + outlineWidth };
      })()`);
      seen.push(focused.name);
      if (focused.name === "lookup-user") break;
      expect(focused.ring).toBe("solid 2px");
    }
    expect(seen).toEqual(expect.arrayContaining(["Drawing of the topology", "The same as a table", "Tasks", "Stores"]));
    await page.keyboard.type("user-0001");
    await page.keyboard.press("Enter");
    await page.locator("#lookups tbody th").first().waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.getAttribute('aria-label')")).toBe("A user's windows: result");
  });
});

test("killed, the page says so within 3 s and how old it is; started again without its state, it shows restoring n of m, then running", async () => {
  const pipeline = await Pipeline.open();
  const port = await freePort();
  const load = await LoadStream.open(pipeline.probe.transport, {
    topic: pipeline.input,
    users: 200_000,
    partitions: 3,
    late: 0.1,
    seed: 3,
  });
  // Enough that restoring it takes longer than the page's pictures are apart: 80,000 were over between two of them on a fast machine.
  await load.produce(400_000, Date.UTC(2026, 10, 22, 10), 1_800_000);
  const start = (): PipelineProcess => pipeline.start("1", { HTTP_PORT: String(port) });
  const first = start();
  await pipeline.ready(first);
  await pipeline.caughtUp();
  const { page } = await browser.open(`http://127.0.0.1:${port}/`);
  await isRunning(page);
  expect(await page.locator("#banner").isVisible()).toBe(false);
  expect(await page.locator(".stamp").allTextContents()).not.toContainEqual(expect.stringMatching(/./));

  const killedMs = performance.now();
  await first.end("SIGKILL");
  await page.locator("#banner").waitFor({ state: "visible", timeout: 3_000 });
  expect(performance.now() - killedMs).toBeLessThan(3_000);
  expect(await text(page, "#banner")).toMatch(/Disconnected\. All numbers here are \d s old/);
  await page.locator("#banner", { hasText: "are 4 s old" }).waitFor();
  expect(await page.title()).toBe(`disconnected · ${await text(page, "#title")}`);
  expect(await text(page, "#title")).not.toBe("Millrace");
  expect(await page.getByRole("status").first().textContent()).toContain("Disconnected");
  for (const stamp of await page.locator(".stamp").allTextContents()) expect(stamp).toMatch(/^as of \d+ s ago$/);

  await page.evaluate(`{
    window.seen = [];
    const textOf = (selector) => document.querySelector(selector).textContent;
    const note = () => window.seen.push(textOf("#state") + " " + textOf("#tasks tbody"));
    new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
  }`);
  await rm(pipeline.stateDir(), { recursive: true });
  start();
  await page.locator("#banner").waitFor({ state: "hidden", timeout: 30_000 });
  await isRunning(page);
  const seen = await page.evaluate<string[]>("window.seen");
  const progress = seen
    .filter((line) => line.startsWith("restoring"))
    .map((line) => /(\d[\d,]*) of (\d[\d,]*)/.exec(line));
  expect(progress.some((match) => match !== null && match[1] !== "0" && match[2] !== "0")).toBe(true);
  // It stays to be seen, when the state has long been running.
  expect(await text(page, "#stores tbody")).toMatch(/purchases-per-user[\s\S]*\d{2,3},\d{3}$/);
});

test("a frozen application is one that is silent: the page says so within 3 s, and goes on with it", async () => {
  const { instance, url } = await startFlow();
  const { page } = await browser.open(url);
  await isRunning(page);
  instance.signal("SIGSTOP");
  await page.locator("#banner", { hasText: "No news from the application" }).waitFor({ timeout: 3_600 });
  instance.signal("SIGCONT");
  await page.locator("#banner").waitFor({ state: "hidden" });
});

test("with HTTP_TOKEN a browser is asked for it, and the page works with it as the password", async () => {
  const { url } = await startFlow({ HTTP_TOKEN: "correct-horse-battery" });
  // It is asked, and without anybody to answer that is the end of it.
  await expect(browser.open(url)).rejects.toThrow("ERR_INVALID_AUTH_CREDENTIALS");
  const { page, complaints } = await browser.open(url, {
    httpCredentials: { username: "me", password: "correct-horse-battery" },
  });
  await isRunning(page);
  expect(page.url()).toBe(url);
  expect(complaints).toEqual([]);
});
