import fc from "fast-check";
import { expect, test } from "vitest";
import type { Row } from "../topology/state-store.js";
import { openTaskState } from "./open-stores.js";
import {
  changesOf,
  checkpointAt,
  rowCounts,
  type StorePlace,
  type Total,
  total,
  windowSpec,
  windows,
} from "./store-fixtures.suite.js";
import type { TaskState } from "./task-state.js";

type RowKey = readonly [startMs: number, key: string];
type Rows = Map<string, Row<Total>>;

const nameOf = (...key: RowKey): string => JSON.stringify(key);
const keyOf = (name: string): RowKey => JSON.parse(name) as RowKey;
const SEGMENT_MS = 60_000;
const expired = (startMs: number, beforeMs: number): boolean =>
  (Math.floor(startMs / SEGMENT_MS) + 1) * SEGMENT_MS <= beforeMs;

interface Snapshot {
  readonly rows: Rows;
  readonly beforeMs: number;
}

/** A window store as a Map says it should be. */
class WindowModel {
  rows: Rows = new Map();
  /** Names in the order of their first change since the last taking. */
  changed: string[] = [];
  atTaking: Rows = new Map();
  beforeMs = Number.NEGATIVE_INFINITY;
  frozen: Snapshot | undefined;
  durable: Snapshot = { rows: new Map(), beforeMs: Number.NEGATIVE_INFINITY };
  #kept: { rows: Rows; changed: string[] } = { rows: new Map(), changed: [] };

  put(key: string, startMs: number, value: Total | null, timestampMs: number): void {
    if (expired(startMs, this.beforeMs)) return;
    const name = nameOf(startMs, key);
    if (!this.changed.includes(name)) this.changed.push(name);
    if (value === null) this.rows.delete(name);
    else this.rows.set(name, { value, timestampMs });
  }

  get(key: string, startMs: number): Row<Total> | undefined {
    return expired(startMs, this.beforeMs) ? undefined : this.rows.get(nameOf(startMs, key));
  }

  visible(fromMs: number, toMs: number): (readonly [string, number, Row<Total>])[] {
    return [...this.rows]
      .map(([name, row]) => [keyOf(name), row] as const)
      .filter(([[startMs]]) => startMs >= fromMs && startMs < toMs && !expired(startMs, this.beforeMs))
      .map(([[startMs, key], row]) => [key, startMs, row] as const)
      .sort((a, b) => a[1] - b[1] || Buffer.compare(Buffer.from(a[0]), Buffer.from(b[0])));
  }

  changes(): (readonly [string, number, Total | null, Total | null])[] {
    const valueIn = (rows: ReadonlyMap<string, Row<Total>>, name: string): Total | null =>
      rows.get(name)?.value ?? null;
    return this.changed
      .map((name) => [keyOf(name)[1], keyOf(name)[0], valueIn(this.rows, name), valueIn(this.atTaking, name)] as const)
      .filter(([, , now, before]) => now !== null || before !== null);
  }

  keep(): void {
    this.#kept = { rows: new Map(this.rows), changed: [...this.changed] };
  }

