import { expect, test } from "vitest";
import { FencedError } from "../errors.js";
import { RecordCursor } from "../record-cursor.js";
import {
  baseOffset,
  batchOf,
  eventually,
  fetchOf,
  recordsTo,
  refusal,
  type SuiteLog,
  unique,
  values,
} from "./fixture.suite.js";

export function transactionRules(log: SuiteLog): void {
  test("a commit and an abort each take an offset in every partition that they touched", async () => {
    const topic = await log.topic(3);
    const [p0, p1, p2] = [
      { topic, partition: 0 },
      { topic, partition: 1 },
      { topic, partition: 2 },
    ];
    const producer = await log.initialized();
    producer.begin();
    await producer.produce([batchOf(p0, "a", "b"), batchOf(p1, "x")]);
    await producer.commit();
    await log.endsAt(p0, 3);
    producer.begin();
    await producer.produce([batchOf(p0, "aborted")]);
    await producer.abort();

    await log.endsAt(p0, 5);
    await log.endsAt(p1, 2);
    expect(await log.latest(p2)).toBe(0);
  });

  test("aborted records stay in the log and are listed, but committed reading passes over them", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const producer = await log.initialized();
    producer.begin();
    await producer.produce([batchOf(at, "aborted 1")]);
    await producer.produce([batchOf(at, "aborted 2")]);
    await producer.abort();
    await log.endsAt(at, 3);
    producer.begin();
    await producer.produce([batchOf(at, "committed")]);
    await producer.commit();
    await log.endsAt(at, 5);

    expect(values(await log.read(at, false))).toEqual(["aborted 1", "aborted 2", "committed"]);
    expect(await log.read(at, true)).toEqual([{ offset: 3, key: "key", value: "committed" }]);
  });

  test("committed reading stops at the first open transaction, other reading does not", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const open = await log.initialized();
    await log.producer().produce([batchOf(at, "before")]);
    open.begin();
    await open.produce([batchOf(at, "open")]);
    await log.producer().produce([batchOf(at, "after")]);

    const [part] = await log.fetcher(true).fetch(fetchOf({ ...at, offset: 0 }));
    expect(part).toMatchObject({ highWatermark: 3, lastStableOffset: 1 });
    expect(values((await log.readTo(at, 1)).records)).toEqual(["before"]);
    expect(await log.fetcher(true).fetch(fetchOf({ ...at, offset: 1 }))).toEqual([]);
    expect(values(await log.read(at, false))).toEqual(["before", "open", "after"]);

    await open.commit();
    await log.endsAt(at, 4);
    expect(values(await log.read(at, true))).toEqual(["before", "open", "after"]);
  });

  test("a fetch that waits at an open transaction ends with its commit", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const producer = await log.initialized();
    producer.begin();
    await producer.produce([batchOf(at, "a")]);
    const fetched = log.fetcher(true).fetch({ ...fetchOf({ ...at, offset: 0 }), maxWaitMs: 20_000 });
    await producer.commit();
    expect((await fetched)[0]?.records.length).toBeGreaterThan(0);
  });

  // The later transaction aborts first, and a key looks like the key of an abort marker: both leak in simpler readers.
  test("interleaved aborted transactions of two producers hide exactly their own records", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const [first, second] = [await log.initialized(), await log.initialized()];
    const likeMarker = { key: Buffer.from([0, 0, 0, 0]), value: Buffer.from("aborted, looks like a marker") };
    first.begin();
    second.begin();
    await first.produce([batchOf(at, "first 1")]);
    await second.produce([recordsTo(at, likeMarker)]);
    await first.produce([recordsTo(at, { ...likeMarker, value: Buffer.from("first 2") })]);
    await second.abort();
    await log.endsAt(at, 4);
    await first.produce([batchOf(at, "first 3")]);
    second.begin();
    await second.produce([recordsTo(at, { ...likeMarker, value: Buffer.from("second, committed") })]);
    await second.commit();
    await log.endsAt(at, 7);
    await first.abort();
    await log.endsAt(at, 8);
    await log.producer().produce([batchOf(at, "plain")]);

    expect(values(await log.read(at, true))).toEqual(["second, committed", "plain"]);
    expect((await log.read(at, false)).length).toBe(6);
    // From the middle of the aborted transactions as well.
    expect(values(await log.read(at, true, 2))).toEqual(["second, committed", "plain"]);
  });

  test("a position moves across markers at the end of a partition", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const producer = await log.initialized();
    for (const outcome of ["commit", "abort"] as const) {
      producer.begin();
      await producer.produce([batchOf(at, outcome)]);
      await producer[outcome]();
    }
    await log.endsAt(at, 4);
    expect(await log.readTo(at, 4, true, 1)).toEqual({ records: [], position: 4 });
    expect(await log.fetcher(true).fetch(fetchOf({ ...at, offset: 4 }))).toEqual([]);
  });

  test("a transaction in which nothing was written takes no offset, and another can begin", async () => {
    const at = { topic: await log.topic(), partition: 0 };
    const producer = await log.initialized();
    producer.begin();
    await producer.commit();
    producer.begin();
    await producer.abort();
    producer.begin();
    expect(baseOffset((await producer.produce([batchOf(at, "a")]))[0])).toBe(0);
    await producer.commit();
    await log.endsAt(at, 2);
  });

  test("a refused batch uses up no sequence, and its transaction goes on to its commit", async () => {
    const topic = await log.topic(1, { "max.message.bytes": "2000" });
    const at = { topic, partition: 0 };
    const producer = await log.initialized();
    producer.begin();
    await producer.produce([batchOf(at, "a")]);
    expect((await producer.produce([batchOf(at, Buffer.alloc(3_000))])).map(refusal)).toEqual(["message-too-large"]);
    expect((await producer.produce([batchOf(at, "b")])).map(baseOffset)).toEqual([1]);
    await producer.commit();
    await log.endsAt(at, 3);
    expect(values(await log.read(at))).toEqual(["a", "b"]);
  });

  test("many transactions in a row are read in order and without a gap", async () => {
    const topic = await log.topic(2);
    const producer = await log.initialized();
    for (let i = 0; i < 20; i++) {
      producer.begin();
      await producer.produce([0, 1].map((partition) => batchOf({ topic, partition }, `${i}`)));
      await (i % 3 === 0 ? producer.abort() : producer.commit());
    }
    const committed = Array.from({ length: 20 }, (_, i) => `${i}`).filter((_, i) => i % 3 !== 0);
    for (const partition of [0, 1]) {
      await log.endsAt({ topic, partition }, 40);
      expect(values(await log.read({ topic, partition }))).toEqual(committed);
    }
  });
}

