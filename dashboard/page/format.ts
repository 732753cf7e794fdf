import type { Cell, ColumnKind } from "../messages.js";

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const MONEY = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const COMPACT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const NOTHING = "–";

export function count(value: number): string {
  return WHOLE.format(value);
}

/** Short enough for an axis or an arrow: `9.8k`. */
export function compact(value: number): string {
  return Math.abs(value) < 10 ? TENTHS.format(value) : COMPACT.format(value).toLowerCase();
}

export function rate(value: number | null): string {
  return value === null ? NOTHING : compact(Math.max(0, value));
}

export function bytes(value: number): string {
  if (value < 1024) return `${WHOLE.format(value)} B`;
  if (value < 1024 * 1024) return `${TENTHS.format(value / 1024)} KiB`;
  return `${TENTHS.format(value / (1024 * 1024))} MiB`;
}

/** `340 ms`, `2.4 s`, `3m 05s`, `2h 07m`, `4d 3h`; with its sign. */
export function duration(ms: number): string {
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 1_000) return `${TENTHS.format(ms)} ms`;
  if (ms < 60_000) return `${TENTHS.format(ms / 1_000)} s`;
  const two = (value: number): string => String(value).padStart(2, "0");
  const seconds = Math.round(ms / 1_000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${two(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h ${two(minutes % 60)}m` : `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** How long ago, as one says it: whole seconds. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  return seconds < 60 ? `${seconds} s` : duration(seconds * 1_000);
}

/** `12:34:56`, with the date in front where it is not `nowMs`'s day; UTC, as in the topics. */
export function time(ms: number, nowMs: number): string {
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return String(ms);
  const text = new Date(ms).toISOString();
  const clock = text.slice(11, 19);
  return text.slice(0, 10) === new Date(nowMs).toISOString().slice(0, 10) ? clock : `${text.slice(0, 10)} ${clock}`;
}

export function cell(value: Cell, kind: ColumnKind, nowMs: number): string {
  if (value === null) return NOTHING;
  if (typeof value === "string") return value;
  switch (kind) {
    case "number":
      return count(value);
    case "time":
      return time(value, nowMs);
    case "duration":
      return duration(value);
    case "money":
      return MONEY.format(value / 100);
    case "text":
      return String(value);
  }
}
