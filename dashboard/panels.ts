import type { Column, LookupAnswer, PanelData, PanelDescription, Row } from "./messages.js";

export interface PanelRows {
  /** At most `PANEL_ROWS_MAX` of them are shown: the most important first. */
  readonly rows: readonly Row[];
  /** One line about the whole. */
  readonly summary: string;
  /** When the rows were read, where that is not now; null: not yet, so that their number says nothing. */
  readonly atMs?: number | null;
}

/** A table of the application's own on the page, read again and again while somebody looks. */
export interface Panel extends PanelDescription {
  /** At least this long between two reads. */
  readonly everyMs: number;
  /** What is shown now. An error is shown, and it is tried again. */
  read(): Promise<PanelRows>;
  close?(): Promise<void>;
}

/** A question that people put to the application through the page, answered with a table. */
export interface Lookup {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  readonly label: string;
  readonly placeholder: string;
  readonly columns: readonly Column[];
  find(text: string): Promise<Omit<PanelRows, "atMs">>;
}

export const PANEL_ROWS_MAX = 100;
export const LOOKUP_ROWS_MAX = 500;
/** Of the text that is looked up. */
export const LOOKUP_CHARACTERS_MAX = 256;

/** Keeps the last that a panel said, with its age. */
export class PanelReader {
  readonly panel: Panel;
  data: PanelData = { rows: [], atMs: null, trouble: null, summary: "" };
  #nextMs = 0;
  #reading = false;

  constructor(panel: Panel) {
    this.panel = panel;
  }

  /** Begins a read when one is due. Nobody waits for it: a slow panel must not hold the others. */
  refresh(nowMs: number): void {
    if (this.#reading || nowMs < this.#nextMs) return;
    this.#reading = true;
    this.#nextMs = nowMs + this.panel.everyMs;
    void this.#read().finally(() => {
      this.#reading = false;
    });
  }

  async #read(): Promise<void> {
    try {
      const { rows, summary, atMs = Date.now() } = await this.panel.read();
      this.data = { rows: rows.slice(0, PANEL_ROWS_MAX), summary, atMs, trouble: null };
    } catch (error) {
      this.data = { ...this.data, trouble: error instanceof Error ? error.message : String(error) };
    }
  }
}

export async function answerLookup(lookup: Lookup, text: string): Promise<LookupAnswer> {
  const { rows, summary } = await lookup.find(text);
  return { atMs: Date.now(), rows: rows.slice(0, LOOKUP_ROWS_MAX), summary };
}
