import type { Column, PanelData, PanelDescription, Row, Snapshot } from "../messages.js";
import { byId, element, setText } from "./document.js";
import { age, bytes, cell, count, duration, NOTHING, rate, time } from "./format.js";
import { markOverflow } from "./overflow.js";

/** A table whose rows are kept and rewritten: what somebody has selected or scrolled to stays. */
export class Table {
  readonly #columns: readonly Column[];
  readonly #body = element("tbody");

  constructor(table: HTMLElement, caption: string, columns: readonly Column[]) {
    this.#columns = columns;
    const heads = columns.map(({ title, kind }) => element("th", { scope: "col", class: kind }, title));
    table.replaceChildren(
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, ...heads)),
      this.#body,
    );
  }

  show(rows: readonly Row[], nowMs: number, empty: string): void {
    if (rows.length === 0) {
      const only = element("td", { colspan: this.#columns.length, class: "empty" }, empty);
      if (this.#body.textContent !== empty) this.#body.replaceChildren(element("tr", {}, only));
      return;
    }
    if (this.#body.querySelector(".empty") !== null) this.#body.replaceChildren();
    while (this.#body.rows.length > rows.length) this.#body.deleteRow(-1);
    for (const [at, row] of rows.entries()) this.#write(this.#body.rows[at] ?? this.#newRow(), row, nowMs);
  }

  #newRow(): HTMLTableRowElement {
    const row = this.#body.insertRow();
    for (const [at, { kind }] of this.#columns.entries())
      row.append(at === 0 ? element("th", { scope: "row", class: kind }) : element("td", { class: kind }));
    return row;
  }

  #write(target: HTMLTableRowElement, row: Row, nowMs: number): void {
    for (const [at, { kind }] of this.#columns.entries()) {
      const place = target.cells[at] as HTMLTableCellElement;
      const text = cell(row[at] ?? null, kind, nowMs);
      setText(place, text);
      // What a narrow column cuts off.
      if (kind === "text" && place.title !== text) place.title = text;
    }
  }
}

const TASK_COLUMNS: readonly Column[] = [
  { title: "Task", kind: "text" },
  { title: "State", kind: "text" },
  { title: "Lag", kind: "number" },
  { title: "Stream time", kind: "time" },
];

/** Tasks, with a bar for each that is restoring. */
export class TaskTable {
  readonly #body = element("tbody");

  constructor() {
    const heads = TASK_COLUMNS.map(({ title, kind }) => element("th", { scope: "col", class: kind }, title));
    byId("tasks").replaceChildren(
      element("caption", { class: "unseen" }, "Tasks of this instance"),
      element("thead", {}, element("tr", {}, ...heads)),
      this.#body,
    );
  }

  show({ tasks, tasksLeftOut, state, atMs }: Snapshot): void {
    // With several threads they come thread by thread.
    const sorted = [...tasks].sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
    const rows = sorted.map((task) => {
      const isRestoring = task.done !== null && task.total !== null;
      const text = isRestoring ? `${task.state} ${count(task.done)} of ${count(task.total)}` : task.state;
      const status = element("td", { class: "text" }, text);
      if (isRestoring) {
        const label = `Task ${task.id}, changelog read back`;
        status.append(element("progress", { max: Math.max(1, task.total), value: task.done, "aria-label": label }));
      }
      return element(
        "tr",
        { "data-state": task.state },
        element("th", { scope: "row", class: "text" }, task.id),
        status,
        element("td", { class: "number" }, task.lag === null ? NOTHING : count(task.lag)),
        element("td", { class: "time" }, task.streamTimeMs === null ? NOTHING : time(task.streamTimeMs, atMs)),
      );
    });
    if (tasksLeftOut > 0) rows.push(only(`and ${count(tasksLeftOut)} more`));
    if (rows.length === 0) rows.push(only(state === "RUNNING" ? "none: other instances have them all" : "none yet"));
    this.#body.replaceChildren(...rows);
  }
}

function only(text: string): HTMLTableRowElement {
  return element("tr", {}, element("td", { colspan: TASK_COLUMNS.length, class: "empty" }, text));
}

const STORE_COLUMNS: readonly Column[] = [
  { title: "Store", kind: "text" },
  { title: "Rows", kind: "number" },
  { title: "Counted", kind: "text" },
  { title: "Changes/s", kind: "number" },
  { title: "Restored", kind: "text" },
];

export class StoreTable {
  readonly #table = new Table(byId("stores"), "Stores of this instance", STORE_COLUMNS);

  show({ stores, atMs }: Snapshot): void {
    const rows = stores.map(({ name, rows, rowsAtMs, changelogPerSecond, restored, restoreRemaining }): Row => {
      const all = restored + restoreRemaining;
      const progress = restoreRemaining > 0 ? `${count(restored)} of ${count(all)}` : count(restored);
      const counted = rowsAtMs === null || rows === null ? NOTHING : `${age(atMs - rowsAtMs)} ago`;
      return [name, rows, counted, rate(changelogPerSecond), restored === 0 && all === 0 ? "nothing to" : progress];
    });
    this.#table.show(rows, atMs, "this topology has no stores");
  }
}

/** The numbers at the top, and those since the start. */
export function showNumbers(snapshot: Snapshot, commitP99Ms: number | null): void {
  const { totals } = snapshot;
  fill("glance", [
    ["Records in", rate(totals.recordsPerSecond), "per second"],
    ["Records out", rate(totals.producedPerSecond), "per second"],
    ["Lag", count(totals.lag), "records"],
    ["Commit, p99", commitP99Ms === null ? NOTHING : duration(commitP99Ms), "over 3 s"],
    ["Dropped as late", count(totals.droppedLate), "since the start"],
    ["Dead letters", count(totals.deadLetters), "since the start"],
  ]);
  fill("counts", [
    ["Records read", count(totals.records), ""],
    ["Commits", count(totals.commits), totals.failedCommits === 0 ? "" : `${count(totals.failedCommits)} failed`],
    ["Dropped, any reason", count(totals.dropped), ""],
    ["Task failures", count(totals.taskFailures), ""],
    ["Rebalances", count(totals.rebalances), ""],
    ["Buffered input", bytes(totals.bufferedBytes), ""],
  ]);
}

function fill(id: string, entries: readonly (readonly [name: string, value: string, unit: string])[]): void {
  const list = byId(id);
  if (list.children.length === 0) {
    for (const [name] of entries)
      list.append(element("div", {}, element("dt", {}, name), element("dd", {}, element("b"), " ", element("small"))));
  }
  for (const [at, [, value, unit]] of entries.entries()) {
    const entry = list.children[at];
    setText(entry?.querySelector("b") as Element, value);
    setText(entry?.querySelector("small") as Element, unit);
  }
}

/** The application's own tables. */
export class Panels {
  readonly #views: readonly PanelView[];

  constructor(descriptions: readonly PanelDescription[]) {
    this.#views = descriptions.map((description) => new PanelView(description));
    byId("panels").replaceChildren(...this.#views.map(({ card }) => card));
  }

  show({ panels, atMs }: Snapshot): void {
    for (const [at, view] of this.#views.entries()) {
      const data = panels[at];
      if (data !== undefined) view.show(data, atMs);
    }
  }
}

class PanelView {
  readonly card: HTMLElement;
  readonly #table: Table;
  readonly #note = element("p", { class: "note" });
  readonly #description: PanelDescription;

  constructor(description: PanelDescription) {
    const { name, title, columns } = description;
    const table = element("table");
    this.#description = description;
    this.#table = new Table(table, title, columns);
    const head = element("div", { class: "head" }, element("h2", { id: `panel-${name}` }, title));
    head.append(element("span", { class: "stamp" }), this.#note);
    const scroll = element("div", { class: "scroll tall", role: "group", "aria-label": title, tabindex: 0 }, table);
    markOverflow(scroll);
    this.card = element("section", { class: "card panel", "aria-labelledby": `panel-${name}` }, head, scroll);
    this.card.dataset.panel = name;
  }

  show({ rows, atMs, trouble, summary }: PanelData, nowMs: number): void {
    const { note, empty } = this.#description;
    const parts = [note, summary];
    const ageMs = atMs === null ? 0 : nowMs - atMs;
    if (ageMs >= 3_000) parts.push(`read ${age(ageMs)} ago`);
    if (trouble !== null) parts.push(`cannot be read now: ${trouble}`);
    setText(this.#note, parts.filter((part) => part !== "").join(" · "));
    this.card.dataset.trouble = String(trouble !== null);
    // What was empty before there was trouble need not be empty now.
    this.#table.show(rows, nowMs, atMs === null ? "reading…" : trouble === null ? empty : "not known");
  }
}
