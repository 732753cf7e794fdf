import type { LoggedRecord } from "./log-reader.js";

export type Guarantee = "exactly_once" | "at_least_once";

export interface OutputTopics {
  readonly input: string;
  readonly aggregates: string;
  readonly late: string;
  readonly expired: string;
  readonly deadLetter: string;
}

const MINUTE_MS = 60_000;
const WINDOW_MS = 5 * MINUTE_MS;
const GRACE_MS = 60 * MINUTE_MS;
const LATE_AFTER_MS = 30 * MINUTE_MS;

interface Sums {
  readonly count: number;
  readonly late: number;
  readonly cents: number;
}

interface Purchase {
  readonly transaction_id: string;
  readonly user_id: string;
  readonly amount: number;
  readonly timestamp: string;
}

interface Aggregate {
  readonly window_start: string;
  readonly user_id: string;
  readonly transaction_count: number;
  readonly late_transaction: number;
  readonly total_amount: number;
}

/** How often one input is expected in an output topic, or was seen there. */
type Counts = Map<string, number>;

interface Shown {
  readonly last: Sums;
  readonly partition: number;
}

/**
 * What the pipeline must make of the input topic as it stands there, and what its outputs hold: plain Maps that share no
 * code with the engine or the app. Which records are no purchase comes from whoever made them.
 */
export class Oracle {
  readonly #topics: OutputTopics;
  readonly #guarantee: Guarantee;
  readonly #isInvalid: (record: Pick<LoggedRecord, "key" | "value">) => boolean;
  readonly #streamTimeMs = new Map<number, number>();
  readonly #expected = new Map<string, Sums>();
  readonly #shown = new Map<string, Shown>();
  readonly #wanted = { late: new Map() as Counts, expired: new Map() as Counts, deadLetter: new Map() as Counts };
  readonly #seen = { late: new Map() as Counts, expired: new Map() as Counts, deadLetter: new Map() as Counts };
  readonly #wrongSteps: { readonly at: string; readonly text: string }[] = [];
  /** What the last `differences` were about, as `idsOf` tells it. */
  readonly differing = new Set<string>();
  inputs = 0;
  outputs = 0;
  /** Outputs that were there before; only `at_least_once` may have any. */
  repeats = 0;

  constructor(
    topics: OutputTopics,
    guarantee: Guarantee,
    isInvalid: (record: Pick<LoggedRecord, "key" | "value">) => boolean,
  ) {
    this.#topics = topics;
    this.#guarantee = guarantee;
    this.#isInvalid = isInvalid;
  }

  /** Each partition in its order. */
  saw(record: LoggedRecord): void {
    const { input, aggregates, late, expired, deadLetter } = this.#topics;
    if (record.topic === input) this.#expect(record);
    else this.outputs++;
    if (record.topic === aggregates) this.#sawAggregate(record);
    if (record.topic === late) this.#sawOnce("late", parse<Purchase>(record).transaction_id);
    if (record.topic === expired) this.#sawOnce("expired", `${identity(record)} ${headersOfExpired(record)}`);
    if (record.topic === deadLetter) this.#sawOnce("deadLetter", `${source(record)} ${identity(record)}`);
  }

