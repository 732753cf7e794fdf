import type { Windowed } from "../../serdes/windowed.js";
import type { Change, ProcessorFactory } from "../processor.js";
import type { WindowStore } from "../state-store.js";
import { emitClosed } from "./window-aggregate.js";

export interface SuppressOptions {
  readonly store: string;
  readonly sizeMs: number;
  readonly graceMs: number;
}

/**
 * Holds each row back until its window has closed, then sends it on once; a row that is deleted by then is not sent.
 *
 * Its time is the largest timestamp of the rows that came here. What has been sent is not deleted from the buffer, which
 * would cost a changelog record for each row: it expires with its segment, and the clock says what has been sent.
 */
export function suppressProcessor(options: SuppressOptions): ProcessorFactory {
  return (context) => {
    const { sizeMs, graceMs } = options;
    const { clock, record } = context;
    const buffer = context.store(options.store) as WindowStore;
    return {
      process(key, value, timestampMs) {
        const { key: rowKey, window } = key as Windowed<unknown>;
        if (timestampMs > clock.streamTimeMs) clock.streamTimeMs = timestampMs;
        buffer.put(rowKey, window.startMs, (value as Change).newValue, timestampMs);
      },
      flush() {
        if (clock.streamTimeMs < 0) return;
        emitClosed(buffer, sizeMs, clock, graceMs, (key, startMs, value, timestampMs) => {
          record.recordTimestampMs = timestampMs;
          const rowKey: Windowed<unknown> = { key, window: { startMs, endMs: startMs + sizeMs } };
          const change: Change = { newValue: value, oldValue: null };
          context.forward(rowKey, change, timestampMs);
        });
        buffer.expire(clock.emittedUpToMs - sizeMs + 1);
      },
    };
  };
}
