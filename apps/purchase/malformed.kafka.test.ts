import { partitionOf } from "millrace";
import { beforeAll, expect, test } from "vitest";
import type { Expected } from "../../bench/load.js";
import { eventually, type ProbeRecord } from "../../testing/log-probe.suite.js";
import { type GoodPurchase, malformedRecords, ODD_BUT_GOOD } from "./malformed.suite.js";
import { buildIfStale, NO_DIFFERENCES, Pipeline } from "./pipeline.suite.js";
import { Random } from "./random.js";

const PARTITIONS = 3;
const MALFORMED = 1_000;
const GOOD = 5_000;
const USERS = 200;
const START_MS = Date.UTC(2026, 10, 22, 10);
const WINDOW_MS = 300_000;
/** The odd value in a record that is not odd. */
const PLAIN = (): Partial<ProbeRecord> => ({});

beforeAll(buildIfStale);

/** Good purchases over ten minutes of event time, and their sums. */
class GoodPurchases {
  readonly expected: Expected = new Map();
  #made = 0;

  next(): { readonly purchase: GoodPurchase; readonly ingestionMs: number } {
    const number = this.#made++;
    const ingestionMs = START_MS + Math.floor((number * 600_000) / (GOOD + MALFORMED));
    const cents = 1 + ((number * 37) % 100_000);
    const purchase = {
      transaction_id: `tx-${number}`,
      user_id: `ünal-${number % USERS}`,
      goods: "gift card",
      quantity: 1 + (number % 5),
      price: cents / 100,
      amount: cents / 100,
      timestamp: new Date(ingestionMs - (number % 1_000)).toISOString(),
    };
    return { purchase, ingestionMs };
  }

  counted(): ProbeRecord {
    const odd = this.#made % 10 === 0 ? ODD_BUT_GOOD[(this.#made / 10) % ODD_BUT_GOOD.length] : PLAIN;
    const { purchase, ingestionMs } = this.next();
    const eventMs = Date.parse(purchase.timestamp);
    const key = `${purchase.user_id}@${eventMs - (eventMs % WINDOW_MS)}`;
    const sum = this.expected.get(key) ?? { count: 0, late: 0, cents: 0 };
    this.expected.set(key, { ...sum, count: sum.count + 1, cents: sum.cents + Math.round(purchase.amount * 100) });
    return { key: purchase.user_id, value: JSON.stringify(purchase), timestampMs: ingestionMs, ...odd?.(purchase) };
  }
}

/** Where each record will stand in a topic that nobody else writes to. */
class Places {
  readonly malformed = new Map<string, ProbeRecord>();
  readonly #ends = new Array<number>(PARTITIONS).fill(0);

  put(record: ProbeRecord, isMalformed: boolean, random: Random): ProbeRecord {
    const key = typeof record.key === "string" ? Buffer.from(record.key) : record.key;
    const partition = key === null ? random.between(0, PARTITIONS) : partitionOf(key, PARTITIONS);
    const offset = this.#ends[partition] as number;
    this.#ends[partition] = offset + 1;
    if (isMalformed) this.malformed.set(`${partition}@${offset}`, record);
    return { ...record, partition };
  }
}

function shuffledRounds(
  random: Random,
  goods: GoodPurchases,
): { readonly rounds: readonly ProbeRecord[][]; readonly places: Places } {
  const places = new Places();
  const malformed = malformedRecords(MALFORMED, () => goods.next(), random);
  const all: ProbeRecord[] = [];
  for (const record of malformed) {
    all.push(places.put(record, true, random));
    for (let at = 0; at < GOOD / MALFORMED; at++) all.push(places.put(goods.counted(), false, random));
  }
  const rounds: ProbeRecord[][] = [];
  for (let at = 0; at < all.length; at += 500) rounds.push(all.slice(at, at + 500));
  return { rounds, places };
}

function bufferOf(given: Uint8Array | string | null): Buffer | null {
  return given === null ? null : Buffer.from(given as string);
}

test("1,000 records that are no purchases, between good ones: every good one is counted, every other one is a dead letter, byte for byte", async () => {
  const random = new Random(11);
  const goods = new GoodPurchases();
  const { rounds, places } = shuffledRounds(random, goods);
  const pipeline = await Pipeline.open();
  await pipeline.probe.createTopic(pipeline.input, PARTITIONS);
  const instance = pipeline.start();
  await pipeline.ready(instance);
  for (const round of rounds) await pipeline.probe.write(pipeline.input, round);
  await pipeline.caughtUp();

  expect(instance.hasEnded).toBe(false);
  expect(new Set((await instance.metric("millrace_task_failures_total")).values())).toEqual(new Set([0]));
  expect(await pipeline.differences(goods.expected)).toEqual(NO_DIFFERENCES);
  const letters = await pipeline.probe.read(pipeline.deadLetter);
  const seen = new Set<string>();
  for (const letter of letters) {
    const headers = new Map(
      letter.headers.map(([name, value]) => [name, value === null ? null : Buffer.from(value).toString("utf8")]),
    );
    const place = `${headers.get("__streams.errors.partition")}@${headers.get("__streams.errors.offset")}`;
    seen.add(place);
    const sent = places.malformed.get(place);
    expect(sent, `a dead letter from ${place}, where a good purchase stands`).toBeDefined();
    if (sent === undefined) continue;
    expect(letter.key).toEqual(bufferOf(sent.key));
    expect(bufferOf(sent.value)?.equals(letter.value ?? Buffer.alloc(0)) ?? letter.value === null).toBe(true);
    expect(letter.timestampMs).toBe(sent.timestampMs);
    const own = sent.headers ?? [];
    expect(letter.headers.slice(0, own.length)).toEqual(own);
    expect(letter.headers.slice(own.length).map(([name]) => name)).toEqual([
      "__streams.errors.topic",
      "__streams.errors.partition",
      "__streams.errors.offset",
      "__streams.errors.exception",
      "__streams.errors.message",
      "millrace.stage",
    ]);
    expect(headers.get("__streams.errors.topic")).toBe(pipeline.input);
    expect(headers.get("__streams.errors.exception")).toMatch(/^\w+$/);
    expect(headers.get("__streams.errors.message")).toMatch(/\w/);
    expect(headers.get("millrace.stage")).toMatch(/^(deserialization|processing)$/);
  }
  const lost = [...places.malformed]
    .filter(([place]) => !seen.has(place))
    .map(([place, { value }]) => `${place} ${String(value).slice(0, 200)}`);
  expect(lost).toEqual([]);
  expect(letters).toHaveLength(MALFORMED);
  await eventually("the instance is ready", () => instance.isReady());
  expect(await instance.end("SIGTERM")).toBe(0);
});
