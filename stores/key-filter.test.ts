import fc from "fast-check";
import { expect, test } from "vitest";
import { KeyFilter } from "./key-filter.js";
import { FilterRoom, KnownRows } from "./known-rows.js";

const user = (number: number): Buffer => Buffer.from(`user-${String(number).padStart(6, "0")}`);

test("a key that was added is never denied, however small the filter began", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 12 }), { maxLength: 400 }), fc.nat(500), (keys, expected) => {
      const filter = new KeyFilter(expected);
      for (const key of keys) filter.add(key);
      for (const key of keys) expect(filter.mayHold(key)).toBe(true);
    }),
  );
});

test.each([
  [0, 0.02],
  [50_000, 0.002],
])("begun for %i keys and given 50,000, it takes less than %d of the others for its own", (expected, share) => {
  const filter = new KeyFilter(expected);
  for (let number = 0; number < 50_000; number++) filter.add(user(number));
  let taken = 0;
  for (let number = 50_000; number < 150_000; number++) if (filter.mayHold(user(number))) taken++;

  expect(taken / 100_000).toBeLessThan(share);
  expect(filter.size).toBeGreaterThan(49_000);
});

test("it takes 2 bytes for each key there is room for, doubles when it is full, and says by how much", () => {
  const filter = new KeyFilter(64);
  const grown: number[] = [];
  for (let number = 0; number < 200; number++) {
    const bytes = filter.add(user(number));
    if (bytes > 0) grown.push(bytes);
  }
  expect(grown).toEqual([128, 256]);
  expect(filter.bytes).toBe(512);
  expect(new KeyFilter(65).bytes).toBe(256);
});

test("a key that is added again takes no room", () => {
  const filter = new KeyFilter(64);
  for (let round = 0; round < 10; round++) for (let number = 0; number < 60; number++) filter.add(user(number));
  expect(filter.bytes).toBe(128);
});

test("a segment knows the starts and keys that were written since it is there", () => {
  const rows = new KnownRows(new FilterRoom(1_000_000));
  rows.add(user(1), 0);

  expect([rows.mayHoldStart(0), rows.mayHoldStart(300)]).toEqual([true, false]);
  expect([rows.mayHold(user(1), 0), rows.mayHold(user(2), 0), rows.mayHold(user(1), 300)]).toEqual([
    true,
    false,
    false,
  ]);
});

test("a segment of an earlier process may hold any row of the windows that were there, and none of later ones", () => {
  const rows = new KnownRows(new FilterRoom(1_000_000), 301);

  expect([rows.mayHoldStart(300), rows.mayHold(user(1), 300)]).toEqual([true, true]);
  expect([rows.mayHoldStart(600), rows.mayHold(user(1), 600)]).toEqual([false, false]);
  rows.add(user(1), 600);
  expect([rows.mayHold(user(1), 600), rows.mayHold(user(2), 600)]).toEqual([true, false]);
});

test("a window whose keys have no room may hold any, gives its room back, and leaves the others as they are", () => {
  const room = new FilterRoom(400);
  const rows = new KnownRows(room);
  rows.add(user(1), 0);
  for (let number = 0; number < 200; number++) rows.add(user(number), 300);

  expect(room.bytes).toBe(128);
  expect([rows.mayHold(user(999), 300), rows.mayHold(user(999), 0)]).toEqual([true, false]);
});

test("without any room every window that was written may hold any key", () => {
  const rows = new KnownRows(new FilterRoom(0));
  rows.add(user(1), 0);
  expect([rows.mayHold(user(2), 0), rows.mayHoldStart(300)]).toEqual([true, false]);
});

test("a segment that has gone gives its room back", () => {
  const room = new FilterRoom(1_000_000);
  const rows = new KnownRows(room);
  for (let number = 0; number < 1_000; number++) rows.add(user(number), (number % 4) * 300);
  expect(room.bytes).toBeGreaterThan(0);
  rows.forget();
  expect(room.bytes).toBe(0);
});

test("a segment of more than 4,096 windows may hold any row", () => {
  const room = new FilterRoom(10_000_000);
  const rows = new KnownRows(room);
  for (let start = 0; start < 4_097; start++) rows.add(user(1), start);
  expect([rows.mayHoldStart(999_999), rows.mayHold(user(2), 0), room.bytes]).toEqual([true, true, 0]);
});
