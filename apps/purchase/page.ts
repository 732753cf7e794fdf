import type { KafkaStreams, ProcessorTopology, ReadOnlyWindowStore, Transport, WindowEntry } from "millrace";
import {
  type Column,
  Dashboard,
  type FeedRecord,
  type Lookup,
  openWindows,
  type Panel,
  type Row,
  topicFeed,
} from "millrace/dashboard";
import { eventTimeMs } from "./event-time.js";
import { EXPIRED_HEADER, GRACE_MS } from "./model.js";
import { objectOf } from "./output.js";
import { printable } from "./text.js";
import type { TopicNames } from "./topics.js";
import { STORE } from "./topology.js";

export interface PageOptions {
  readonly applicationId: string;
  readonly topology: ProcessorTopology;
  /** The feeds read through it, beside the pipeline. */
  readonly transport: Transport;
  readonly topics: TopicNames;
  /** Turns a value into JSON where the topics hold something else. */
  readonly toJson?: ((record: FeedRecord) => Promise<FeedRecord>) | undefined;
}

/** The page on a running pipeline, with what this application can show beyond any other: its late events, and its refusals. */
export function purchasePage(streams: KafkaStreams, options: PageOptions): Dashboard {
  const { applicationId, topology } = options;
  return new Dashboard(streams, {
    applicationId,
    topology,
    title: "Purchases",
    panels: [windows(streams), ...feeds(options)],
    lookups: [userWindows(streams)],
  });
}

/** A row of the state: what a user's purchases in one window add up to. */
interface Sums {
  readonly transaction_count: number;
  readonly late_transaction: number;
  readonly total_cents: number;
}

const SUM_COLUMNS: readonly Column[] = [
  { title: "Purchases", kind: "number" },
  { title: "Late", kind: "number" },
  { title: "Total", kind: "money" },
];

function valuesOf(sums: Sums): readonly number[] {
  return [sums.transaction_count, sums.late_transaction, sums.total_cents];
}

function storeOf(streams: KafkaStreams): ReadOnlyWindowStore<string, Sums> {
  return streams.store(STORE) as ReadOnlyWindowStore<string, Sums>;
}

function windows(streams: KafkaStreams): Panel {
  return openWindows<Sums>({
    name: "windows",
    title: "Open windows",
    note: "committed, this instance's users",
    keys: "Users",
    graceMs: GRACE_MS,
    streams,
    store: () => storeOf(streams),
    columns: SUM_COLUMNS,
    valuesOf,
  });
}

const FOUND_MAX = 200;

function userWindows(streams: KafkaStreams): Lookup {
  return {
    name: "user",
    title: "A user's windows",
    note: "committed, of this instance's partitions; windows stay for an hour after their end",
    label: "User, or how the name begins",
    placeholder: "user-000042",
    columns: [
      { title: "User", kind: "text" },
      { title: "From", kind: "time" },
      { title: "To", kind: "time" },
      ...SUM_COLUMNS,
      { title: "Closes at", kind: "time" },
    ],
    find: async (text) => {
      const store = storeOf(streams);
      const own = take(store.fetch(text), FOUND_MAX);
      // The largest code point: behind every name that begins so.
      const found = own.length > 0 ? own : take(store.range({ from: text, to: `${text}\u{10ffff}` }), FOUND_MAX);
      const rows = found
        .sort((a, b) => b.window.startMs - a.window.startMs || (a.key < b.key ? -1 : 1))
        .map(({ key, window, value }): Row => {
          return [printable(key), window.startMs, window.endMs, ...valuesOf(value), window.endMs + GRACE_MS];
        });
      if (rows.length === 0) return { rows, summary: "no window of such a user is here" };
      const users = new Set(found.map(({ key }) => key)).size;
      const more = found.length === FOUND_MAX ? "the first " : "";
      return { rows, summary: `${more}${rows.length} windows of ${users === 1 ? "one user" : `${users} users`}` };
    },
  };
}

function take(entries: Iterable<WindowEntry<string, Sums>>, max: number): WindowEntry<string, Sums>[] {
  const taken: WindowEntry<string, Sums>[] = [];
  for (const entry of entries) if (taken.push(entry) >= max) break;
  return taken;
}

const PURCHASE_COLUMNS: readonly Column[] = [
  { title: "Event time", kind: "time" },
  { title: "User", kind: "text" },
  { title: "Amount", kind: "money" },
  { title: "Goods", kind: "text" },
];

function feeds({ transport, topics, toJson }: PageOptions): readonly Panel[] {
  const feed = (
    name: string,
    topic: string,
    rest: Pick<Parameters<typeof topicFeed>[0], "title" | "note" | "empty" | "columns" | "timeOf" | "toRow">,
  ): Panel => {
    const toRow = async (record: FeedRecord): Promise<Row> => rest.toRow((await toJson?.(record)) ?? record);
    return topicFeed({ ...rest, name, topic, transport, toRow });
  };
  return [
    feed("late", topics.lateTopic, {
      title: "Late events",
      note: `committed to ${topics.lateTopic}, newest first`,
      empty: "no purchase has come late",
      columns: [...PURCHASE_COLUMNS, { title: "Late by", kind: "duration" }],
      toRow: (record) => {
        const value = objectOf(record.value) ?? {};
        const ingestionMs = eventTimeMs(String(value.ingestion_time ?? ""));
        const lateByMs = ingestionMs === undefined ? null : ingestionMs - record.timestampMs;
        return [...purchaseCells(value, record.timestampMs), lateByMs];
      },
    }),
    feed("expired", topics.expiredTopic, {
      title: "Expired purchases",
      note: `came behind the watermark, committed to ${topics.expiredTopic}`,
      empty: "no purchase has come behind the watermark",
      columns: [...PURCHASE_COLUMNS, { title: "Window closed before", kind: "duration" }],
      toRow: (record) => {
        const lateByMs = Number(headerOf(record, EXPIRED_HEADER.lateByMs));
        return [
          ...purchaseCells(objectOf(record.value) ?? {}, record.timestampMs),
          Number.isFinite(lateByMs) ? lateByMs : null,
        ];
      },
    }),
    feed("dead-letters", topics.deadLetterTopic, {
      title: "Dead letters",
      note: `no purchases, committed to ${topics.deadLetterTopic}`,
      empty: "every record was a purchase",
      columns: [
        { title: "Time", kind: "time" },
        { title: "Why", kind: "text" },
        { title: "Value", kind: "text" },
      ],
      toRow: (record) => [
        record.timestampMs,
        headerOf(record, "__streams.errors.message").slice(0, 200),
        record.value === null ? "null" : printable(record.value.subarray(0, 120).toString("utf8")),
      ],
    }),
  ];
}

/** Whatever is not there or is something else is left out: this is no judge. */
function purchaseCells(value: Readonly<Record<string, unknown>>, timestampMs: number): Row {
  const eventMs = typeof value.timestamp === "string" ? eventTimeMs(value.timestamp) : undefined;
  return [
    eventMs ?? timestampMs,
    printable(String(value.user_id ?? "?")),
    typeof value.amount === "number" ? Math.round(value.amount * 100) : null,
    printable(`${value.quantity ?? "?"} × ${value.goods ?? "?"}`),
  ];
}

function headerOf(record: FeedRecord, name: string): string {
  const found = record.headers.find(([key]) => key === name)?.[1];
  return found === undefined || found === null ? "?" : printable(Buffer.from(found).toString("utf8"));
}
