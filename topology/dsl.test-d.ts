// Topologies that must not compile, and what must be inferred without a word. Checked by `tsc`; nothing here runs.
import { unvalidatedJson } from "../serdes/json.js";
import { nullable } from "../serdes/nullable.js";
import { bytes, int64, string } from "../serdes/serde.js";
import { type Windowed, windowed } from "../serdes/windowed.js";
import { count, countIf, max, mean, min, sum } from "./aggregators.js";
import { StreamsBuilder } from "./dsl.js";
import { storeName, untilWindowCloses } from "./dsl-options.js";
import type { KStream, KTable } from "./dsl-types.js";
import { hopping, hours, minutes, tumbling } from "./windows.js";

interface Purchase {
  user_id: string;
  cents: number;
  note?: string;
}
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Compiles only where both types are the same. */
declare function same<A, B>(proof: Equal<A, B>): void;

const purchase = unvalidatedJson<Purchase>();
const builder = new StreamsBuilder();
const s = builder.stream("purchases", { key: string, value: purchase, timestamp: (p) => p.cents });
const g = s.groupByKey();
const w = g.windowedBy(tumbling({ sizeMs: minutes(5), graceMs: hours(1) }));

// ---- serdes ----
s.to("copy");
s.filter((p) => p.cents > 0).to("copy");
// @ts-expect-error serde of another type at a sink
s.to("out", { value: int64 });
// @ts-expect-error value type changed: a serde is required
s.mapValues((p) => p.cents).to("out");
// @ts-expect-error wrong serde after mapValues
s.mapValues((p) => p.cents).to("out", { value: string });
s.mapValues((p) => p.cents).to("out", { value: int64 });
s.mapValues((p) => p.cents, { value: int64 }).to("out");
// @ts-expect-error the serde given to mapValues is of another type
s.mapValues((p) => p.cents, { value: string });
// @ts-expect-error key changed: key serde required
s.map((p) => ({ key: p.cents, value: p })).to("out", { value: purchase });
s.map((p) => ({ key: p.cents, value: p })).to("out", { key: int64, value: purchase });
s.map((p) => ({ key: p.cents, value: p }), { key: int64, value: purchase }).to("out");
// @ts-expect-error selectKey needs the new key's serde (it may repartition)
s.selectKey((p) => p.user_id);
// @ts-expect-error a flat map of values changes the type as well
s.flatMapValues((p) => [p.cents]).to("out");
// @ts-expect-error a field less than the sink's serde has
s.mapValues(({ cents }) => ({ cents })).to("out", { value: purchase });
s.mapValues((p) => ({ ...p, more: 1 })).to("out", { value: purchase });

// ---- names ----
// @ts-expect-error no name
g.count();
// @ts-expect-error empty name
g.count("");
// @ts-expect-error no name
w.aggregate({ n: count() });
// @ts-expect-error a name only known at run time
g.count(String(Math.random()));
g.count(storeName(String(Math.random())));

// ---- windows ----
// @ts-expect-error grace is never implicit
g.windowedBy(tumbling({ sizeMs: minutes(5) }));
// @ts-expect-error nor is the advance of a hopping window
g.windowedBy(hopping({ sizeMs: minutes(5), graceMs: 0 }));
// @ts-expect-error an un-windowed aggregate has no late side
g.count("plain").late;
// @ts-expect-error nor windows that could close
g.count("plain").suppress(untilWindowCloses);
// @ts-expect-error nor a retention
g.count("plain", { retentionMs: 5 });
// @ts-expect-error no such strategy
w.emit("on-close");

// ---- aggregates ----
// @ts-expect-error an unknown field of the value
w.aggregate("a", { total: sum((p) => p.euros) });
// @ts-expect-error a sum of texts
w.aggregate("a", { total: sum((p) => p.user_id) });
const fields = w.aggregate("a", {
  n: count(),
  dear: countIf((p) => p.cents > 100),
  total: sum((p) => p.cents),
  mean: mean((p) => p.cents),
  top: max((p) => p.cents),
  note: min((p) => p.note),
});
type Fields = {
  n: number;
  dear: number;
  total: number;
  mean: number;
  top: number | undefined;
  note: string | undefined;
};
const t = fields.toStream();
t.mapValues((a, record) => {
  same<typeof a, Fields>(true);
  same<typeof record.key, Windowed<string>>(true);
});
// @ts-expect-error no such aggregate
t.mapValues((a) => a.missing);
// @ts-expect-error the serde of the result is not known
t.to("out");
t.to("out", { value: unvalidatedJson<Fields>() });
t.to("out", { key: windowed(string, { sizeMs: 5 }), value: unvalidatedJson<Fields>() });
// @ts-expect-error the key is windowed
t.to("out", { key: string, value: unvalidatedJson<Fields>() });
// A table's view and its suppression keep what it is.
same<(typeof fields)["storeName"], "a">(true);
fields.suppress(untilWindowCloses).toStream().to("out", { value: unvalidatedJson<Fields>() });
fields.late.mapValues((late, record) => {
  same<typeof late.value, Purchase>(true);
  same<typeof record.key, string>(true);
});
// @ts-expect-error what is late has another form than what came
fields.late.to("out");

const custom = w.aggregate("b", {
  initial: () => ({ seen: 0 }),
  add: (state, p, record) => ({ seen: state.seen + p.cents + record.key.length }),
});
same<(typeof custom)["storeName"], "b">(true);
custom.toStream().mapValues((v) => same<typeof v, { seen: number }>(true));
// @ts-expect-error the state has another type
w.aggregate("b", { initial: () => ({ seen: 0 }), add: () => "text" });
// @ts-expect-error the serde is of another type than the state
w.aggregate("b", { initial: () => 0, add: (n) => n + 1, value: string });
const listed = g.aggregate("lists", { initial: () => "", add: (text, p) => text + p.note, value: string });
listed.toStream().to("out");
same<typeof listed, KTable<string, string, "lists">>(true);

