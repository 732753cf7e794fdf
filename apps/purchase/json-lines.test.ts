import { expect, test } from "vitest";
import { RecordLines } from "./json-lines.js";
import type { ReadRecord } from "./reader.js";
import { names } from "./topics.suite.js";

/** The lines for one record, parsed. */
function linesOf(record: Partial<ReadRecord>): unknown[] {
  let text = "";
  const write = (more: string): boolean => {
    text += more;
    return true;
  };
  const whole = { topic: "purchases", partition: 1, offset: 7, timestampMs: Date.UTC(2026, 10, 22, 12) };
  new RecordLines(names, { write }).add({ ...whole, key: null, value: null, headers: [], ...record });
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as unknown);
}

const where = { partition: 1, offset: 7, timestamp: "2026-11-22T12:00:00.000Z" };

test("a record is where it lies and its value as JSON", () => {
  expect(linesOf({ value: Buffer.from('{"user_id":"ann","amount":2.5}') })).toEqual([
    { event: "purchase", topic: "purchases", ...where, value: { user_id: "ann", amount: 2.5 } },
  ]);
});

test("what is no JSON is its text, on one line, and a null is null", () => {
  expect(linesOf({ value: Buffer.from("no\njson") })).toEqual([
    { event: "purchase", topic: "purchases", ...where, value: "no\njson" },
  ]);
  expect(linesOf({ value: null })).toEqual([{ event: "purchase", topic: "purchases", ...where, value: null }]);
});

test("a dead letter says why it is one; a time that no calendar has is null", () => {
  const headers: ReadRecord["headers"] = [["__streams.errors.message", Buffer.from("no amount")]];
  const record = { topic: names.deadLetterTopic, value: Buffer.from("x"), headers, timestampMs: 2 ** 60 };
  expect(linesOf(record)).toEqual([
    { event: "dead-letter", topic: names.deadLetterTopic, ...where, timestamp: null, error: "no amount", value: "x" },
  ]);
});

test("records of other topics are not there", () => {
  expect(linesOf({ topic: "purchases-changelog" })).toEqual([]);
});
