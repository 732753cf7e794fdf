import { string, windowed } from "millrace/serdes";
import pc from "picocolors";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LiveConsole } from "./console.js";
import { ConsoleModel } from "./console-model.js";
import type { ReadRecord } from "./reader.js";
import { Sampler } from "./sampler.js";
import { frame } from "./screen.js";
import { type ConsoleStream, colorsFor, isTerminal } from "./terminal.js";
import { clip, joined, printable } from "./text.js";
import { names } from "./topics.suite.js";

const NOON = Date.UTC(2026, 10, 22, 12);
const MINUTE = 60_000;

function record(topic: string, value: unknown, changes: Partial<ReadRecord> = {}): ReadRecord {
  const bytes = typeof value === "string" ? Buffer.from(value) : Buffer.from(JSON.stringify(value));
  return {
    ...{ topic, partition: 0, offset: 7, timestampMs: NOON },
    ...{ key: Buffer.from("ann"), value: bytes, headers: [] },
    ...changes,
  };
}

const tea = {
  transaction_id: "t",
  user_id: "ann",
  goods: "tea",
  quantity: 2,
  price: 1.25,
  amount: 2.5,
  timestamp: "2026-11-22T12:00:01.500Z",
};

function aggregate(userId: string, startMs: number, count: number, total: number): ReadRecord {
  const key = windowed(string, { sizeMs: 5 * MINUTE }).serialize({
    key: userId,
    window: { startMs, endMs: startMs + 5 * MINUTE },
  });
  const value = { user_id: userId, transaction_count: count, late_transaction: 1, total_amount: total };
  return record(names.outputTopic, value, { key: Buffer.from(key), timestampMs: startMs + MINUTE });
}

class TestStream implements ConsoleStream {
  text = "";
  constructor(readonly isTTY: boolean) {}
  write(text: string): boolean {
    this.text += text;
    return true;
  }
  get lines(): string[] {
    return this.text.trimEnd().split("\n");
  }
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOON });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("in a pipe", () => {
  test("each event is a plain line, and no line holds an escape code", () => {
    const stream = new TestStream(false);
    const console = new LiveConsole(names, stream, {});
    console.start();
    console.add(record("purchases", tea));
    console.add(
      record("late-purchases", { ...tea, ingestion_time: "2026-11-22T12:40:01.500Z" }, { timestampMs: NOON + 1_500 }),
    );
    console.add(record("expired-purchases", tea));
    console.add(
      record("purchases-dead-letter", "no JSON", {
        headers: [["__streams.errors.message", Buffer.from("Unexpected token")]],
      }),
    );
    console.add(aggregate("ann", NOON, 3, 59.97));
    vi.advanceTimersByTime(5_000);
    console.stop();
    expect(stream.lines).toEqual([
      "purchase     12:00:01.500  ann                  2.50  2 × tea",
      "late         12:00:01.500  ann                  2.50  40m 00s late  2 × tea",
      "expired      12:00:01.500  ann                  2.50  2 × tea",
      "dead letter  Unexpected token: no JSON",
      "window       12:00–12:05  3 purchases of 1 user, 1 late, 59.97, closes in 1h 04m",
    ]);
    expect(stream.text).not.toContain("\u001b");
  });

  test("more than 20 purchases a second are sampled, and what is left out is said", () => {
    const stream = new TestStream(false);
    const console = new LiveConsole(names, stream, {});
    console.start();
    for (let n = 0; n < 1_020; n++) console.add(record("purchases", tea));
    vi.advanceTimersByTime(1_000);
    expect(stream.lines).toHaveLength(21);
    expect(stream.lines.at(-1)).toBe("…            1,000 more purchases: not shown, this is a sample");
    console.add(record("purchases", tea));
    expect(stream.lines).toHaveLength(22);
    console.stop();
  });

  test("a value that is no purchase is shown, and cannot move the cursor", () => {
    const stream = new TestStream(false);
    const console = new LiveConsole(names, stream, {});
    console.add(record("purchases", "\u001b[2J not JSON\r\n"));
    console.add(record("purchases", { ...tea, user_id: "\u001b]0;x\u0007", amount: "lots" }));
    expect(stream.text).toContain("no purchase: �[2J not JSON��");
    expect(stream.text).not.toContain("\u001b");
    expect(stream.lines).toHaveLength(2);
  });
});

