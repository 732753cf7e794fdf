import { expect, test } from "vitest";
import { TakenRows } from "./taken-rows.js";

function placesOf(rows: TakenRows): number[] {
  const places: number[] = [];
  for (let at = 0; at < rows.end; at = rows.next(at)) places.push(at);
  return places;
}

test("keys and values come back as the UTF-8 of their text or as their bytes, with a window's start behind the key", () => {
  const rows = new TakenRows("window", 0);
  rows.append("Zoë", 0x1_0000_0001, '{"sum":3}', 7);
  rows.append(Buffer.from([0xff, 0x00]), 0, Buffer.from([0x80]), 8);

  expect([...rows]).toEqual([
    {
      changelogKey: Buffer.from([0x5a, 0x6f, 0xc3, 0xab, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]),
      value: Buffer.from('{"sum":3}'),
      timestampMs: 7,
    },
    { changelogKey: Buffer.from([0xff, 0, ...Array(12).fill(0)]), value: Buffer.from([0x80]), timestampMs: 8 },
  ]);
  expect(placesOf(rows).map((at) => rows.rowKey(at))).toEqual([Buffer.from("Zoë"), Buffer.from([0xff, 0])]);
});

test("an empty value is there, a deleted one is not", () => {
  const rows = new TakenRows("key-value", 0);
  rows.append("a", 0, "", 1);
  rows.append("b", 0, null, 2);

  expect([...rows].map(({ value }) => value)).toEqual([Buffer.alloc(0), null]);
  expect(rows.copiedRow(placesOf(rows)[1]!)).toEqual({ value: null, timestampMs: 2 });
});

test("it grows beyond what was expected, and a lone surrogate is the replacement character of UTF-8", () => {
  const rows = new TakenRows("key-value", 1);
  for (let i = 0; i < 1_000; i++) rows.append(`key-${i}`, 0, "€".repeat(i), i);
  rows.append("\ud800", 0, "", 0);

  const places = placesOf(rows);
  expect([places.length, rows.length]).toEqual([1_001, 1_001]);
  expect(rows.changelogKey(places[999]!).toString()).toBe("key-999");
  expect(rows.value(places[999]!)?.toString()).toBe("€".repeat(999));
  expect(rows.timestampMs(places[999]!)).toBe(999);
  expect(rows.changelogKey(places[1_000]!)).toEqual(Buffer.from("\ufffd"));
});

test("a copied row does not change with the buffer", () => {
  const rows = new TakenRows("key-value", 0);
  rows.append("a", 0, "one", 1);
  const copied = rows.copiedRow(0);
  rows.value(0)?.fill(0);

  expect(copied.value?.toString()).toBe("one");
});

test("keys compare by their bytes, of one taking and of two", () => {
  const one = new TakenRows("window", 0);
  const other = new TakenRows("window", 0);
  one.append("b", 1, "", 0);
  one.append("bb", 0, "", 0);
  other.append("b", 0, "", 0);

  expect(one.compareKeys(0, other, 0)).toBe(1);
  expect(other.compareKeys(0, one, 0)).toBe(-1);
  expect(one.compareKeys(0, one, 0)).toBe(0);
  expect(one.compareKeys(0, one, one.next(0))).toBe(-1);
});
