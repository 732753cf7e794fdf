// Made with the first number: the two take 27 ms, and most commands print none.
let whole: Intl.NumberFormat | undefined;
let money: Intl.NumberFormat | undefined;

export function formatCount(count: number): string {
  whole ??= new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  return whole.format(count);
}

export function formatCents(cents: number): string {
  money ??= new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return money.format(cents / 100);
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

const WIDE =
  /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60]/u;
const COMBINING = /\p{M}/u;

/** Columns that a terminal takes for text: two for East Asian characters and emoji, none for what combines with the one before. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += COMBINING.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
  return columns;
}

/** Cut to this many columns of a terminal, with an ellipsis where something is missing. */
export function clip(text: string, width: number): string {
  if (columnsOf(text) <= width) return text;
  let clipped = "";
  let columns = 1;
  for (const character of text) {
    columns += columnsOf(character);
    if (columns > width) break;
    clipped += character;
  }
  return `${clipped}…`;
}

/** Joined with dots, in lines that break between two of them; one line where `width` is infinite. */
export function joined(parts: readonly string[], width = Number.POSITIVE_INFINITY): string {
  const lines: string[] = [];
  for (const part of parts) {
    const line = lines.at(-1);
    const longer = line === undefined ? part : `${line} · ${part}`;
    if (line === undefined || columnsOf(longer) > width) lines.push(part);
    else lines[lines.length - 1] = longer;
  }
  return lines.join("\n");
}

/** `1 user`, `1,000 users`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}
