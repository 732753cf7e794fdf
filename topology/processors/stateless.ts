import type { AnyCallback } from "../graph.js";
import type { ProcessorFactory } from "../processor.js";
import { expectSynchronous } from "./synchronous.js";

// Each is one closure over its callback and context, made once for a task: nothing is allocated for a record. The record
// context is set anew before every call, since whatever ran below the last `forward` has changed it.

/** Lets through what the predicate answers `pass` for. */
export function filterProcessor(keep: AnyCallback, pass: boolean): ProcessorFactory {
  return (context) => {
    const { record, nodeName } = context;
    let checked = false;
    return {
      process(key, value, timestampMs) {
        record.key = key;
        record.timestampMs = timestampMs;
        const answer = keep(value, record);
        if (!checked) checked = expectSynchronous(answer, nodeName);
        if (Boolean(answer) === pass) context.forward(key, value, timestampMs);
      },
    };
  };
}

export function mapValuesProcessor(map: AnyCallback): ProcessorFactory {
  return (context) => {
    const { record, nodeName } = context;
    let checked = false;
    return {
      process(key, value, timestampMs) {
        record.key = key;
        record.timestampMs = timestampMs;
        const mapped = map(value, record);
        if (!checked) checked = expectSynchronous(mapped, nodeName);
        context.forward(key, mapped, timestampMs);
      },
    };
  };
}

export function selectKeyProcessor(select: AnyCallback): ProcessorFactory {
  return (context) => {
    const { record, nodeName } = context;
    let checked = false;
    return {
      process(key, value, timestampMs) {
        record.key = key;
        record.timestampMs = timestampMs;
        const selected = select(value, record);
        if (!checked) checked = expectSynchronous(selected, nodeName);
        context.forward(selected, value, timestampMs);
      },
    };
  };
}

interface KeyValue {
  readonly key: unknown;
  readonly value: unknown;
}

export function mapProcessor(map: AnyCallback): ProcessorFactory {
  return (context) => {
    const { record, nodeName } = context;
    let checked = false;
    return {
      process(key, value, timestampMs) {
        record.key = key;
        record.timestampMs = timestampMs;
        const mapped = map(value, record) as KeyValue;
        if (!checked) checked = expectSynchronous(mapped, nodeName);
        context.forward(mapped.key, mapped.value, timestampMs);
      },
    };
  };
}

export function flatMapProcessor(map: AnyCallback): ProcessorFactory {
  return (context) => {
    const { record, nodeName } = context;
    let checked = false;
    return {
      process(key, value, timestampMs) {
        record.key = key;
        record.timestampMs = timestampMs;
        const mapped = map(value, record) as readonly KeyValue[];
        if (!checked) checked = expectSynchronous(mapped, nodeName);
        for (const one of mapped) context.forward(one.key, one.value, timestampMs);
      },
    };
  };
}

export function flatMapValuesProcessor(map: AnyCallback): ProcessorFactory {
  return (context) => {
    const { record, nodeName } = context;
    let checked = false;
    return {
      process(key, value, timestampMs) {
        record.key = key;
        record.timestampMs = timestampMs;
        const mapped = map(value, record) as readonly unknown[];
        if (!checked) checked = expectSynchronous(mapped, nodeName);
        for (const one of mapped) context.forward(key, one, timestampMs);
      },
    };
  };
}

/** `peek` and `foreach`, which has no children to pass the record to. */
export function peekProcessor(action: AnyCallback): ProcessorFactory {
  return (context) => {
    const { record, nodeName } = context;
    let checked = false;
    return {
      process(key, value, timestampMs) {
        record.key = key;
        record.timestampMs = timestampMs;
        const answer = action(value, record);
        if (!checked) checked = expectSynchronous(answer, nodeName);
        context.forward(key, value, timestampMs);
      },
    };
  };
}

/** To the child whose predicate is the first to hold; an undefined predicate holds always. To none if none does. */
export function splitProcessor(predicates: readonly (AnyCallback | undefined)[]): ProcessorFactory {
  return (context) => {
    const { record, nodeName } = context;
    let checked = 0;
    return {
      process(key, value, timestampMs) {
        record.key = key;
        record.timestampMs = timestampMs;
        for (let child = 0; child < predicates.length; child++) {
          const predicate = predicates[child];
          const answer = predicate === undefined ? true : predicate(value, record);
          // Each predicate has a first call of its own, and no later one is called before it.
          if (checked === child && expectSynchronous(answer, nodeName)) checked++;
          if (!answer) continue;
          context.forwardTo(child, key, value, timestampMs);
          return;
        }
      },
    };
  };
}

/** Where streams come together, and where a branch begins. */
export const passThroughProcessor: ProcessorFactory = (context) => ({
  process(key, value, timestampMs) {
    context.forward(key, value, timestampMs);
  },
});

/** Before a repartition topic: a record without a key would land anywhere, and the operator behind would drop it. */
export const dropNullKeysProcessor: ProcessorFactory = (context) => ({
  process(key, value, timestampMs) {
    if (key !== null && key !== undefined) context.forward(key, value, timestampMs);
  },
});
