import { EXPIRED_HEADER } from "./model.js";
import { type Outage, OutageLines } from "./outage.js";
import { aggregateOf, objectOf } from "./output.js";
import type { ReadRecord } from "./reader.js";
import { printable } from "./text.js";
import type { TopicNames } from "./topics.js";

/** Where lines for programs go: standard output, or a stand-in. */
export interface LineStream {
  write(text: string): boolean;
}

type Fields = Readonly<Record<string, unknown>>;

/** What a command prints with `--json`: one object a line, each with an `event`. A pipe that is full holds the writer up, so nothing piles up. */
export class JsonLines {
  readonly #stream: LineStream;

  constructor(stream: LineStream) {
    this.#stream = stream;
  }

  write(event: string, fields: Fields): void {
    this.#stream.write(`${JSON.stringify({ event, ...fields })}\n`);
  }
}

/** What `live` and `demo` show what goes on with. */
export interface RecordDisplay {
  start(): void;
  add(record: ReadRecord): void;
  /** Something worth a line of its own. */
  print(text: string): void;
  /** What the pipeline is at when it is not just running. */
  notice(text: string | undefined): void;
  /** The brokers do not answer; undefined: they do again. */
  outage(outage: Outage | undefined): void;
  /** What holds all along, as the page's address. */
  about(text: string): void;
  stop(): void;
}

/** Every record of the pipeline's topics as a line for programs; unlike the console it leaves none out. */
export class RecordLines implements RecordDisplay {
  readonly #names: TopicNames;
  readonly #lines: JsonLines;
  readonly #outages = new OutageLines((line) => this.print(line));

  constructor(names: TopicNames, stream: LineStream) {
    this.#names = names;
    this.#lines = new JsonLines(stream);
  }

  start(): void {
    // Nothing is drawn: each record is written as it comes.
  }

  add(record: ReadRecord): void {
    const { inputTopic, outputTopic, lateTopic, expiredTopic, deadLetterTopic } = this.#names;
    const { topic } = record;
    if (topic === inputTopic) this.#record("purchase", record);
    else if (topic === outputTopic) this.#record("aggregate", record, { user: aggregateOf(record)?.userId ?? null });
    else if (topic === lateTopic) this.#record("late", record);
    else if (topic === expiredTopic)
      this.#record("expired", record, { late_by_ms: numberOf(headerOf(record, EXPIRED_HEADER.lateByMs)) });
    else if (topic === deadLetterTopic)
      this.#record("dead-letter", record, { error: headerOf(record, "__streams.errors.message") });
  }

  print(text: string): void {
    this.#lines.write("notice", { message: text });
  }

  outage(outage: Outage | undefined): void {
    this.#outages.show(outage);
  }

  notice(text: string | undefined): void {
    if (text !== undefined) this.print(text);
  }

  about(text: string): void {
    this.print(text);
  }

  stop(): void {
    // What is written is written.
  }

  #record(event: string, record: ReadRecord, more: Fields = {}): void {
    const { topic, partition, offset, timestampMs, value } = record;
    const body = objectOf(value) ?? (value === null ? null : value.toString("utf8"));
    this.#lines.write(event, { topic, partition, offset, timestamp: isoTime(timestampMs), ...more, value: body });
  }
}

/** Null for what Kafka takes for a time and a calendar does not. */
function isoTime(timeMs: number): string | null {
  const time = new Date(timeMs);
  return Number.isNaN(time.getTime()) ? null : time.toISOString();
}

function numberOf(text: string | null): number | null {
  const number = text === null ? Number.NaN : Number(text);
  return Number.isFinite(number) ? number : null;
}

function headerOf({ headers }: ReadRecord, name: string): string | null {
  const found = headers.find(([key]) => key === name)?.[1];
  return found === undefined || found === null ? null : printable(Buffer.from(found).toString("utf8"));
}
