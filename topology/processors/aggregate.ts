import type { Aggregation } from "../aggregation.js";
import type { ProcessorContext, ProcessorFactory } from "../processor.js";
import type { KeyValueStore } from "../state-store.js";
import { expectSynchronous } from "./synchronous.js";

export interface AggregateOptions {
  readonly store: string;
  readonly aggregation: Aggregation;
  /** True: updates go on at the commit, the last one of each row. */
  readonly cache: boolean;
  /** Whether an operator below the table asks what a row was before. */
  readonly sendsOldValues: boolean;
}

/** `count`, `reduce` and `aggregate` without windows. Null keys and null values are dropped. */
export function aggregateProcessor(options: AggregateOptions): ProcessorFactory {
  return (context) => {
    const { aggregation, cache } = options;
    const { record, nodeName } = context;
    const store = context.store(options.store) as KeyValueStore;
    const emit = rowEmitter(context, options);
    let checked = false;
    return {
      process(key, value, timestampMs) {
        if (key === null || key === undefined) return context.drop("null-key");
        if (value === null || value === undefined) return context.drop("null-value");
        record.key = key;
        record.timestampMs = timestampMs;
        const row = store.get(key);
        const state = aggregation.next(row?.value, value, record) ?? null;
        if (!checked) checked = expectSynchronous(state, nodeName);
        const rowTimestampMs = row === undefined ? timestampMs : Math.max(row.timestampMs, timestampMs);
        store.put(key, state, rowTimestampMs);
        if (!cache) emit(key, state, row?.value ?? null, rowTimestampMs);
      },
      flush() {
        if (!cache) return;
        store.forEachChange((key, state, before, changedAtMs) => {
          record.recordTimestampMs = changedAtMs;
          emit(key, state, before, changedAtMs);
        });
      },
    };
  };
}

/** Sends a row's change on, with the results in place of the states. */
export function rowEmitter(
  context: ProcessorContext,
  { aggregation, sendsOldValues }: Pick<AggregateOptions, "aggregation" | "sendsOldValues">,
): (key: unknown, state: unknown, before: unknown, timestampMs: number) => void {
  const result = (state: unknown): unknown => (state === null ? null : aggregation.result(state));
  return (key, state, before, timestampMs) => {
    const oldValue = sendsOldValues ? result(before) : undefined;
    context.forward(key, { newValue: result(state), oldValue }, timestampMs);
  };
}
