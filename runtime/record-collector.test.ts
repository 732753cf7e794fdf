import { expect, test } from "vitest";
import { RecordCollector } from "./record-collector.js";
import { recordsOf } from "./record-cursor.js";

const out = { node: "sink", topic: "out", onError: undefined };
const unknown = { node: "sink", topic: "somewhere", onError: undefined };
const first = (): number => 0;

function collector(): RecordCollector {
  return new RecordCollector((topic) => (topic === "out" ? 2 : undefined));
}

function send(to: RecordCollector, text: string, destination = out): void {
  to.send(destination, first, 1, null, Buffer.from(text), []);
}

function texts(from: RecordCollector): string[] {
  const { batches, unplaced } = from.take();
  return [...batches.flatMap(({ batch }) => recordsOf(batch)), ...unplaced].map(({ value }) =>
    Buffer.from(value ?? []).toString(),
  );
}

test("what a failed record sent is taken back, to known and unknown topics alike", () => {
  const outputs = collector();
  send(outputs, "good");
  send(outputs, "good-unplaced", unknown);
  outputs.keep();
  send(outputs, "bad");
  send(outputs, "bad-unplaced", unknown);
  outputs.takeBack();
  send(outputs, "after");
  outputs.keep();
  expect(texts(outputs)).toEqual(["good", "after", "good-unplaced"]);
});

test("all that a failed record sent to one partition is taken back, and all that the one before sent stays", () => {
  const outputs = collector();
  for (const text of ["a", "b"]) send(outputs, text);
  outputs.keep();
  for (const text of ["c", "d"]) send(outputs, text);
  outputs.takeBack();
  outputs.keep();
  for (const text of ["e", "f"]) send(outputs, text);
  outputs.keep();
  outputs.takeBack();
  expect(texts(outputs)).toEqual(["a", "b", "e", "f"]);
});

test("a text is put out as its UTF-8, to known and unknown topics alike", () => {
  const outputs = collector();
  for (const destination of [out, unknown]) outputs.send(destination, first, 1, null, "Zoë", []);
  outputs.keep();
  expect(texts(outputs)).toEqual(["Zoë", "Zoë"]);
});

test("a failed record that began a new batch leaves none behind", () => {
  const outputs = collector();
  send(outputs, "x".repeat(300_000));
  outputs.keep();
  send(outputs, "y".repeat(300_000));
  outputs.takeBack();
  outputs.keep();
  expect(outputs.take().batches.map(({ batch }) => batch.count)).toEqual([1]);
});

test("a batch holds at most 5,000 records and 400 KB", () => {
  const outputs = collector();
  for (let at = 0; at < 12_000; at++) send(outputs, "small");
  for (let at = 0; at < 3; at++) send(outputs, "z".repeat(250_000));
  const sizes = outputs
    .take()
    .batches.map(({ batch }) => ({ count: batch.count, isSmall: batch.sizeBytes <= 400_000 }));
  expect(sizes.map(({ count }) => count)).toEqual([5000, 5000, 2001, 1, 1]);
  expect(sizes.every(({ isSmall }) => isSmall)).toBe(true);
});

test("taking leaves nothing behind", () => {
  const outputs = collector();
  send(outputs, "once");
  expect(texts(outputs)).toEqual(["once"]);
  expect(outputs.isEmpty).toBe(true);
  expect(texts(outputs)).toEqual([]);
});

test("records of a topic that becomes known between two of them are not sent in the wrong order", () => {
  let partitions: number | undefined;
  const outputs = new RecordCollector(() => partitions);
  send(outputs, "first", unknown);
  partitions = 2;
  send(outputs, "second", unknown);
  outputs.keep();
  expect(outputs.take()).toMatchObject({
    batches: [],
    unplaced: [{ value: Buffer.from("first") }, { value: Buffer.from("second") }],
  });

  send(outputs, "third", unknown);
  outputs.keep();
  expect(texts(outputs)).toEqual(["third"]);
});
