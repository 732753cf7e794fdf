const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const MONEY = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export function formatCount(count: number): string {
  return WHOLE.format(count);
}

export function formatCents(cents: number): string {
  return MONEY.format(cents / 100);
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

export function formatBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${BYTE_UNITS[power]}`;
}

/** `12:34:56` or, with milliseconds, `12:34:56.789`; UTC, as every time in the topics. */
export function formatClock(
  timeMs: number,
  { milliseconds = false }: { readonly milliseconds?: boolean } = {},
): string {
  return new Date(timeMs).toISOString().slice(11, milliseconds ? 23 : 19);
}

export function formatDuration(durationMs: number): string {
  const seconds = Math.max(0, Math.round(durationMs / 1_000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes}m ${String(seconds % 60).padStart(2, "0")}s`
    : `${Math.floor(minutes / 60)}h ${String(minutes % 60).padStart(2, "0")}m`;
}

/** Text from a topic, made safe for a terminal: whoever writes a purchase must not move the cursor. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\u2028\u2029]/gu, "�");
}

/** Cut to this many characters, with an ellipsis where something is missing. */
export function clip(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join("")}…`;
}