export function announcementRules(log: SuiteLog): void {
  /** A producer whose last transaction touched two partitions. */
  async function touching() {
    const topic = await log.topic(2);
    const [p0, p1] = [
      { topic, partition: 0 },
      { topic, partition: 1 },
    ];
    const id = unique("producer");
    const producer = await log.initialized(id);
    producer.begin();
    await producer.produce([batchOf(p0, "a"), batchOf(p1, "x")]);
    await producer.commit();
    return { p0, p1, id, producer };
  }

  test("an announced transaction is as any other, and what it does not write after all has a marker more", async () => {
    const { p0, p1, producer } = await touching();
    producer.announce();
    producer.announce();
    producer.begin();
    await producer.produce([batchOf(p0, "b")]);
    await producer.commit();
    await log.endsAt(p0, 4);
    await log.endsAt(p1, 3);
    expect(values(await log.read(p0))).toEqual(["a", "b"]);
    expect(values(await log.read(p1))).toEqual(["x"]);
  });

  test("an announced transaction writes where the last one did not, too", async () => {
    const { producer } = await touching();
    const at = { topic: await log.topic(), partition: 0 };
    producer.announce();
    producer.begin();
    await producer.produce([batchOf(at, "new")]);
    await producer.commit();
    await log.endsAt(at, 2);
    expect(values(await log.read(at))).toEqual(["new"]);
  });

  test("readers of committed records do not wait for a transaction that is only announced", async () => {
    const { p0, producer } = await touching();
    producer.announce();
    await log.producer().produce([batchOf(p0, "after")]);
    await log.endsAt(p0, 3);
    expect(values(await log.read(p0))).toEqual(["a", "after"]);
    // The marker says that it was announced at all.
    producer.begin();
    await producer.commit();
    await log.endsAt(p0, 4);
  });

  // A marker moves the position of whoever reads the partition, and where that is the writer himself, that is committed: each commit would bring the next.
  test.each(["commit", "abort"] as const)(
    "what was announced and not written is not announced again (%s)",
    async (end) => {
      const { p0, producer } = await touching();
      for (let round = 0; round < 3; round++) {
        producer.announce();
        producer.begin();
        await producer[end]();
      }
      await log.endsAt(p0, 3);
      producer.begin();
      await producer.produce([batchOf(p0, "b")]);
      await producer.commit();
      await log.endsAt(p0, 5);
      expect(values(await log.read(p0))).toEqual(["a", "b"]);
    },
  );

  test("a transaction of offsets alone can be announced, and one can follow", async () => {
    const groupId = unique("group");
    const { group } = await log.joined(groupId);
    const at = { topic: await log.topic(), partition: 0 };
    const producer = await log.initialized();
    for (const offset of [1, 2]) {
      producer.announce();
      producer.begin();
      await producer.sendOffsets(group, [{ ...at, offset, metadata: "" }]);
      await producer.commit();
    }
    await eventually("both are committed", async () => (await log.stableOffset(groupId, at))?.offset === 2);
    await log.endsAt(at, 0);
  });

  test("before the first transaction, and after a new epoch, there is nothing to announce", async () => {
    const { p0, producer } = await touching();
    await producer.initialize();
    producer.announce();
    producer.begin();
    await producer.commit();
    await log.endsAt(p0, 2);
  });

  test("a partition that is gone does not fail what was announced", async () => {
    const { p0, producer } = await touching();
    const kept = { topic: await log.topic(), partition: 0 };
    producer.begin();
    await producer.produce([batchOf(p0, "b"), batchOf(kept, "c")]);
    await producer.commit();
    await log.transport.topics.delete([p0.topic]);
    producer.announce();
    producer.begin();
    await producer.produce([batchOf(kept, "d")]);
    await producer.commit();
    expect(values(await log.readTo(kept, 4).then(({ records }) => records))).toEqual(["c", "d"]);
  });

  test("one who is fenced after the announcement hears of it when he writes, and fences nobody", async () => {
    const { p0, id, producer } = await touching();
    producer.announce();
    const next = await log.initialized(id, await log.another());
    producer.begin();
    await expect(producer.produce([batchOf(p0, "zombie")])).rejects.toThrow(FencedError);
    await expect(producer.abort()).rejects.toThrow(FencedError);
    next.begin();
    await next.produce([batchOf(p0, "goes on")]);
    await next.commit();
    await eventually("what goes on can be read", async () => (await log.read(p0)).length === 2);
    expect(values(await log.read(p0))).toEqual(["a", "goes on"]);
  });
}