  takeBack(): void {
    this.rows = new Map(this.#kept.rows);
    this.changed = [...this.#kept.changed];
  }

  take(): void {
    this.frozen = { rows: new Map(this.rows), beforeMs: this.beforeMs };
    this.atTaking = new Map(this.rows);
    this.changed = [];
    this.keep();
  }

  apply(): void {
    const { rows, beforeMs } = this.frozen ?? this.durable;
    this.durable = { rows: new Map([...rows].filter(([name]) => !expired(keyOf(name)[0], beforeMs))), beforeMs };
    this.frozen = undefined;
  }

  reopen(isDurable: boolean): void {
    if (!isDurable) this.durable = { rows: new Map(), beforeMs: Number.NEGATIVE_INFINITY };
    this.rows = new Map(this.durable.rows);
    this.atTaking = new Map(this.durable.rows);
    this.beforeMs = this.durable.beforeMs;
    this.changed = [];
    this.frozen = undefined;
    this.keep();
  }
}

type Step =
  | { readonly kind: "put"; readonly key: string; readonly startMs: number; readonly sum: number | null }
  | { readonly kind: "get"; readonly key: string; readonly startMs: number }
  | { readonly kind: "fetch"; readonly key: string; readonly fromMs: number; readonly toMs: number }
  | { readonly kind: "range"; readonly fromMs: number; readonly toMs: number }
  | { readonly kind: "expire"; readonly beforeMs: number }
  | { readonly kind: "keep" | "takeBack" | "take" | "apply" | "crash" | "changes" };

const keys = fc.constantFrom("", "a", "aa", "b", "ä", "日", "Z");
const starts = fc.integer({ min: -3, max: 12 }).map((n) => n * 30_000);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ kind: fc.constant("put" as const), key: keys, startMs: starts, sum: fc.option(fc.nat(9)) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("get" as const), key: keys, startMs: starts }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("fetch" as const), key: keys, fromMs: starts, toMs: starts }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("range" as const), fromMs: starts, toMs: starts }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("expire" as const), beforeMs: starts }) },
  { weight: 10, arbitrary: fc.record({ kind: fc.constantFrom("keep", "takeBack", "take", "apply", "changes") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash" as const) }) },
);

/** Runs the same steps on a state and on the model, and keeps the changelog that the commits wrote. */
class ModelRun {
  readonly model = new WindowModel();
  readonly changelog: { key: Buffer; value: Uint8Array | null; timestampMs: number; offset: number }[] = [];
  #state: TaskState;
  #commits = 0;
  #clockMs = 0;
  #taken: readonly { changelogKey: Buffer; value: Uint8Array | null; timestampMs: number }[] = [];

  constructor(
    readonly open: () => TaskState,
    readonly isDurable: boolean,
  ) {
    this.#state = open();
  }

  get state(): TaskState {
    return this.#state;
  }

  run(step: Step): void {
    const { model } = this;
    const store = windows(this.#state);
    if (step.kind === "put") {
      const value = step.sum === null ? null : { sum: step.sum };
      const timestampMs = this.#clockMs++;
      store.put(step.key, step.startMs, value, timestampMs);
      model.put(step.key, step.startMs, value, timestampMs);
    } else if (step.kind === "get") {
      expect(store.get(step.key, step.startMs)).toEqual(model.get(step.key, step.startMs));
    } else if (step.kind === "fetch") {
      const rows = model.visible(step.fromMs, step.toMs).filter(([key]) => key === step.key);
      const found = [...store.fetch(step.key, step.fromMs, step.toMs)];
      expect(found).toEqual(rows.map(([, startMs, row]) => [startMs, row]));
    } else if (step.kind === "range") {
      expect([...store.range(step.fromMs, step.toMs)]).toEqual(model.visible(step.fromMs, step.toMs));
    } else if (step.kind === "expire") {
      store.expire(step.beforeMs);
      model.beforeMs = Math.max(model.beforeMs, step.beforeMs);
    } else this.#act(step.kind);
  }

  #act(kind: "keep" | "takeBack" | "take" | "apply" | "crash" | "changes"): void {
    if (kind === "keep" || kind === "takeBack") {
      this.#state[kind]();
      this.model[kind]();
    } else if (kind === "take") this.#take();
    else if (kind === "apply") this.#apply();
    else if (kind === "crash") this.#crash();
    else {
      const found = changesOf(windows(this.#state)).map((change) => change.slice(0, 4));
      expect(found).toEqual(this.model.changes());
    }
  }

  #take(): void {
    if (this.model.frozen !== undefined) return;
    const expected = this.model.changes().map(([key, startMs, now]) => [key, startMs, now ?? undefined]);
    this.#taken = [...this.#state.take()[0]!.rows];
    this.model.take();
    const found = this.#taken.map(({ changelogKey, value }) => {
      const key = changelogKey.subarray(0, -12).toString();
      return [
        key,
        Number(changelogKey.readBigInt64BE(changelogKey.length - 12)),
        value === null ? undefined : total.deserialize(value),
      ];
    });
    expect(found).toEqual(expected);
  }

  #apply(): void {
    if (this.model.frozen === undefined) return;
    const first = this.changelog.length;
    this.#taken.forEach(({ changelogKey, value, timestampMs }, i) => {
      this.changelog.push({ key: changelogKey, value, timestampMs, offset: first + i });
    });
    this.#state.apply(checkpointAt(++this.#commits, { spend: this.changelog.length }), { spend: first });
    this.model.apply();
    expect(rowCounts(this.#state)).toEqual({ spend: this.model.durable.rows.size });
  }

  #crash(): void {
    this.#state.close();
    this.#state = this.open();
    this.model.reopen(this.isDurable);
    if (!this.isDurable) this.changelog.length = 0;
  }
}

export function modelRules(place: StorePlace): void {
  const stores = [windowSpec("spend", 120_000, place.advanceMs)];
  const run = (
    steps: readonly Step[],
    cacheBytesMax: number,
    then: (run: ModelRun) => void = () => undefined,
  ): void => {
    const file = place.make();
    const modelRun = new ModelRun(() => openTaskState({ file, stores, cacheBytesMax }), place.durable);
    try {
      for (const each of steps) modelRun.run(each);
      modelRun.run({ kind: "range", fromMs: -1_000_000, toMs: 1_000_000 });
      then(modelRun);
    } finally {
      modelRun.state.close();
      place.remove(file);
    }
  };
  const runs = { numRuns: place.durable ? 60 : 200 };

  test("any sequence of steps gives what a plain Map gives, whatever the cache forgets", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.constantFrom(0, 1_500, 1_000_000), (steps, cacheBytesMax) =>
        run(steps, cacheBytesMax),
      ),
      runs,
    );
  });

  test("the changelog above the cut restores the rows that are live on both sides", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) =>
        run(steps, 1_500, ({ state, model, changelog }) => {
          const restored = openTaskState({ file: ":memory:", stores });
          const cut = state.changelogCuts().spend ?? 0;
          restored.restore("spend", changelog.slice(cut), changelog.length);
          // The original keeps what nobody expired; restore expires by the newest window it sees.
          const newestMs = restored.newestWindowStartMs("spend") ?? Number.NEGATIVE_INFINITY;
          const liveMs = Math.max(model.durable.beforeMs, newestMs - 120_000);
          const live = (startMs: number): boolean => !expired(startMs, liveMs);
          const rows = [...windows(restored).range(-1_000_000, 1_000_000)].filter(([, startMs]) => live(startMs));
          restored.close();
          model.reopen(true);
          expect(rows).toEqual(model.visible(-1_000_000, 1_000_000).filter(([, startMs]) => live(startMs)));
        }),
      ),
      runs,
    );
  });
}
