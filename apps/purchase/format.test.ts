import fc from "fast-check";
import { expect, test } from "vitest";
import { JSON_FORMAT } from "./format.js";
import { isoTime } from "./model.js";

const time = fc.integer({ min: 0, max: 8.64e15 }).map(isoTime);
const amount = fc.oneof(
  fc.nat().map((cents) => cents / 100),
  fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }),
);

test("an aggregate is written as JSON.stringify writes it, whoever the user is", () => {
  const row = fc.record({
    window_start: time,
    window_end: time,
    user_id: fc.oneof(fc.string(), fc.constantFrom('a"b', "\\", "\u0000", "\ud800", "é")),
    transaction_count: fc.nat(),
    late_transaction: fc.nat(),
    total_amount: amount,
  });
  fc.assert(
    fc.property(row, (aggregate) => {
      const bytes = JSON_FORMAT.userWindow.serialize({ ...aggregate });
      expect(Buffer.from(bytes).toString("utf8")).toBe(Buffer.from(JSON.stringify(aggregate), "utf8").toString("utf8"));
    }),
  );
});
