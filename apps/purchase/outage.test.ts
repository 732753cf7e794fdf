import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LiveConsole } from "./console.js";
import { RecordLines } from "./json-lines.js";
import { BrokerWatch, type Outage, outageText } from "./outage.js";
import { names } from "./topics.suite.js";

const NOON = Date.UTC(2026, 10, 22, 12);
const BROKERS = "kafka:9092";

beforeEach(() => void vi.useFakeTimers({ now: NOON }));
afterEach(() => void vi.useRealTimers());

function watched(show: (outage: Outage | undefined) => void): BrokerWatch {
  const watch = new BrokerWatch(BROKERS, show);
  onEnd.push(() => watch.stop());
  return watch;
}
const onEnd: (() => void)[] = [];
afterEach(() => {
  for (const end of onEnd.splice(0)) end();
});

test("four seconds of silence are an outage, with the time of the last answer; an answer ends it", () => {
  const told: (Outage | undefined)[] = [];
  const watch = watched((outage) => told.push(outage));
  for (let at = 0; at < 100; at++) {
    watch.heard();
    vi.advanceTimersByTime(100);
  }
  expect(told).toEqual([]);
  const lastAnswerMs = NOON + 9_900;
  vi.advanceTimersByTime(3_500);
  expect(told.at(-1)).toEqual({ brokers: BROKERS, why: undefined, lastAnswerMs });
  watch.trouble("describe topics: gave up after 5000 ms: connect ECONNREFUSED 10.0.0.1:9092");
  expect(told.at(-1)).toEqual({ brokers: BROKERS, why: "connect ECONNREFUSED 10.0.0.1:9092", lastAnswerMs });
  const before = told.length;
  watch.heard();
  expect(told.slice(before)).toEqual([undefined]);
  watch.heard();
  expect(told).toHaveLength(before + 1);
});

test("brokers that were never there are named within four seconds, without an age", () => {
  let last: Outage | undefined;
  watched((outage) => {
    last = outage;
  });
  vi.advanceTimersByTime(4_000);
  expect(last).toEqual({ brokers: BROKERS, why: undefined, lastAnswerMs: undefined });
  expect(outageText(last as Outage, Date.now())).toBe("no answer from kafka:9092 yet, trying on");
});

test("the line says how old the numbers are before anything that may be cut off", () => {
  const outage = { brokers: BROKERS, why: "connect ECONNREFUSED", lastAnswerMs: NOON };
  expect(outageText(outage, NOON + 75_000)).toBe(
    "what stands here is 1m 15s old: no answer from kafka:9092, trying on (connect ECONNREFUSED)",
  );
});

test("on a terminal the age grows while it lasts, and the line goes when the brokers answer", () => {
  let text = "";
  const write = (more: string): boolean => {
    text += more;
    return true;
  };
  const live = new LiveConsole(names, { isTTY: true, columns: 100, rows: 24, write }, { TERM: "xterm" });
  live.start();
  onEnd.push(() => live.stop());
  const watch = watched((outage) => live.outage(outage));
  watch.heard();
  vi.advanceTimersByTime(5_000);
  expect(text).toContain("what stands here is 4s old: no answer from kafka:9092");
  text = "";
  vi.advanceTimersByTime(60_000);
  expect(text).toContain("1m 04s old");
  watch.heard();
  vi.advanceTimersByTime(500);
  text = "";
  vi.advanceTimersByTime(1_000);
  expect(text).not.toContain("old");
});

test.each([
  ["in a pipe", (write: (text: string) => boolean) => new LiveConsole(names, { isTTY: false, write }, {})],
  ["for programs", (write: (text: string) => boolean) => new RecordLines(names, { write })],
])("%s an outage is a line when it begins, when its cause is known, and when it is over", (_, open) => {
  const lines: string[] = [];
  const display = open((text) => {
    lines.push(text.trimEnd());
    return true;
  });
  const watch = watched((outage) => display.outage(outage));
  watch.heard();
  vi.advanceTimersByTime(10_000);
  watch.trouble("connect ECONNREFUSED");
  vi.advanceTimersByTime(10_000);
  watch.trouble("connect ECONNREFUSED");
  watch.heard();
  expect(lines).toEqual([
    expect.stringContaining("no answer from kafka:9092 for 4s, trying on"),
    expect.stringContaining("no answer from kafka:9092 for 10s, trying on (connect ECONNREFUSED)"),
    expect.stringContaining("kafka:9092 answers again"),
  ]);
});
