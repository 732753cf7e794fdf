import { rm } from "node:fs/promises";
import {
  count,
  countIf,
  KafkaStreams,
  type KStream,
  max,
  StreamsBuilder,
  storeName,
  sum,
  type Transport,
  tumbling,
} from "millrace";
import { json, string, unvalidatedJson, windowed } from "millrace/serdes";
import { describe, expect, test } from "vitest";
import { eventually, LogProbe, type ProbeRecord, unique } from "../../testing/log-probe.suite.js";
import { GRACE_MS, isLate, Purchase, WINDOW_MS, windowStartMs } from "./model.js";
import { purchaseTopology } from "./topology.js";

/** A log to run on, and a state directory of the test's own. */
export interface EvolutionPlace {
  readonly transport: () => Transport;
  readonly stateDir: string;
}

type Purchases = KStream<string, Purchase>;

/** What an edit changes of the pipeline; what it leaves out stays. */
interface Edit {
  readonly before?: (purchases: Purchases) => Purchases;
  readonly store?: string;
  readonly windowMs?: number;
  readonly withLargest?: boolean;
  /** Of what the edited pipeline takes in. */
  readonly keeps?: (purchase: Purchase) => boolean;
  readonly refused?: RegExp;
}

const EDITS: Readonly<Record<string, Edit>> = {
  "a field added": { withLargest: true },
  "a filter inserted": {
    before: (purchases) => purchases.filter((purchase) => purchase.goods !== "gift"),
    keeps: (purchase) => purchase.goods !== "gift",
  },
  "a stateful step added before it": {
    before: (purchases) =>
      purchases
        .groupByKey()
        .reduce("last-purchase", (_, purchase) => purchase, { cache: false })
        .toStream(),
  },
  "the window changed": { windowMs: 2 * WINDOW_MS, refused: /sizeMs was 300000 and is 600000.*a new name.*reset/ },
  "a store renamed": { store: "sales-per-user", refused: /"sales-per-user".*is new: a renamed store.*old name.*reset/ },
};

export type EditName = keyof typeof EDITS;

/** The purchase pipeline after an edit: the same topic, serdes, windows, store and fields, unless the edit says otherwise. */
function edited(topics: Topics, edit: Edit) {
  const builder = new StreamsBuilder();
  const purchases = builder.stream(topics.inputTopic, {
    key: string,
    value: json(Purchase),
    timestamp: (purchase) => Date.parse(purchase.timestamp),
  });
  const aggregators = {
    transaction_count: count(),
    late_transaction: countIf((purchase: Purchase) => isLate(Date.parse(purchase.timestamp), INGESTED_MS)),
    total_cents: sum((purchase: Purchase) => Math.round(purchase.amount * 100)),
  };
  const largest = { largest: max((purchase: Purchase) => purchase.amount) };
  (edit.before?.(purchases) ?? purchases)
    .groupByKey({ value: json(Purchase) })
    .windowedBy(tumbling({ sizeMs: edit.windowMs ?? WINDOW_MS, graceMs: GRACE_MS }))
    .aggregate(
      storeName(edit.store ?? "purchases-per-user"),
      edit.withLargest ? { ...aggregators, ...largest } : aggregators,
    )
    .toStream()
    .mapValues(({ total_cents, ...sums }) => ({ ...sums, total_amount: total_cents / 100 }))
    .to(topics.outputTopic, { value: unvalidatedJson<object>() });
  return builder.build();
}

interface Topics {
  readonly inputTopic: string;
  readonly outputTopic: string;
  readonly lateTopic: string;
  readonly expiredTopic: string;
  readonly deadLetterTopic: string;
}

const PARTITIONS = 3;
const NOON_MS = Date.UTC(2026, 10, 22, 12);
const INGESTED_MS = NOON_MS + 40 * 60_000;
const USERS = ["ann", "bob", "cid", "dee"];

/** In the order of their times, so that only the edit makes a difference. The second half goes on in the windows of the first. */
function purchases(from: number, to: number): Purchase[] {
  return Array.from({ length: to - from }, (_, index) => {
    const at = from + index;
    return {
      transaction_id: `tx-${at}`,
      user_id: USERS[at % USERS.length] as string,
      goods: at % 5 === 0 ? "gift" : "lamp",
      quantity: 1,
      price: 1 + (at % 7) + 0.01,
      amount: 1 + (at % 7) + 0.01,
      timestamp: new Date(NOON_MS + at * 15_000).toISOString(),
    };
  });
}

function records(made: readonly Purchase[]): ProbeRecord[] {
  return made.map((one) => ({ key: one.user_id, value: JSON.stringify(one), timestampMs: INGESTED_MS }));
}

interface Sums {
  transaction_count: number;
  late_transaction: number;
  cents: number;
  largest?: number;
}

/** The model: what each user and window must come to. */
class Oracle {
  readonly rows = new Map<string, Sums>();