const counted = g.count("counts");
counted.toStream().to("out");
counted
  .filter((n, { key }) => n > key.length)
  .toStream()
  .mapValues((n) => same<typeof n, number | null>(true));
counted
  .mapValues((n) => `${n}`)
  .toStream()
  .to("out", { value: string });
const texts = counted.mapValues((n) => `${n}`).toStream();
// @ts-expect-error the mapped table's serde is not known
texts.to("out");
counted
  .mapValues((n) => `${n}`, { value: string })
  .toStream()
  .to("out");
counted.toStream((n, { key }) => `${key}${n}`, { key: string }).to("out");
counted.toStream().mapValues((n) => same<typeof n, number>(true));
// A reducer that may delete the row shows in the table's type; one that does not, does not.
const summed = builder.stream("n", { key: string, value: int64 }).groupByKey();
summed
  .reduce("r", (a, b) => a + b)
  .toStream()
  .mapValues((n) => same<typeof n, number>(true));
summed
  .reduce("r", (a, b) => (a === b ? null : a + b))
  .toStream()
  .mapValues((n) => same<typeof n, number | null>(true));

// ---- changed keys ----
const rekeyed = s.selectKey((p) => p.cents, { key: int64 });
rekeyed.groupByKey().count("c");
const changed = s.mapValues((p) => p.cents);
changed.groupByKey().count("c");
const both = changed.selectKey((cents) => cents, { key: int64 });
// @ts-expect-error the value goes through a repartition topic, and its serde is not known
both.groupByKey();
both.groupByKey({ value: int64 }).count("c");
// @ts-expect-error the same in one step
changed.groupBy((cents) => cents, { key: int64 });
changed.groupBy((cents) => cents, { key: int64, value: int64 }).count("c");
// @ts-expect-error an explicit repartition topic needs the value's serde
changed.repartition("rp");
changed.repartition("rp", { value: int64, partitions: 3 }).groupByKey().count("c");
s.groupBy((p) => p.note ?? null, { key: string })
  .count("c")
  .toStream()
  .mapValues((_, { key }) => same<typeof key, string>(true));

// ---- nulls ----
const maybe = builder.stream("maybe", { key: nullable(string), value: nullable(int64) });
// @ts-expect-error it can be null
maybe.mapValues((n) => n + 1);
maybe.filter((n) => n !== null).mapValues((n) => same<typeof n, number>(true));
maybe.mapValues((n) => (n === null ? null : `${n}`)).to("out", { value: string });
maybe.to("out");
maybe.groupByKey().reduce("m", (a, b, { key }) => a + b + key.length);

// ---- promises ----
// @ts-expect-error a callback is synchronous
s.mapValues(async (p) => p.cents);
// @ts-expect-error
s.filter(async (p) => p.cents > 1);
// @ts-expect-error
s.peek(async () => {});
// @ts-expect-error
s.foreach(async () => {});
// @ts-expect-error
s.map(async (p) => ({ key: p.cents, value: p }));
// @ts-expect-error
summed.reduce("r", async (a, b) => a + b);
// @ts-expect-error
counted.mapValues(async (n) => n);
// @ts-expect-error
s.selectKey(async (p) => p.user_id, { key: string });
s.peek((p) => console.log(p));

// ---- merge and split ----
s.merge(s.filter((p) => p.cents > 1)).to("out");
const merged = s.merge(s.mapValues((p) => p.cents, { value: int64 }));
merged.mapValues((v) => same<typeof v, Purchase | number>(true));
// @ts-expect-error of two types: neither serde writes both
merged.to("out");
// What the first can write stays known, null or not.
maybe.merge(maybe.filter((n) => n !== null)).to("out");
maybe
  .filter((n) => n !== null)
  .merge(maybe)
  .to("out");
// @ts-expect-error the keys differ
s.merge(rekeyed);
const {
  low,
  2: second,
  rest,
} = s
  .split()
  .branch((p) => p.cents < 10, "low")
  .branch((p) => p.cents < 20)
  .branch(
    (p) => p.cents < 30,
    (branch) => branch.to("thirties"),
  )
  .defaultBranch("rest");
same<typeof low, KStream<string, Purchase>>(true);
second.to("second");
rest.to("rest");
// @ts-expect-error a branch with a consumer is not in the result
s
  .split()
  .branch(
    (p) => p.cents < 30,
    (branch) => branch.to("x"),
  )
  .noDefaultBranch()["1"];
const parts = maybe
  .split()
  .branch((n) => n !== null, "some")
  .defaultBranch("none");
parts.some.mapValues((n) => same<typeof n, number>(true));
parts.none.mapValues((n) => same<typeof n, null>(true));

// ---- sinks ----
s.to((p) => `to-${p.user_id}`, {
  headers: (p, record) => ({ cents: `${p.cents}`, key: record.key, raw: bytes.serialize(new Uint8Array()) }),
});
s.to("out", {
  headers: (_, record) => record.headers,
  partitioner: (key, p, partitions) => (key.length + p.cents) % partitions,
});
// @ts-expect-error a header is text or bytes
s.to("out", { headers: (p) => ({ cents: p.cents }) });
// @ts-expect-error the record is read-only
s.mapValues((_, record) => (record.timestampMs = 1));
s.to("out", { onError: { deadLetter: "dead" } });
// @ts-expect-error no such reaction
s.to("out", { onError: "ignore" });
