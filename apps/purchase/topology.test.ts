import { bytes, string } from "millrace/serdes";
import { type TestRecord, TopologyTestDriver } from "millrace/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { invalidRecord } from "./invalid-purchases.js";
import { Random } from "./random.js";
import { names } from "./topics.suite.js";
import { purchaseTopology } from "./topology.js";

const NOON = Date.UTC(2026, 10, 22, 12);
const MINUTE = 60_000;

type Raw = TestRecord<Uint8Array, Uint8Array>;

class Pipeline {
  readonly driver: TopologyTestDriver;
  readonly #input;

  constructor(emit: "update" | "final") {
    this.driver = new TopologyTestDriver(purchaseTopology({ ...names, emit }).build());
    this.#input = this.driver.createInputTopic("purchases", bytes, bytes);
  }

  /** A purchase of ann's for 19.99, at this event time, ingested `afterMs` later. */
  buy(
    eventMs: number,
    { afterMs = 0, ...changes }: { readonly afterMs?: number } & Record<string, unknown> = {},
  ): string {
    const purchase = {
      transaction_id: "tx-1",
      user_id: "ann",
      goods: "tea",
      quantity: 1,
      price: 19.99,
      amount: 19.99,
      timestamp: new Date(eventMs).toISOString(),
      ...changes,
    };
    return this.pipe(String(purchase.user_id), JSON.stringify(purchase), eventMs + afterMs);
  }

  pipe(key: string | Buffer | null, value: string | Buffer | null, timestampMs: number): string {
    const buffer = (text: string | Buffer | null): Buffer | null =>
      typeof text === "string" ? Buffer.from(text) : text;
    this.#input.pipeInput(buffer(key), buffer(value), { timestampMs });
    return String(value);
  }

  read(topic: string): readonly Raw[] {
    return this.driver.createOutputTopic(topic, bytes, bytes).readRecordsToList();
  }

  aggregates(): readonly unknown[] {
    return this.read("purchase-aggregates").map(({ value }) => JSON.parse(String(Buffer.from(value!))));
  }
}

const text = (value: Uint8Array | null): string | null => (value === null ? null : Buffer.from(value).toString("utf8"));
const headersOf = (record: Raw): Record<string, string> =>
  Object.fromEntries(record.headers.map(([name, value]) => [name, text(value) ?? "null"]));

let pipeline: Pipeline;
beforeEach(() => {
  pipeline = new Pipeline("update");
});
afterEach(() => pipeline.driver.close());

describe("an aggregate", () => {
  test("has the user's key and the window start as int64, and the fields of the contract in their order", () => {
    pipeline.buy(NOON + MINUTE);
    pipeline.buy(NOON + 2 * MINUTE, { amount: 39.98 });
    const last = pipeline.read("purchase-aggregates").at(-1)!;
    const key = Buffer.from(last.key!);
    expect(key.subarray(0, -8).toString()).toBe("ann");
    expect(key.readBigInt64BE(3)).toBe(BigInt(NOON));
    expect(text(last.value)).toBe(
      '{"window_start":"2026-11-22T12:00:00.000Z","window_end":"2026-11-22T12:05:00.000Z","user_id":"ann","transaction_count":2,"late_transaction":0,"total_amount":59.97}',
    );
    expect(last.timestampMs).toBe(NOON + 2 * MINUTE);
  });

  test("counts late purchases among the others, in the window of their event time", () => {
    pipeline.buy(NOON);
    pipeline.buy(NOON, { afterMs: 30 * MINUTE });
    pipeline.buy(NOON, { afterMs: 30 * MINUTE + 1 });
    expect(pipeline.aggregates().at(-1)).toMatchObject({
      transaction_count: 3,
      late_transaction: 1,
      total_amount: 59.97,
    });
  });

  test("sums cents, not floats", () => {
    for (let n = 0; n < 1_000; n++) pipeline.buy(NOON, { amount: 0.1 });
    expect(pipeline.aggregates().at(-1)).toMatchObject({ total_amount: 100 });
  });
});

test("a late event keeps its key, its fields to the last digit, and gets its times", () => {
  const extra =
    '{"transaction_id":"t","user_id":"ann","goods":"tea","quantity":1,"price":1.50,"amount":1.5,"timestamp":"2026-11-22T13:00:00+01:00","serial":12345678901234567890 } ';
  pipeline.pipe("ann", extra, NOON + 31 * MINUTE);
  const [late] = pipeline.read("late-purchases");
  expect(text(late!.key)).toBe("ann");
  expect(text(late!.value)).toBe(
    `${extra.slice(0, -2)},"event_time":"2026-11-22T12:00:00.000Z","ingestion_time":"2026-11-22T12:31:00.000Z","is_late":1}`,
  );
  expect(late!.timestampMs).toBe(NOON);
});

