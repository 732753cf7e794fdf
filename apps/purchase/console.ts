import { createLogUpdate } from "log-update";
import type { Colors } from "picocolors/types.js";
import { ConsoleModel, type FeedLine, type LineKind, lateText, purchaseText, windowText } from "./console-model.js";
import { eventTimeMs } from "./event-time.js";
import type { RecordDisplay } from "./json-lines.js";
import { type Outage, OutageLines, outageText } from "./outage.js";
import { aggregateOf, objectOf } from "./output.js";
import type { ReadRecord } from "./reader.js";
import { frame, paints } from "./screen.js";
import { type ConsoleStream, colorsFor, type Environment, isTerminal } from "./terminal.js";
import { formatClock, formatCount, printable } from "./text.js";
import type { TopicNames } from "./topics.js";

const REDRAW_MS = 250;
const SKIPPED_NOTE_MS = 1_000;
const WINDOW_LINES_MS = 5_000;
const ONE = {
  purchase: "purchase",
  late: "late event",
  expired: "expired purchase",
  "dead letter": "dead letter",
} as const;
const MANY = {
  purchase: "purchases",
  late: "late events",
  expired: "expired purchases",
  "dead letter": "dead letters",
} as const;
const KINDS: readonly LineKind[] = ["purchase", "late", "expired", "dead letter"];

/**
 * Shows the pipeline's topics as they fill: redrawn in place on a terminal, plain lines elsewhere. It is given records
 * and reads nothing itself.
 */
export class LiveConsole implements RecordDisplay {
  readonly #names: TopicNames;
  readonly #colors: Colors;
  readonly #view: View;
  readonly #model = new ConsoleModel();
  readonly #timers: NodeJS.Timeout[] = [];

  constructor(names: TopicNames, stream: ConsoleStream, environment: Environment) {
    this.#names = names;
    this.#colors = colorsFor(stream, environment);
    const View = isTerminal(stream, environment) ? Terminal : PlainLines;
    this.#view = new View(stream, this.#model, this.#colors);
  }

  start(): void {
    for (const [everyMs, task] of this.#view.tasks()) this.#timers.push(setInterval(task, everyMs));
  }

  /** Draws once more what is known, and leaves it standing. */
  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#view.finish();
  }

  /** A line that stays, above what is redrawn. */
  print(line: string): void {
    this.#view.print(line);
  }

  /** What the pipeline is at when it is not just running. */
  notice(text: string | undefined): void {
    this.#view.notice(text);
  }

  outage(outage: Outage | undefined): void {
    this.#view.outage(outage);
  }

  about(text: string): void {
    this.#view.about(text);
  }

  add(record: ReadRecord): void {
    const { inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic } = this.#names;
    if (record.topic === outputTopic) {
      const row = aggregateOf(record);
      if (row !== undefined) this.#model.addAggregate(row, record.timestampMs);
    }
    if (record.topic === inputTopic) this.#addLine("purchase", () => inputText(record));
    else if (record.topic === lateTopic) this.#addLine("late", () => lateRecordText(record));
    else if (record.topic === expiredTopic) this.#addLine("expired", () => inputText(record));
    else if (record.topic === deadLetterTopic) this.#addLine("dead letter", () => deadLetterText(record));
  }

  #addLine(kind: LineKind, text: () => string): void {
    const line = this.#model.add(kind, Date.now(), text);
    if (line !== undefined) this.#view.show(line);
  }
}

interface View {
  /** What to do again and again, and how often. */
  tasks(): readonly (readonly [everyMs: number, task: () => void])[];
  show(line: FeedLine): void;
  print(line: string): void;
  notice(text: string | undefined): void;
  outage(outage: Outage | undefined): void;
  about(text: string): void;
  finish(): void;
}

/** One frame, drawn over the one before. */
class Terminal implements View {
  readonly #stream: ConsoleStream;
  readonly #model: ConsoleModel;
  readonly #colors: Colors;
  readonly #update: ReturnType<typeof createLogUpdate>;
  #notice: string | undefined;
  #outage: Outage | undefined;
  #about: string | undefined;
  #perSecond = 0;
  #skippedPerSecond = 0;

  constructor(stream: ConsoleStream, model: ConsoleModel, colors: Colors) {
    this.#stream = stream;
    this.#model = model;
    this.#colors = colors;
    this.#update = createLogUpdate(stream as unknown as NodeJS.WritableStream);
  }

