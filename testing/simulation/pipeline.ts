import { string, unvalidatedJson } from "../../serdes/index.js";
import { countIf, sum } from "../../topology/aggregators.js";
import { StreamsBuilder } from "../../topology/dsl.js";
import { untilWindowCloses } from "../../topology/dsl-options.js";
import type { ProcessorTopology } from "../../topology/processor-topology.js";
import { tumbling } from "../../topology/windows.js";

/** An input record: one of a kind by its id. */
export interface Event {
  readonly id: number;
  readonly partition: number;
  readonly key: string;
  readonly color: string;
  readonly amount: number;
  readonly timestampMs: number;
}

export const APPLICATION_ID = "simulated";
export const WINDOW = { sizeMs: 10_000, graceMs: 15_000 };
export const TOPICS = {
  input: "events",
  flagged: "flagged",
  oddFlagged: "odd-flagged",
  deadLetters: "dead-letters",
  sums: "sums",
  late: "late",
  finals: "finals",
  colors: "colors",
} as const;
export const REPARTITION = `${APPLICATION_ID}-by-color-repartition`;

export function isFlagged(event: Event): boolean {
  return event.amount % 3 === 0;
}

/** What an input record looks like on the wire; some are no event at all. */
export function wireValueOf(event: Event): Buffer {
  return Buffer.from(isBroken(event) ? `broken ${event.id}` : JSON.stringify(event));
}

export function isBroken(event: Event): boolean {
  return event.amount >= 97;
}

/** How final windows are made: held by the aggregate itself, or by a store of their own. */
export type FinalBy = "emit" | "suppress";

/**
 * One of each kind of result: records passed on to topics chosen one by one, dead letters, updates of windows, records
 * that come too late, final windows, and a count behind a repartition topic.
 */
export function pipeline(finalBy: FinalBy): ProcessorTopology {
  const builder = new StreamsBuilder();
  const event = unvalidatedJson<Event>();
  const events = builder.stream(TOPICS.input, {
    key: string,
    value: event,
    onError: { deadLetter: TOPICS.deadLetters },
  });
  events.filter(isFlagged).to(({ amount }) => (amount % 2 === 0 ? TOPICS.flagged : TOPICS.oddFlagged));

  const windows = events.groupByKey().windowedBy(tumbling(WINDOW));
  const sums = windows.aggregate("sums", { n: countIf(() => true), total: sum(({ amount }) => amount) });
  sums.toStream().to(TOPICS.sums, { value: unvalidatedJson<{ n: number; total: number }>() });
  sums.late.to(TOPICS.late, { value: { serialize: ({ value }) => event.serialize(value) } });
  const finals =
    finalBy === "emit"
      ? windows.emit("on-window-close").count("finals")
      : windows.count("finals").suppress(untilWindowCloses);
  finals.toStream().to(TOPICS.finals, { value: unvalidatedJson<number>() });

  events
    .groupBy(({ color }) => color, { key: string, name: "by-color" })
    .count("by-color-counts")
    .toStream()
    .to(TOPICS.colors, { value: unvalidatedJson<number>() });
  return builder.build();
}