test("a late event that already has such fields has them once, with our values", () => {
  pipeline.buy(NOON, { afterMs: 31 * MINUTE, is_late: 0, event_time: "never" });
  const [late] = pipeline.read("late-purchases");
  expect(text(late!.value)!.match(/is_late/g)).toHaveLength(1);
  expect(JSON.parse(text(late!.value)!)).toMatchObject({
    is_late: 1,
    event_time: "2026-11-22T12:00:00.000Z",
    goods: "tea",
  });
});

test("what comes behind the watermark is expired: bytes and key unchanged, headers added, not aggregated, late all the same", () => {
  pipeline.buy(NOON + 65 * MINUTE);
  pipeline.aggregates();
  const value = pipeline.buy(NOON + 4 * MINUTE, { afterMs: 62 * MINUTE });
  const [expired] = pipeline.read("expired-purchases");
  expect(text(expired!.key)).toBe("ann");
  expect(text(expired!.value)).toBe(value);
  expect(expired!.timestampMs).toBe(NOON + 4 * MINUTE);
  expect(headersOf(expired!)).toEqual({
    "millrace.window_start": "2026-11-22T12:00:00.000Z",
    "millrace.window_end": "2026-11-22T12:05:00.000Z",
    "millrace.late_by_ms": "0",
    "millrace.stream_time": "2026-11-22T13:05:00.000Z",
  });
  expect(pipeline.aggregates()).toEqual([]);
  expect(pipeline.read("late-purchases")).toHaveLength(1);
});

test("a purchase one millisecond before its window closes is still aggregated", () => {
  pipeline.buy(NOON + 65 * MINUTE - 1);
  pipeline.aggregates();
  pipeline.buy(NOON, { afterMs: 66 * MINUTE });
  expect(pipeline.read("expired-purchases")).toEqual([]);
  expect(pipeline.aggregates()).toMatchObject([{ transaction_count: 1, late_transaction: 1 }]);
});

describe("what is no purchase", () => {
  const random = new Random(1);
  const records = Array.from({ length: 200 }, (_, n) =>
    invalidRecord(random, { transactionId: `tx-${n}`, userId: "ann", ingestionMs: NOON }),
  );

  test("goes to the dead letters, key and value unchanged, its own timestamp, and the reason in its headers", () => {
    for (const { key, value } of records) pipeline.pipe(key, value, NOON);
    const letters = pipeline.read("purchases-dead-letter");
    expect(letters.map(({ key, value }) => [text(key), text(value)])).toEqual(
      records.map(({ key, value }) => [text(key), text(value)]),
    );
    for (const [offset, letter] of letters.entries()) {
      expect(letter.timestampMs).toBe(NOON);
      expect(headersOf(letter)).toMatchObject({
        "__streams.errors.topic": "purchases",
        "__streams.errors.partition": "0",
        "__streams.errors.offset": String(offset),
        "__streams.errors.exception": expect.stringMatching(/\w+/),
        "__streams.errors.message": expect.stringMatching(/\w+/),
        "millrace.stage": expect.stringMatching(/^(deserialization|processing)$/),
      });
    }
    expect(pipeline.aggregates()).toEqual([]);
    expect(pipeline.read("late-purchases")).toEqual([]);
  });

  test("leaves the good ones between untouched, and no window closes because of one from the future", () => {
    for (const { key, value } of records) {
      pipeline.pipe(key, value, NOON);
      pipeline.buy(NOON);
    }
    expect(pipeline.aggregates().at(-1)).toMatchObject({ transaction_count: 200, total_amount: 3998 });
    expect(pipeline.read("expired-purchases")).toEqual([]);
  });

  test("a purchase an hour ahead of its ingestion is one, a millisecond more is none", () => {
    pipeline.buy(NOON, { afterMs: -60 * MINUTE });
    expect(pipeline.read("purchases-dead-letter")).toEqual([]);
    pipeline.buy(NOON, { afterMs: -60 * MINUTE - 1 });
    expect(pipeline.read("purchases-dead-letter")).toHaveLength(1);
  });
});

test("with final results a window speaks once, when event time is an hour past its end", () => {
  const final = new Pipeline("final");
  final.buy(NOON);
  final.buy(NOON + MINUTE);
  final.buy(NOON + 65 * MINUTE - 1);
  expect(final.aggregates()).toEqual([]);
  final.buy(NOON + 65 * MINUTE);
  expect(final.aggregates()).toMatchObject([
    { window_start: "2026-11-22T12:00:00.000Z", transaction_count: 2, total_amount: 39.98 },
  ]);
  final.driver.close();
});

test("the topics' names are the settings'", () => {
  const renamed = { inputTopic: "a", outputTopic: "b", lateTopic: "c", expiredTopic: "d", deadLetterTopic: "e" };
  const driver = new TopologyTestDriver(purchaseTopology({ ...renamed, emit: "update" }).build());
  const input = driver.createInputTopic("a", string, string);
  input.pipeInput("ann", "no JSON", { timestampMs: NOON });
  expect(driver.producedTopicNames()).toEqual(new Set(["e"]));
  driver.close();
});