  add(made: readonly Purchase[], { keeps, withLargest }: Edit = {}): this {
    for (const purchase of made) {
      if (keeps?.(purchase) === false) continue;
      const timeMs = Date.parse(purchase.timestamp);
      const key = `${purchase.user_id} ${windowStartMs(timeMs)}`;
      const row = this.rows.get(key) ?? { transaction_count: 0, late_transaction: 0, cents: 0 };
      row.transaction_count++;
      if (isLate(timeMs, INGESTED_MS)) row.late_transaction++;
      row.cents += Math.round(purchase.amount * 100);
      if (withLargest === true) row.largest = Math.max(row.largest ?? 0, purchase.amount);
      this.rows.set(key, row);
    }
    return this;
  }
}

class Evolution {
  readonly applicationId = unique("evolution");
  readonly topics: Topics = {
    inputTopic: `${this.applicationId}-in`,
    outputTopic: `${this.applicationId}-out`,
    lateTopic: `${this.applicationId}-late`,
    expiredTopic: `${this.applicationId}-expired`,
    deadLetterTopic: `${this.applicationId}-dead`,
  };
  readonly probe: LogProbe;
  readonly said: string[] = [];
  /** Changelog records that the last run read back into the store of the edits. */
  restored = 0;

  constructor(readonly place: EvolutionPlace) {
    this.probe = new LogProbe(place.transport());
  }

  async open(): Promise<this> {
    await this.probe.transport.connect();
    for (const topic of Object.values(this.topics)) await this.probe.createTopic(topic, PARTITIONS);
    return this;
  }

  original() {
    return purchaseTopology({ ...this.topics, emit: "update" }).build();
  }

  /** Runs a topology until it has read everything, or has stopped by itself; gives what stopped it. */
  async run(topology: ReturnType<typeof edited>): Promise<Error | undefined> {
    const note = (_: object, message: string): number => this.said.push(message);
    const logger = { debug: () => undefined, info: note, warn: note, error: note };
    const streams = new KafkaStreams(topology, {
      applicationId: this.applicationId,
      transport: this.place.transport(),
      stateDir: this.place.stateDir,
      commitIntervalMs: 10,
      sessionTimeoutMs: 6_000,
      logger,
    });
    await streams.start();
    await eventually(
      () => `everything is read; ${streams.state}: ${streams.status.reason}`,
      async () => {
        if (streams.state === "ERROR") return true;
        return (await this.probe.lag(this.applicationId, this.topics.inputTopic)) === 0;
      },
    );
    await streams.close();
    this.restored = streams.metrics.counter("restored_records_total", { store: "purchases-per-user" }).value;
    return streams.failure;
  }

  /** The last value of each user and window. */
  async outputs(): Promise<Map<string, Sums>> {
    const keys = windowed(string, { sizeMs: WINDOW_MS });
    const rows = new Map<string, Sums>();
    for (const { key, value } of await this.probe.read(this.topics.outputTopic)) {
      const at = keys.deserialize(key as Buffer);
      const { transaction_count, late_transaction, total_amount, largest } = JSON.parse(String(value));
      const cents = Math.round(total_amount * 100);
      const row: Sums = { transaction_count, late_transaction, cents };
      rows.set(`${at.key} ${at.window.startMs}`, largest === undefined ? row : { ...row, largest });
    }
    return rows;
  }

  async close(): Promise<void> {
    const { topics } = this.probe.transport;
    const changelogs = ["purchases-per-user", "last-purchase"].map(
      (store) => `${this.applicationId}-${store}-changelog`,
    );
    await topics.delete([...Object.values(this.topics), ...changelogs]);
    await this.probe.close();
  }
}

/** Edits of the purchase pipeline over live state, each with the state directory as it was, and with a wiped one. */
export function evolutionSuite(where: string, open: () => Promise<EvolutionPlace>, names = Object.keys(EDITS)): void {
  describe.each(names)(`over live state on ${where}: %s`, (name) => {
    const edit = EDITS[name] as Edit;
    const outcome = edit.refused === undefined ? "goes on as the model does" : "is refused, and nothing is spoiled";
    test.each(["its state directory", "a wiped one"])(`${outcome}, with %s`, async (directory) => {
      const place = await open();
      const evolution = await new Evolution(place).open();
      const [first, second] = [purchases(0, 50), purchases(50, 110)];
      await evolution.probe.write(evolution.topics.inputTopic, records(first));
      expect(await evolution.run(evolution.original())).toBeUndefined();
      await evolution.probe.write(evolution.topics.inputTopic, records(second));
      if (directory === "a wiped one") await rm(place.stateDir, { recursive: true });

      const failure = await evolution.run(edited(evolution.topics, edit));
      const oracle = new Oracle().add(first);
      if (edit.refused === undefined) {
        expect(failure).toBeUndefined();
        if (directory === "its state directory") expect(evolution.restored).toBe(0);
        else expect(evolution.restored).toBeGreaterThan(0);
        oracle.add(second, edit);
      } else {
        expect(failure).toMatchObject({ code: "TOPOLOGY_CHANGED" });
        expect(failure?.message).toMatch(edit.refused);
        expect(await evolution.run(evolution.original())).toBeUndefined();
        oracle.add(second);
      }
      if (edit.withLargest === true)
        expect(evolution.said.join("\n")).toMatch(/"purchases-per-user" has changed: field largest added/);
      expect(await evolution.outputs()).toEqual(oracle.rows);
      await evolution.close();
    });
  });
}