describe("on a terminal", () => {
  const colors = pc.createColors(false);
  const facts = { perSecond: 0, skippedPerSecond: 0, notice: undefined, about: undefined };

  function filled(): ConsoleModel {
    const model = new ConsoleModel();
    for (let n = 0; n < 30; n++) model.add("purchase", NOON + n * 1_000, () => `purchase ${n} ${"x".repeat(150)}`);
    for (let n = 0; n < 9; n++) model.add("late", NOON + n * 1_000, () => `late ${n}`);
    for (let window = 0; window < 13; window++) {
      model.addAggregate(
        { userId: "ann", windowStartMs: NOON + window * 5 * MINUTE, count: 2, late: 1, cents: 250 },
        NOON + window * 5 * MINUTE,
      );
    }
    return model;
  }

  test.each([
    [80, 24],
    [120, 50],
    [40, 15],
    [200, 11],
    [30, 40],
  ])("a frame of %d columns and %d rows fits into it", (columns, rows) => {
    const lines = frame(filled(), facts, { columns, rows }, colors).split("\n");
    expect(lines.length).toBeLessThan(rows);
    expect(Math.max(...lines.map((line) => [...line].length))).toBeLessThan(columns);
    const text = lines.join("\n");
    expect(text).toContain("purchase 29");
    expect(text).toContain("late 8");
    expect(text).toContain("13:00–13:05");
    expect(text).not.toContain("\u001b");
  });

  test("a narrow table keeps the window and its purchases longest", () => {
    const wide = frame(filled(), facts, { columns: 80, rows: 24 }, colors);
    expect(wide).toMatch(/window \(UTC\) +purchases +total +late +closes in +users/);
    const narrow = frame(filled(), facts, { columns: 30, rows: 24 }, colors);
    expect(narrow).toMatch(/window \(UTC\) +purchases\n/);
  });

  test("the title leaves out what does not fit, and cuts no number", () => {
    const firstLine = (columns: number) => frame(filled(), facts, { columns, rows: 24 }, colors).split("\n")[0];
    expect(firstLine(120)).toBe("30 purchases · 0/s · 9 late · 0 expired · 0 dead letters · event time 13:00:00");
    expect(firstLine(60)).toBe("30 purchases · 0/s · 9 late · 0 expired · 0 dead letters");
    expect(firstLine(40)).toBe("30 purchases · 0/s · 9 late · 0 expired");
    expect(firstLine(39)).toBe("30 purchases · 0/s · 9 late");
  });

  test("the page's address stays in sight, and takes no line from the others", () => {
    const size = { columns: 80, rows: 24 };
    const [without, within] = [undefined, "page at http://127.0.0.1:8080/"].map((about) =>
      frame(filled(), { ...facts, about }, size, colors).split("\n"),
    );
    expect(within?.[1]).toBe("page at http://127.0.0.1:8080/");
    expect(within?.length).toBe(without?.length);
  });

  test("characters that take two columns are counted as two, so that no line wraps", () => {
    expect(clip("東京 tower", 6)).toBe("東京 …");
    expect(clip("東京 tower", 10)).toBe("東京 tower");
    expect(clip("cafe\u0301", 4)).toBe("cafe\u0301");
    expect(clip("tea 🍵🍵", 6)).toBe("tea …");
  });

  test("a summary breaks between its parts only", () => {
    expect(joined(["1 produced", "2 late", "3 expired"], 20)).toBe("1 produced · 2 late\n3 expired");
    expect(joined(["1 produced", "2 late"])).toBe("1 produced · 2 late");
  });

  test("the heading says that the feed is a sample", () => {
    const text = frame(
      filled(),
      { ...facts, perSecond: 1_000, skippedPerSecond: 980 },
      { columns: 80, rows: 24 },
      colors,
    );
    expect(text).toContain("transactions (a sample: 20 of 1,000 per second)");
  });

  test("frames are drawn over each other, and a printed line stays above them", () => {
    const stream = new TestStream(true);
    const console = new LiveConsole(names, stream, { TERM: "xterm" });
    console.start();
    console.add(record("purchases", tea));
    vi.advanceTimersByTime(250);
    console.print("waiting for topic late-purchases");
    vi.advanceTimersByTime(250);
    console.stop();
    expect(stream.text).toContain("\u001b[");
    expect(stream.text).toContain("waiting for topic late-purchases\n");
    expect(stream.text.match(/1 purchase /g)?.length).toBeGreaterThanOrEqual(1);
  });
});

describe("open windows", () => {
  test("sum the newest aggregates of their users, and leave when event time is an hour past their end", () => {
    const model = new ConsoleModel();
    const row = { userId: "ann", windowStartMs: NOON, count: 1, late: 0, cents: 100 };
    model.addAggregate(row, NOON);
    model.addAggregate({ ...row, count: 2, late: 1, cents: 300 }, NOON + 1);
    model.addAggregate({ ...row, userId: "bob", count: 4, cents: 1 }, NOON + 2);
    expect(model.windows()).toEqual([
      { startMs: NOON, users: 2, purchases: 6, late: 1, cents: 301, closesInMs: 65 * MINUTE - 2 },
    ]);
    model.addAggregate({ ...row, windowStartMs: NOON + 65 * MINUTE }, NOON + 65 * MINUTE);
    expect(model.windows().map(({ startMs }) => startMs)).toEqual([NOON + 65 * MINUTE]);
    model.addAggregate(row, NOON);
    expect(model.windows()).toHaveLength(1);
  });
});

test("colours are for terminals that want them", () => {
  const colour = (isTTY: boolean, environment: Record<string, string>): boolean =>
    colorsFor({ isTTY }, environment).red("x") !== "x";
  expect(colour(true, { TERM: "xterm" })).toBe(true);
  expect(colour(true, { TERM: "xterm", NO_COLOR: "1" })).toBe(false);
  expect(colour(true, { TERM: "dumb" })).toBe(false);
  expect(colour(false, {})).toBe(false);
  expect(colour(false, { FORCE_COLOR: "1" })).toBe(true);
  expect(isTerminal({ isTTY: true }, { TERM: "dumb" })).toBe(false);
});

test("a sampler lets so many of each second through and counts the rest", () => {
  const sampler = new Sampler(2);
  expect([0, 1, 2, 999].map((ms) => sampler.take(ms))).toEqual([true, true, false, false]);
  expect(sampler.take(1_000)).toBe(true);
  expect(sampler.takeSkipped()).toBe(2);
  expect(sampler.takeSkipped()).toBe(0);
});

test("text from a topic loses its control characters", () => {
  expect(printable("a\u001b[31mb\u202ec\n")).toBe("a�[31mb�c�");
  expect(printable("Müller 茶 🫖")).toBe("Müller 茶 🫖");
});
