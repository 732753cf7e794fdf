import type { AnyCallback } from "../graph.js";
import type { Change, ProcessorContext, ProcessorFactory } from "../processor.js";
import { expectSynchronous } from "./synchronous.js";

/** Calls a user's callback for a row that is there; null stays null, undefined (not known) stays undefined. */
function rowCaller(
  context: ProcessorContext,
  callback: AnyCallback,
): (key: unknown, value: unknown, timestampMs: number) => unknown {
  const { record, nodeName } = context;
  let checked = false;
  return (key, value, timestampMs) => {
    if (value === null || value === undefined) return value;
    record.key = key;
    record.timestampMs = timestampMs;
    const answer = callback(value, record);
    if (!checked) checked = expectSynchronous(answer, nodeName);
    return answer;
  };
}

/**
 * A row that the predicate refuses goes on as null. Where the table above knows its old values, a row that was refused or
 * absent before and still is does not go on at all; where it does not, null goes on each time (Kafka Streams' KTableFilter).
 */
export function tableFilterProcessor(keep: AnyCallback, pass: boolean): ProcessorFactory {
  return (context) => {
    const call = rowCaller(context, keep);
    const filtered = (key: unknown, value: unknown, timestampMs: number): unknown => {
      if (value === null || value === undefined) return value;
      return Boolean(call(key, value, timestampMs)) === pass ? value : null;
    };
    return {
      process(key, value, timestampMs) {
        const change = value as Change;
        const newValue = filtered(key, change.newValue, timestampMs);
        const oldValue = filtered(key, change.oldValue, timestampMs);
        if (newValue === null && oldValue === null) return;
        context.forward(key, { newValue, oldValue }, timestampMs);
      },
    };
  };
}

/** The mapper is not called for null. */
export function tableMapValuesProcessor(map: AnyCallback): ProcessorFactory {
  return (context) => {
    const call = rowCaller(context, map);
    return {
      process(key, value, timestampMs) {
        const change = value as Change;
        const newValue = call(key, change.newValue, timestampMs) ?? null;
        const oldValue = change.oldValue === undefined ? undefined : (call(key, change.oldValue, timestampMs) ?? null);
        context.forward(key, { newValue, oldValue }, timestampMs);
      },
    };
  };
}

/** A table's updates as a stream; the selector, if there is one, is called for null as well, as there must be a key. */
export function toStreamProcessor(selectKey: AnyCallback | undefined): ProcessorFactory {
  return (context) => {
    const { record, nodeName } = context;
    let checked = false;
    return {
      process(key, value, timestampMs) {
        const { newValue } = value as Change;
        let streamKey = key;
        if (selectKey !== undefined) {
          record.key = key;
          record.timestampMs = timestampMs;
          streamKey = selectKey(newValue, record);
          if (!checked) checked = expectSynchronous(streamKey, nodeName);
        }
        context.forward(streamKey, newValue, timestampMs);
      },
    };
  };
}