  /** What an input or an output is about: an input's outputs are about the same. */
  idsOf(record: LoggedRecord): readonly string[] {
    const { input, aggregates, late, expired, deadLetter } = this.#topics;
    const { topic, partition, offset } = record;
    switch (topic) {
      case input: {
        if (this.#isInvalid(record)) return [`deadLetter ${topic}-${partition}@${offset} ${identity(record)}`];
        const { transaction_id, user_id, timestamp } = parse<Purchase>(record);
        const startMs = windowOf(Date.parse(timestamp));
        const atExpired = `expired ${identity(record)} ${windowText(startMs)}`;
        return [`late ${transaction_id}`, `aggregate ${user_id}@${startMs}`, atExpired];
      }
      case aggregates: {
        const { user_id, window_start } = parse<Aggregate>(record);
        return [`aggregate ${user_id}@${Date.parse(window_start)}`];
      }
      case late:
        return [`late ${parse<Purchase>(record).transaction_id}`];
      case expired:
        return [`expired ${identity(record)} ${headersOfExpired(record)}`];
      case deadLetter:
        return [`deadLetter ${source(record)} ${identity(record)}`];
      default:
        return [];
    }
  }

  #expect(record: LoggedRecord): void {
    this.inputs++;
    const { partition, offset, timestampMs } = record;
    if (this.#isInvalid(record)) {
      add(this.#wanted.deadLetter, `${this.#topics.input}-${partition}@${offset} ${identity(record)}`);
      return;
    }
    const { transaction_id, user_id, amount, timestamp } = parse<Purchase>(record);
    const eventMs = Date.parse(timestamp);
    const isLate = eventMs < timestampMs - LATE_AFTER_MS;
    if (isLate) add(this.#wanted.late, transaction_id);
    const streamTimeMs = Math.max(this.#streamTimeMs.get(partition) ?? -1, eventMs);
    this.#streamTimeMs.set(partition, streamTimeMs);
    const startMs = windowOf(eventMs);
    if (startMs + WINDOW_MS + GRACE_MS <= streamTimeMs) {
      add(this.#wanted.expired, `${identity(record)} ${windowText(startMs)}`);
      return;
    }
    const at = `${user_id}@${startMs}`;
    const { count, late, cents } = this.#expected.get(at) ?? { count: 0, late: 0, cents: 0 };
    this.#expected.set(at, {
      count: count + 1,
      late: late + (isLate ? 1 : 0),
      cents: cents + Math.round(amount * 100),
    });
  }

  #sawAggregate(record: LoggedRecord): void {
    const row = parse<Aggregate>(record);
    const at = `${row.user_id}@${Date.parse(row.window_start)}`;
    const last = {
      count: row.transaction_count,
      late: row.late_transaction,
      cents: Math.round(row.total_amount * 100),
    };
    const before = this.#shown.get(at);
    this.#shown.set(at, { last, partition: record.partition });
    if (before === undefined) return;
    if (before.partition !== record.partition)
      this.#wrongSteps.push({ at, text: `${at} has moved to another partition` });
    if (last.count > before.last.count) return;
    this.repeats++;
    // Each commit shows a changed window once, and a window only grows.
    if (this.#guarantee !== "exactly_once") return;
    const text = `${at}: ${told(last)} after ${told(before.last)}, at ${record.partition}@${record.offset}`;
    this.#wrongSteps.push({ at, text });
  }

  #sawOnce(kind: "late" | "expired" | "deadLetter", id: string): void {
    if (add(this.#seen[kind], id) > 1) this.repeats++;
  }

  /** Nothing, if all is well. */
  differences(): string[] {
    this.differing.clear();
    const found: string[] = [];
    const differs = (at: string, text: string): void => {
      this.differing.add(`aggregate ${at}`);
      found.push(text);
    };
    for (const { at, text } of this.#wrongSteps) differs(at, text);
    for (const [at, want] of this.#expected) {
      const has = this.#shown.get(at)?.last;
      if (has === undefined) differs(at, `aggregate of ${at}: missing; expected ${told(want)}`);
      else if (told(has) !== told(want)) differs(at, `aggregate of ${at}: ${told(has)}; expected ${told(want)}`);
    }
    for (const at of this.#shown.keys())
      if (!this.#expected.has(at)) differs(at, `aggregate of ${at}: must not be there`);
    for (const kind of ["late", "expired", "deadLetter"] as const) found.push(...this.#countFaults(kind));
    return found;
  }

  #countFaults(kind: "late" | "expired" | "deadLetter"): string[] {
    const [wanted, seen] = [this.#wanted[kind], this.#seen[kind]];
    const faults: string[] = [];
    for (const id of new Set([...wanted.keys(), ...seen.keys()])) {
      const [want, has] = [wanted.get(id) ?? 0, seen.get(id) ?? 0];
      const isRight = this.#guarantee === "exactly_once" || want === 0 ? has === want : has >= want;
      if (isRight) continue;
      this.differing.add(`${kind} ${id}`);
      faults.push(`${kind}: ${id.slice(0, 200)}: expected ${want} times, found ${has} times`);
    }
    return faults;
  }
}

function windowOf(eventMs: number): number {
  return Math.floor(eventMs / WINDOW_MS) * WINDOW_MS;
}

function windowText(startMs: number): string {
  return `${new Date(startMs).toISOString()} ${new Date(startMs + WINDOW_MS).toISOString()}`;
}

function add(counts: Counts, id: string): number {
  const count = (counts.get(id) ?? 0) + 1;
  counts.set(id, count);
  return count;
}

function parse<T>({ value }: LoggedRecord): T {
  return JSON.parse(String(value)) as T;
}

/** Key and value, byte for byte; a null is no empty value. */
export function identity({ key, value }: Pick<LoggedRecord, "key" | "value">): string {
  return `${key?.toString("base64") ?? "null"}/${value?.toString("base64") ?? "null"}`;
}

function headersOfExpired({ headers }: LoggedRecord): string {
  return `${headers.get("millrace.window_start")} ${headers.get("millrace.window_end")}`;
}

/** Which record the dead letter says it was. */
function source({ headers }: LoggedRecord): string {
  const part = (name: string): string | undefined => headers.get(`__streams.errors.${name}`);
  return `${part("topic")}-${part("partition")}@${part("offset")}`;
}

function told({ count, late, cents }: Sums): string {
  return `${count} purchases (${late} late) of ${cents} cents`;
}
