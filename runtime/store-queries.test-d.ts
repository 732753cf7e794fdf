// What queries give by the table they are asked of, and what must not compile. Checked by `tsc`; nothing here runs.
import { unvalidatedJson } from "../serdes/json.js";
import { int64, string } from "../serdes/serde.js";
import { count, mean, sum } from "../topology/aggregators.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { untilWindowCloses } from "../topology/dsl-options.js";
import type { ReadOnlyKeyValueStore, ReadOnlyWindowStore } from "../topology/read-only-store.js";
import { hours, minutes, tumbling } from "../topology/windows.js";
import type { KafkaStreams } from "./streams.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Compiles only where both types are the same. */
declare function same<A, B>(proof: Equal<A, B>): void;
declare const streams: KafkaStreams;

interface Purchase {
  readonly cents: number;
}
const window = { startMs: 0, endMs: 300_000 };
const grouped = new StreamsBuilder()
  .stream("purchases", { key: string, value: unvalidatedJson<Purchase>() })
  .groupByKey();
const perUser = grouped
  .windowedBy(tumbling({ sizeMs: minutes(5), graceMs: hours(1) }))
  .aggregate("per-user", { total_cents: sum((p) => p.cents), average: mean((p) => p.cents), n: count() });
const total = grouped.count("total");

// ---- by the table: no name, no cast ----
const cents = streams.store(perUser).get({ key: "ann", window })?.total_cents;
same<typeof cents, number | undefined>(true);
const average = streams.store(perUser).get({ key: "ann", window: { startMs: 0 } })?.average;
same<typeof average, number | undefined>(true);
for (const row of streams.store(perUser).fetch("ann", { fromMs: 0 })) same<typeof row.key, string>(true);
for (const row of streams.store(perUser).fetchAll()) same<typeof row.value.n, number>(true);
const one = streams.store(total).get("ann");
same<typeof one, number | undefined>(true);
for (const { key, value } of streams.store(total).range({ from: "a", to: "b" })) key.length + value;
const mapped = streams.store(total.mapValues((n) => String(n), { value: string })).get("ann");
same<typeof mapped, string | undefined>(true);
// A row that the table does not have is undefined, not null.
const filtered = streams.store(total.filter((n) => n > 1)).get("ann");
same<typeof filtered, number | undefined>(true);
streams.store(perUser.suppress(untilWindowCloses)).get({ key: "ann", window });
const rekeyed = streams.store(new StreamsBuilder().stream("t", { key: int64, value: string }).groupByKey().count("n"));
same<typeof rekeyed, ReadOnlyKeyValueStore<number, number>>(true);

// @ts-expect-error a windowed store is asked for a key and a window
streams.store(perUser).get("ann");
// @ts-expect-error a key of another type
streams.store(perUser).get({ key: 1, window });
// @ts-expect-error the aggregate has no such field
streams.store(perUser).get({ key: "ann", window })?.cents;
// @ts-expect-error a store without windows has no fetch
streams.store(total).fetch("ann");
// @ts-expect-error nor a window in its key
streams.store(total).get({ key: "ann", window });
// @ts-expect-error a range of keys of another type
streams.store(total).range({ from: 1 });
// @ts-expect-error a stream has no store
streams.store(perUser.toStream());

// ---- by name: what it holds is not known ----
const named = streams.store("per-user");
// @ts-expect-error the kind is to be asked first
named.fetch("ann");
if (named.kind === "window") {
  same<typeof named, ReadOnlyWindowStore<unknown, unknown>>(true);
  named.fetch("ann");
}
