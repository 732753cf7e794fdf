import type { Window } from "../serdes/windowed.js";

/** `n` seconds in milliseconds. */
export function seconds(n: number): number {
  return n * 1_000;
}

/** `n` minutes in milliseconds. */
export function minutes(n: number): number {
  return n * 60_000;
}

/** `n` hours in milliseconds. */
export function hours(n: number): number {
  return n * 3_600_000;
}

/** `n` days of 24 hours in milliseconds. */
export function days(n: number): number {
  return n * 86_400_000;
}

/**
 * What a windowed aggregate needs to know of its windows: where they lie, and how long they wait for late records.
 *
 * A record at `timestampMs` belongs to the windows that start at `firstStartMs(timestampMs)` and then every `advanceMs`
 * up to and including `timestampMs`. A window is `[start, start + sizeMs)`. It accepts records until the stream time
 * reaches `end + graceMs`; from that moment on it is closed and final.
 */
export interface Windows {
  readonly sizeMs: number;
  readonly advanceMs: number;
  readonly graceMs: number;
  /** @param timestampMs event time, milliseconds since the epoch, >= 0 */
  firstStartMs(timestampMs: number): number;
  /** The start of the newest window that contains `timestampMs`. */
  lastStartMs(timestampMs: number): number;
  /** Every window that contains `timestampMs`, oldest first. */
  windowsFor(timestampMs: number): readonly [Window, ...Window[]];
}

/**
 * Windows of one size, aligned to the epoch: tumbling where they touch, hopping where they overlap. No window starts
 * before the epoch.
 *
 * @see Kafka Streams' `TimeWindows.windowsFor`, whose alignment this follows
 */
export class TimeWindows implements Windows {
  readonly sizeMs: number;
  readonly advanceMs: number;
  readonly graceMs: number;

  constructor(spec: { readonly sizeMs: number; readonly advanceMs: number; readonly graceMs: number }) {
    this.sizeMs = spec.sizeMs;
    this.advanceMs = spec.advanceMs;
    this.graceMs = spec.graceMs;
    Object.freeze(this);
  }

  firstStartMs(timestampMs: number): number {
    return this.lastStartMs(Math.max(0, timestampMs - this.sizeMs + this.advanceMs));
  }

  lastStartMs(timestampMs: number): number {
    return Math.floor(timestampMs / this.advanceMs) * this.advanceMs;
  }

  windowsFor(timestampMs: number): readonly [Window, ...Window[]] {
    const first = this.firstStartMs(timestampMs);
    const windows: [Window, ...Window[]] = [{ startMs: first, endMs: first + this.sizeMs }];
    for (let startMs = first + this.advanceMs; startMs <= timestampMs; startMs += this.advanceMs) {
      windows.push({ startMs, endMs: startMs + this.sizeMs });
    }
    return windows;
  }
}

/** Windows that follow each other without a gap: each record is in exactly one. The grace is never implicit. */
export function tumbling(spec: { readonly sizeMs: number; readonly graceMs: number }): TimeWindows {
  return new TimeWindows({ sizeMs: spec.sizeMs, advanceMs: spec.sizeMs, graceMs: spec.graceMs });
}

/** Windows of `sizeMs` of which one starts every `advanceMs`: each record is in about `sizeMs / advanceMs` of them. */
export function hopping(spec: {
  readonly sizeMs: number;
  readonly advanceMs: number;
  readonly graceMs: number;
}): TimeWindows {
  return new TimeWindows({ sizeMs: spec.sizeMs, advanceMs: spec.advanceMs, graceMs: spec.graceMs });
}
