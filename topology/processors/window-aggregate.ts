import type { Windowed } from "../../serdes/windowed.js";
import type { Late } from "../dsl-options.js";
import type { ProcessorFactory } from "../processor.js";
import type { WindowStore } from "../state-store.js";
import type { Windows } from "../windows.js";
import { type AggregateOptions, rowEmitter } from "./aggregate.js";
import { expectSynchronous } from "./synchronous.js";

export interface WindowAggregateOptions extends AggregateOptions {
  readonly windows: Windows;
  readonly retentionMs: number;
  readonly emit: "on-update" | "on-window-close";
  /** The child that takes the records refused by all their windows; undefined where nobody asked for them. */
  readonly lateChild: number | undefined;
}

/** A record on its way to the late side. */
class LateRecord implements Late<unknown> {
  constructor(
    readonly value: unknown,
    readonly windows: Late<unknown>["windows"],
    readonly streamTimeMs: number,
    readonly lateByMs: number,
  ) {}
}

/**
 * `count`, `reduce` and `aggregate` in tumbling and hopping windows.
 *
 * A window accepts a record iff its end > T - grace, with T the largest event time of all records with a key and a value,
 * this one included. Each window that refuses counts as one dropped record; a record that all its windows refuse goes to
 * the late side, once. Records without a key or without a value are dropped and do not move T.
 */
export function windowAggregateProcessor(options: WindowAggregateOptions): ProcessorFactory {
  return (context) => {
    const { windows, aggregation, lateChild } = options;
    const { sizeMs, advanceMs, graceMs } = windows;
    const { record, clock, nodeName } = context;
    const store = context.store(options.store) as WindowStore;
    const emit = rowEmitter(context, options);
    const emitsAtOnce = options.emit === "on-update" && !options.cache;
    let checked = false;

    const add = (key: unknown, startMs: number, value: unknown, timestampMs: number): void => {
      record.key = key;
      record.timestampMs = timestampMs;
      const row = store.get(key, startMs);
      const state = aggregation.next(row?.value, value, record) ?? null;
      if (!checked) checked = expectSynchronous(state, nodeName);
      const rowTimestampMs = row === undefined ? timestampMs : Math.max(row.timestampMs, timestampMs);
      store.put(key, startMs, state, rowTimestampMs);
      if (emitsAtOnce) emit(windowed(key, startMs, sizeMs), state, row?.value ?? null, rowTimestampMs);
    };

    return {
      process(key, value, timestampMs) {
        if (key === null || key === undefined) return context.drop("null-key");
        if (value === null || value === undefined) return context.drop("null-value");
        if (timestampMs > clock.streamTimeMs) clock.streamTimeMs = timestampMs;
        const closedUpToMs = clock.streamTimeMs - graceMs;
        let endMs = 0;
        for (let startMs = windows.firstStartMs(timestampMs); startMs <= timestampMs; startMs += advanceMs) {
          endMs = startMs + sizeMs;
          if (endMs > closedUpToMs) add(key, startMs, value, timestampMs);
          else context.drop("late");
        }
        // The newest window closes last: when it has refused, all have.
        const outcome = endMs > clock.streamTimeMs ? "in-time" : endMs > closedUpToMs ? "accepted" : "dropped";
        context.late(clock.streamTimeMs - timestampMs, outcome);
        if (lateChild === undefined || endMs > closedUpToMs) return;
        const late = new LateRecord(value, windows.windowsFor(timestampMs), clock.streamTimeMs, closedUpToMs - endMs);
        context.forwardTo(lateChild, key, late, timestampMs);
      },
      flush() {
        if (clock.streamTimeMs < 0) return;
        if (options.emit === "on-window-close") {
          emitClosed(store, sizeMs, clock, graceMs, (key, startMs, value, timestampMs) => {
            record.recordTimestampMs = timestampMs;
            emit(windowed(key, startMs, sizeMs), value, null, timestampMs);
          });
        } else if (options.cache) {
          store.forEachChange((key, startMs, state, before, changedAtMs) => {
            record.recordTimestampMs = changedAtMs;
            emit(windowed(key, startMs, sizeMs), state, before, changedAtMs);
          });
        }
        // After the emission only: what was not emitted must not expire. As in Kafka Streams the newest window, not the
        // stream time, says what is too old.
        store.expire(windows.lastStartMs(clock.streamTimeMs) - options.retentionMs + 1);
      },
    };
  };
}

/**
 * Emits the rows of the windows that have closed since the last time, by start, then by the key's bytes, and remembers
 * in the clock how far it came.
 */
export function emitClosed(
  store: WindowStore,
  sizeMs: number,
  clock: { readonly streamTimeMs: number; emittedUpToMs: number },
  graceMs: number,
  emit: (key: unknown, startMs: number, value: unknown, timestampMs: number) => void,
): void {
  const closedUpToMs = clock.streamTimeMs - graceMs;
  if (closedUpToMs <= clock.emittedUpToMs) return;
  const fromMs = clock.emittedUpToMs - sizeMs + 1;
  for (const [key, startMs, row] of store.range(Math.max(0, fromMs), closedUpToMs - sizeMs + 1)) {
    emit(key, startMs, row.value, row.timestampMs);
  }
  clock.emittedUpToMs = closedUpToMs;
}

function windowed(key: unknown, startMs: number, sizeMs: number): Windowed<unknown> {
  return { key, window: { startMs, endMs: startMs + sizeMs } };
}
