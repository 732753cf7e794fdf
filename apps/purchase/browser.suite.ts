import { accessSync, constants } from "node:fs";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, onTestFinished } from "vitest";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

/** @throws with what to install, where there is none: these tests are never skipped */
function executablePath(): string {
  const given = process.env.CHROMIUM;
  const found = (given === undefined || given === "" ? PLACES : [given]).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false; // the next place; when there is none left, the error below says so
    }
  });
  if (found !== undefined) return found;
  throw new Error(
    `no Chromium at ${given ?? PLACES.join(", ")}: apt-get install chromium, or set CHROMIUM to its path`,
  );
}

/** One real Chromium for the tests of a file, and a page in a fresh profile for each. */
export class TestBrowser {
  #browser: Browser | undefined;

  constructor() {
    beforeAll(async () => {
      this.#browser = await chromium.launch({ executablePath: executablePath(), args: FLAGS });
    });
    afterAll(() => this.#browser?.close());
  }

  /** `complaints` are what the browser said: errors of scripts, refusals of the content policy, requests to elsewhere. */
  async open(url: string, options: BrowserContextOptions = {}): Promise<{ page: Page; complaints: string[] }> {
    const context = await (this.#browser as Browser).newContext({ viewport: { width: 1280, height: 900 }, ...options });
    onTestFinished(() => context.close());
    const page = await context.newPage();
    const complaints: string[] = [];
    const origin = new URL(url).origin;
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("request", (request) => {
      if (new URL(request.url()).origin !== origin) complaints.push(`a request to ${request.url()}`);
    });
    await page.goto(url, { waitUntil: "domcontentloaded" });
    return { page, complaints };
  }
}
