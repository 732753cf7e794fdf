import { byId, setText } from "./document.js";
import { age } from "./format.js";

/** A number older than this is shown with its age. */
const FRESH_MAX_MS = 2_500;
const LOOK_MS = 250;

/** Says how old what stands on the page is: at the top always, and at each card once it is not fresh. */
export class Staleness {
  #lastAtMs: number | undefined;
  #serverAtMs = 0;
  #isConnected = false;
  #isStale = false;
  #announced = "";

  constructor() {
    window.setInterval(() => this.show(), LOOK_MS);
  }

  /** @param serverAtMs the server's clock when it made the message */
  heard(serverAtMs: number): void {
    this.#lastAtMs = performance.now();
    this.#serverAtMs = serverAtMs;
    this.#isConnected = true;
    this.show();
  }

  lost(): void {
    this.#isConnected = false;
    this.show();
  }

  /** The server's clock, as well as this page can tell. */
  get serverNowMs(): number {
    return this.#serverAtMs + (this.#ageMs ?? 0);
  }

  /** For people who hear the page: only what is new, never a number that ticks. */
  announce(text: string): void {
    if (text === this.#announced) return;
    this.#announced = text;
    setText(byId("announcer"), text);
  }

  show(): void {
    const ageMs = this.#ageMs;
    const isStale = !this.#isConnected || ageMs === undefined || ageMs > FRESH_MAX_MS;
    const old = ageMs === undefined ? "" : age(ageMs);
    setText(byId("age"), ageMs === undefined ? "" : isStale ? `${old} old` : `updated ${old} ago`);
    byId("banner").hidden = !isStale || ageMs === undefined;
    document.body.dataset.stale = String(isStale);
    for (const stamp of document.querySelectorAll(".stamp"))
      setText(stamp, isStale && old !== "" ? `as of ${old} ago` : "");
    if (isStale) {
      const what = this.#isConnected ? "No news from the application." : "Disconnected.";
      setText(byId("banner-what"), what);
      setText(byId("banner-age"), `All numbers here are ${old} old. Trying to reach it again.`);
      document.title = `${this.#isConnected ? "no news" : "disconnected"} · ${byId("title").textContent}`;
      if (ageMs !== undefined) this.announce(`${what} Trying to reach it again.`);
    } else if (this.#isStale) this.announce("Connected.");
    this.#isStale = isStale;
  }

  get #ageMs(): number | undefined {
    return this.#lastAtMs === undefined ? undefined : performance.now() - this.#lastAtMs;
  }
}