  tasks() {
    return [
      [REDRAW_MS, () => this.#draw()],
      [SKIPPED_NOTE_MS, () => this.#measure()],
    ] as const;
  }

  /** The next frame has it. */
  show(): void {}

  print(line: string): void {
    this.#update.persist(line);
  }

  notice(text: string | undefined): void {
    this.#notice = text;
  }

  outage(outage: Outage | undefined): void {
    this.#outage = outage;
  }

  about(text: string): void {
    this.#about = text;
  }

  finish(): void {
    this.#draw();
    this.#update.done();
  }

  #measure(): void {
    this.#perSecond = this.#model.purchasesPerSecond(Date.now());
    this.#skippedPerSecond = this.#model.takeSkipped("purchase");
  }

  #draw(): void {
    const facts = {
      perSecond: this.#perSecond,
      skippedPerSecond: this.#skippedPerSecond,
      notice: this.#outage === undefined ? this.#notice : outageText(this.#outage, Date.now()),
      about: this.#about,
    };
    const size = { columns: this.#stream.columns ?? 80, rows: this.#stream.rows ?? 24 };
    this.#update(frame(this.#model, facts, size, this.#colors));
  }
}

/** A line for each event that is shown, and now and then one for each window that changed. */
class PlainLines implements View {
  readonly #stream: ConsoleStream;
  readonly #model: ConsoleModel;
  readonly #colors: Colors;
  readonly #outages = new OutageLines((line) => this.print(line));

  constructor(stream: ConsoleStream, model: ConsoleModel, colors: Colors) {
    this.#stream = stream;
    this.#model = model;
    this.#colors = colors;
  }

  tasks() {
    return [
      [SKIPPED_NOTE_MS, () => this.#noteSkipped()],
      [WINDOW_LINES_MS, () => this.#printWindows()],
    ] as const;
  }

  show({ kind, text }: FeedLine): void {
    this.print(paints(this.#colors)[kind](`${kind.padEnd(11)}  ${text}`));
  }

  print(line: string): void {
    this.#stream.write(`${line}\n`);
  }

  notice(text: string | undefined): void {
    if (text !== undefined) this.print(text);
  }

  outage(outage: Outage | undefined): void {
    this.#outages.show(outage);
  }

  about(text: string): void {
    this.print(text);
  }

  finish(): void {
    this.#noteSkipped();
    this.#printWindows();
  }

  #noteSkipped(): void {
    const skipped = KINDS.map((kind) => ({ kind, count: this.#model.takeSkipped(kind) })).filter(
      ({ count }) => count > 0,
    );
    if (skipped.length === 0) return;
    const list = skipped.map(({ kind, count }) => `${formatCount(count)} more ${(count === 1 ? ONE : MANY)[kind]}`);
    this.print(`…            ${list.join(", ")}: not shown, this is a sample`);
  }

  #printWindows(): void {
    for (const row of this.#model.takeChangedWindows()) this.print(`window       ${windowText(row)}`);
  }
}

function inputText(record: ReadRecord): string {
  const value = objectOf(record.value);
  if (value === undefined)
    return `${formatClock(record.timestampMs, { milliseconds: true })}  no purchase: ${excerpt(record.value)}`;
  return purchaseText(value, eventTimeOf(value));
}

function lateRecordText(record: ReadRecord): string {
  const value = objectOf(record.value) ?? {};
  const ingestionMs = eventTimeMs(String(value.ingestion_time ?? "")) ?? record.timestampMs;
  return lateText(value, record.timestampMs, ingestionMs);
}

function deadLetterText(record: ReadRecord): string {
  const header = (name: string): string => {
    const found = record.headers.find(([key]) => key === name)?.[1];
    return found === undefined || found === null ? "?" : printable(Buffer.from(found).toString("utf8"));
  };
  return `${header("__streams.errors.message").slice(0, 160)}: ${excerpt(record.value)}`;
}

function eventTimeOf(value: Readonly<Record<string, unknown>>): number | undefined {
  return typeof value.timestamp === "string" ? eventTimeMs(value.timestamp) : undefined;
}

function excerpt(value: Buffer | null): string {
  return value === null ? "null" : printable(value.subarray(0, 80).toString("utf8"));
}
