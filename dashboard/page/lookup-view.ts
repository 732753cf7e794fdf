import type { LookupAnswer, LookupDescription } from "../messages.js";
import { byId, element, setText } from "./document.js";
import { age } from "./format.js";
import { markOverflow } from "./overflow.js";
import { Table } from "./tables.js";

const AGAIN_MS = 2_000;
const ANSWER_MAX_MS = 5_000;

/** A search field and its answer, which is asked for again while it stands there. */
export class LookupView {
  readonly card: HTMLElement;
  readonly #description: LookupDescription;
  readonly #table: Table;
  readonly #input: HTMLInputElement;
  readonly #status = element("p", { class: "note", role: "status" });
  readonly #result: HTMLElement;
  #text = "";
  #timer = 0;
  #answered: { readonly text: string; readonly summary: string; readonly atMs: number } | undefined;

  constructor(description: LookupDescription) {
    const { name, title, note, label, placeholder, columns } = description;
    this.#description = description;
    const table = element("table");
    this.#table = new Table(table, title, columns);
    this.#input = element("input", { type: "search", id: `lookup-${name}`, placeholder, maxlength: 256 });
    this.#input.autocomplete = "off";
    this.#input.spellcheck = false;
    const form = element("form", { class: "search", role: "search", "aria-label": title });
    form.append(element("label", { for: `lookup-${name}` }, label), this.#input, element("button", {}, "Search"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search(this.#input.value.trim());
    });
    this.#result = element(
      "div",
      { class: "scroll tall", role: "group", "aria-label": `${title}: result`, tabindex: 0 },
      table,
    );
    this.#result.hidden = true;
    markOverflow(this.#result);
    const head = element("div", { class: "head" }, element("h2", { id: `lookup-title-${name}` }, title));
    head.append(element("p", { class: "note" }, note));
    this.card = element("section", { class: "card", "aria-labelledby": `lookup-title-${name}` });
    this.card.append(head, form, this.#status, this.#result);
    window.setInterval(() => this.#showAge(), 500);
    const asked = new URLSearchParams(location.hash.slice(1)).get(name);
    if (asked !== null && asked !== "") {
      this.#input.value = asked;
      this.#search(asked);
    }
  }

  #search(text: string): void {
    window.clearTimeout(this.#timer);
    this.#text = text;
    this.#answered = undefined;
    const hash = new URLSearchParams(text === "" ? {} : { [this.#description.name]: text });
    history.replaceState(null, "", text === "" ? location.pathname : `#${hash}`);
    this.#result.hidden = true;
    setText(this.#status, text === "" ? "" : "searching…");
    if (text !== "") void this.#ask(text);
  }

  async #ask(text: string): Promise<void> {
    try {
      const query = new URLSearchParams({ name: this.#description.name, text });
      const answer = await fetch(`/lookup?${query}`, { signal: AbortSignal.timeout(ANSWER_MAX_MS) });
      const body: unknown = await answer.json();
      if (text !== this.#text) return;
      if (answer.ok) this.#show(text, body as LookupAnswer);
      else this.#fail((body as { error: { message: string } }).error.message);
    } catch (error) {
      if (text === this.#text) this.#fail(error instanceof Error ? error.message : String(error));
    }
    if (text === this.#text) this.#timer = window.setTimeout(() => void this.#ask(text), AGAIN_MS);
  }

  #show(text: string, { rows, summary, atMs }: LookupAnswer): void {
    this.#answered = { text, summary, atMs: performance.now() };
    this.#result.hidden = rows.length === 0;
    this.#table.show(rows, atMs, "");
    this.#showAge();
  }

  #fail(message: string): void {
    const old =
      this.#answered === undefined ? "" : ` What stands below is ${age(performance.now() - this.#answered.atMs)} old.`;
    setText(this.#status, `No answer: ${message}.${old}`);
  }

  #showAge(): void {
    if (this.#answered === undefined) return;
    const ageMs = performance.now() - this.#answered.atMs;
    if (ageMs < AGAIN_MS + 1_500) setText(this.#status, this.#answered.summary);
    else setText(this.#status, `${this.#answered.summary} · ${age(ageMs)} old`);
  }
}

export function showLookups(descriptions: readonly LookupDescription[]): void {
  byId("lookups").replaceChildren(...descriptions.map((description) => new LookupView(description).card));
}
