import { describe, expect, test } from "vitest";
import type { LoggedRecord } from "./log-reader.js";
import { type Guarantee, Oracle } from "./oracle.js";

// The chaos test is worth what its oracle finds: each of these is a pipeline that is wrong in one way.

const TOPICS = { input: "in", aggregates: "out", late: "late", expired: "expired", deadLetter: "dead" };
const NOON_MS = Date.UTC(2026, 10, 22, 12);
const MINUTE_MS = 60_000;

function record(topic: string, offset: number, value: unknown, more: Partial<LoggedRecord> = {}): LoggedRecord {
  const bytes = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
  return {
    ...{ topic, partition: 0, offset, timestampMs: NOON_MS, key: Buffer.from("ann"), value: bytes },
    ...{ headers: new Map(), ...more },
  };
}

function purchase(id: string, eventMs: number, amount: number): object {
  return { transaction_id: id, user_id: "ann", amount, timestamp: new Date(eventMs).toISOString() };
}

function aggregate(offset: number, count: number, amount: number, more: { readonly late?: number } = {}): LoggedRecord {
  return record("out", offset, {
    ...{ user_id: "ann", window_start: new Date(NOON_MS).toISOString() },
    ...{ transaction_count: count, late_transaction: more.late ?? 0, total_amount: amount },
  });
}

const EARLY_MS = NOON_MS - 45 * MINUTE_MS;
const LONG_AGO_MS = NOON_MS - 90 * MINUTE_MS;
const LONG_AGO = { start: "2026-11-22T10:30:00.000Z", end: "2026-11-22T10:35:00.000Z" };

/** Two purchases at noon, one late, one expired and therefore late, one that is none. */
const INPUTS = [
  record("in", 0, purchase("t1", NOON_MS, 1.1)),
  record("in", 1, purchase("t2", NOON_MS + 1, 2.2)),
  record("in", 2, purchase("t3", EARLY_MS, 5)),
  record("in", 3, purchase("t4", LONG_AGO_MS, 7)),
  record("in", 4, "no purchase"),
];
const LATE_ROW = record("out", 1, {
  ...{ user_id: "ann", window_start: "2026-11-22T11:15:00.000Z" },
  ...{ transaction_count: 1, late_transaction: 1, total_amount: 5 },
});
const EXPIRED = record("expired", 0, purchase("t4", LONG_AGO_MS, 7), {
  headers: new Map([
    ["millrace.window_start", LONG_AGO.start],
    ["millrace.window_end", LONG_AGO.end],
  ]),
});
const DEAD = record("dead", 0, "no purchase", {
  headers: new Map([
    ["__streams.errors.topic", "in"],
    ["__streams.errors.partition", "0"],
    ["__streams.errors.offset", "4"],
  ]),
});
const LATE = [record("late", 0, purchase("t3", EARLY_MS, 5)), record("late", 1, purchase("t4", LONG_AGO_MS, 7))];
const RIGHT = [aggregate(0, 2, 3.3), LATE_ROW, ...LATE, EXPIRED, DEAD];

function differences(outputs: readonly LoggedRecord[], guarantee: Guarantee = "exactly_once"): string[] {
  const oracle = new Oracle(TOPICS, guarantee, ({ value }) => String(value) === "no purchase");
  for (const one of [...INPUTS, ...outputs]) oracle.saw(one);
  return oracle.differences();
}

const without = (one: LoggedRecord): LoggedRecord[] => RIGHT.filter((other) => other !== one);

describe("the oracle", () => {
  test.each<Guarantee>(["exactly_once", "at_least_once"])(
    "agrees with outputs that are right, under %s",
    (guarantee) => {
      expect(differences(RIGHT, guarantee)).toEqual([]);
      expect(differences([aggregate(0, 1, 1.1), ...RIGHT], guarantee)).toEqual([]);
    },
  );

  const wrong: readonly [what: string, outputs: readonly LoggedRecord[]][] = [
    ["a purchase counted twice", [...RIGHT, aggregate(9, 3, 4.4)]],
    ["a purchase lost", [aggregate(0, 1, 1.1), ...RIGHT.slice(1)]],
    ["a cent lost", [aggregate(0, 2, 3.29), ...RIGHT.slice(1)]],
    ["an old aggregate after a newer one", [...RIGHT, aggregate(9, 1, 1.1)]],
    ["a window lost", without(LATE_ROW)],
    ["a late event lost", without(LATE[0] as LoggedRecord)],
    ["a late event that was expired as well, lost", without(LATE[1] as LoggedRecord)],
    ["an expired one lost", without(EXPIRED)],
    ["a dead letter lost", without(DEAD)],
    ["a dead letter of another record", [...without(DEAD), { ...DEAD, value: Buffer.from("else") }]],
    ["a late event that is none", [...RIGHT, record("late", 9, purchase("t1", NOON_MS, 1.1))]],
  ];
  test.each(wrong)("finds, under either guarantee: %s", (_, outputs) => {
    for (const guarantee of ["exactly_once", "at_least_once"] as const)
      expect(differences(outputs, guarantee)).not.toEqual([]);
  });

  test("tells of each output what it is about as of the input that it comes from, so that both are found in the log", () => {
    const oracle = new Oracle(TOPICS, "exactly_once", ({ value }) => String(value) === "no purchase");
    for (const one of INPUTS) oracle.saw(one);
    expect(oracle.differences()).toHaveLength(6);
    const outputs = [aggregate(0, 2, 3.3), LATE_ROW, ...LATE, EXPIRED, DEAD];
    expect(new Set(outputs.flatMap((one) => oracle.idsOf(one)))).toEqual(oracle.differing);
    const inputs = new Set(INPUTS.flatMap((one) => oracle.idsOf(one)));
    expect([...oracle.differing].filter((id) => !inputs.has(id))).toEqual([]);
  });

  const repeated: readonly [what: string, output: LoggedRecord][] = [
    ["an aggregate", aggregate(9, 2, 3.3)],
    ["a late event", LATE[0] as LoggedRecord],
    ["an expired one", EXPIRED],
    ["a dead letter", DEAD],
  ];
  test.each(repeated)("finds %s shown twice under exactly_once, and lets it pass under at_least_once", (_, output) => {
    expect(differences([...RIGHT, output], "exactly_once")).toHaveLength(1);
    expect(differences([...RIGHT, output], "at_least_once")).toEqual([]);
  });
});