export function fencingRules(log: SuiteLog): void {
  /** A producer in the middle of a transaction, whose id another client initialises. */
  async function fenced() {
    const at = { topic: await log.topic(), partition: 0 };
    const id = unique("producer");
    const old = await log.initialized(id);
    old.begin();
    await old.produce([batchOf(at, "left open")]);
    const next = await log.initialized(id, await log.another());
    return { at, old, next };
  }

  test("initialize aborts what an earlier user of the id left open", async () => {
    const { at, next } = await fenced();
    next.begin();
    await next.produce([batchOf(at, "goes on")]);
    await next.commit();
    await log.endsAt(at, 4);
    expect(values(await log.read(at))).toEqual(["goes on"]);
  });

  test("a fenced producer cannot write", async () => {
    const { at, old } = await fenced();
    await expect(old.produce([batchOf(at, "zombie")])).rejects.toThrow(FencedError);
    await log.endsAt(at, 2); // the record that was left open, and its abort marker
  });

  test("a fenced producer cannot commit", async () => {
    const { at, old } = await fenced();
    await expect(old.commit()).rejects.toThrow(FencedError);
    await log.endsAt(at, 2);
    expect(await log.read(at)).toEqual([]);
  });

  test("a fenced producer cannot commit offsets", async () => {
    const groupId = unique("group");
    const { group } = await log.joined(groupId);
    const { at, old } = await fenced();
    await expect(old.sendOffsets(group, [{ ...at, offset: 1, metadata: "" }])).rejects.toThrow(FencedError);
    expect((await log.stableOffset(groupId, at))?.offset).toBeUndefined();
  });

  test("a fenced producer goes on after it has initialised again, and fences the other in turn", async () => {
    const { at, old, next } = await fenced();
    await expect(old.commit()).rejects.toThrow(FencedError);
    await old.initialize();
    old.begin();
    await old.produce([batchOf(at, "back")]);
    await old.commit();
    next.begin();
    await expect(next.produce([batchOf(at, "zombie")])).rejects.toThrow(FencedError);
    await log.endsAt(at, 4);
    expect(values(await log.read(at))).toEqual(["back"]);
  });

  test("a reader sees nothing of a transaction until it is settled, then all of it or none", async () => {
    const { at } = await fenced();
    await log.endsAt(at, 2);
    const fetcher = log.fetcher(true);
    let position = 0;
    let records = 0;
    await eventually("the reader is past the marker", async () => {
      for (const part of await fetcher.fetch(fetchOf({ ...at, offset: position }))) {
        const cursor = new RecordCursor(part);
        while (cursor.next()) records++;
        position = cursor.nextOffset;
      }
      return position === 2;
    });
    expect(records).toBe(0);
  });
}
