import pc from "picocolors";
import type { Colors } from "picocolors/types.js";

/** Where the console writes: standard output, or a stand-in with the same properties. */
export interface ConsoleStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): boolean;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a line must break; infinite where nobody looks. */
export function widthOf(stream: ConsoleStream, environment: Environment): number {
  return isTerminal(stream, environment) ? (stream.columns ?? 80) : Number.POSITIVE_INFINITY;
}

/** True where lines can be drawn over. */
export function isTerminal(stream: { readonly isTTY?: boolean }, environment: Environment): boolean {
  return stream.isTTY === true && environment.TERM !== "dumb";
}

/** No colour under NO_COLOR or in a pipe; FORCE_COLOR colours a pipe too. */
export function colorsFor(stream: { readonly isTTY?: boolean }, environment: Environment): Colors {
  const isForced = (environment.FORCE_COLOR ?? "0") !== "0";
  return pc.createColors(!environment.NO_COLOR && (isForced || isTerminal(stream, environment)));
}
