import { type Event, isBroken, isFlagged, WINDOW } from "./pipeline.js";

export interface Sums {
  readonly n: number;
  readonly total: number;
}

/** What the pipeline must give for these inputs, whatever happens: plain maps, in the order of the input. */
export interface Expected {
  /** By key: ids, in order. */
  readonly flagged: ReadonlyMap<string, readonly number[]>;
  readonly oddFlagged: ReadonlyMap<string, readonly number[]>;
  readonly broken: ReadonlyMap<string, readonly number[]>;
  readonly late: ReadonlyMap<string, readonly number[]>;
  /** By key and window start: each value that a window had, the last of them for good. */
  readonly sums: ReadonlyMap<string, readonly Sums[]>;
  /** By key and window start: how many records each window that has closed had. */
  readonly finals: ReadonlyMap<string, number>;
  readonly colors: ReadonlyMap<string, number>;
}

/** `partitions`: the events of each input partition, in the order of the log. */
export function expectedOf(partitions: readonly (readonly Event[])[]): Expected {
  const flagged = new Map<string, number[]>();
  const oddFlagged = new Map<string, number[]>();
  const broken = new Map<string, number[]>();
  const late = new Map<string, number[]>();
  const sums = new Map<string, Sums[]>();
  const finals = new Map<string, number>();
  const colors = new Map<string, number>();
  for (const events of partitions) {
    let streamTimeMs = -1;
    const windows = new Map<string, { readonly endMs: number; n: number }>();
    for (const event of events) {
      if (isBroken(event)) {
        push(broken, event.key, event.id);
        continue;
      }
      if (isFlagged(event)) push(event.amount % 2 === 0 ? flagged : oddFlagged, event.key, event.id);
      colors.set(event.color, (colors.get(event.color) ?? 0) + 1);
      streamTimeMs = Math.max(streamTimeMs, event.timestampMs);
      const startMs = event.timestampMs - (event.timestampMs % WINDOW.sizeMs);
      const endMs = startMs + WINDOW.sizeMs;
      if (endMs <= streamTimeMs - WINDOW.graceMs) {
        push(late, event.key, event.id);
        continue;
      }
      const at = windowName(event.key, startMs);
      const before = sums.get(at)?.at(-1) ?? { n: 0, total: 0 };
      push(sums, at, { n: before.n + 1, total: before.total + event.amount });
      windows.set(at, { endMs, n: before.n + 1 });
    }
    for (const [at, { endMs, n }] of windows) if (endMs <= streamTimeMs - WINDOW.graceMs) finals.set(at, n);
  }
  return { flagged, oddFlagged, broken, late, sums, finals, colors };
}

export function windowName(key: string, startMs: number): string {
  return `${key}@${startMs}`;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
