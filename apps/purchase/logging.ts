import { type Logger, pino } from "pino";
import { formatClock } from "./text.js";

export interface LoggingOptions {
  readonly level: string;
  /** Undefined: text on a terminal, else JSON. */
  readonly format: "text" | "json" | undefined;
  readonly isTerminal: boolean;
  /** Takes one line, without its line break. */
  readonly write: (line: string) => void;
}

/** pino as it is, or the same lines as text for people. */
export function openLogger({ level, format, isTerminal, write }: LoggingOptions): Logger {
  const isText = (format ?? (isTerminal ? "text" : "json")) === "text";
  const line = (json: string): string => (isText ? logText(json) : json);
  return pino({ level, base: null }, { write: (json: string) => write(line(json.trimEnd())) });
}

const LEVELS: Readonly<Record<number, string>> = {
  10: "trace",
  20: "debug",
  30: "info",
  40: "warn",
  50: "error",
  60: "fatal",
};

const ERROR_LEVEL = 50;

/** `12:34:56.789 warn  the message  key=value`; from level error on with the error's stack on lines of its own. */
export function logText(json: string): string {
  const { level, time, msg, err, ...data } = JSON.parse(json) as {
    readonly level: number;
    readonly time: number;
    readonly msg?: string;
    readonly err?: { readonly message?: string; readonly stack?: string };
  };
  const pairs = Object.entries(data).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const head = `${formatClock(time, { milliseconds: true })} ${(LEVELS[level] ?? String(level)).padEnd(5)} ${msg ?? ""}`;
  const line = [head, ...pairs].join("  ");
  if (err === undefined) return line;
  const what = err.message ?? JSON.stringify(err);
  return level < ERROR_LEVEL ? `${line}  error=${what}` : `${line}\n${err.stack ?? what}`;
}
