import type { TaskState } from "../stores/task-state.js";

/** Of the time, for counting at all. */
const SHARE = 0.002;
/** A commit takes longer. */
const AT_ONCE_MS = 10;

/** A task as its rows are counted: its open state, and which stores are in it. */
export interface CountedTask {
  readonly state: Pick<TaskState, "countRows">;
  readonly subTopology: { readonly stores: readonly { readonly name: string }[] };
}

export interface StoreCount {
  readonly rows: number;
  /** How old the oldest part of it is. */
  readonly ageMs: number;
}

interface Count {
  /** By store, and when they were begun to be counted: the last count that is done. */
  rows: Readonly<Record<string, number>>;
  atMs: number;
  /** The one that is under way. */
  counting: ReturnType<TaskState["countRows"]> | undefined;
  sinceMs: number;
}

const NEVER_MS = Number.NEGATIVE_INFINITY;

/**
 * How many rows the stores of some tasks have. SQLite keeps no such number, and counting reads the whole store in the
 * stream thread. So each `countOn` counts a little, the oldest count first, and a number is as old as that makes it.
 */
export class RowCounts {
  readonly #nowMs: () => number;
  readonly #counts = new Map<CountedTask, Count>();
  #notBeforeMs = NEVER_MS;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Counts on in `tasks`, which are all there are; does nothing where it would take more than its share of the time. */
  countOn(tasks: readonly CountedTask[]): void {
    this.#follow(tasks);
    const beganMs = this.#nowMs();
    if (beganMs < this.#notBeforeMs) return;
    let tookMs = 0;
    for (const [task, count] of [...this.#counts].sort(([, a], [, b]) => olderFirst(a.atMs, b.atMs))) {
      for (let isCounted = false; !isCounted && tookMs < AT_ONCE_MS; tookMs = this.#nowMs() - beganMs)
        isCounted = step(task, count, beganMs + tookMs);
    }
    this.#notBeforeMs = beganMs + tookMs / SHARE;
  }

  /** By store. One that is in a task which is not counted yet is left out. */
  get stores(): ReadonlyMap<string, StoreCount> {
    const nowMs = this.#nowMs();
    const stores = new Map<string, StoreCount>();
    for (const [{ subTopology }, { rows, atMs }] of this.#counts) {
      for (const { name } of subTopology.stores) {
        const { rows: others, ageMs } = stores.get(name) ?? { rows: 0, ageMs: 0 };
        stores.set(name, { rows: others + (rows[name] ?? 0), ageMs: Math.max(ageMs, nowMs - atMs) });
      }
    }
    return new Map([...stores].filter(([, { ageMs }]) => Number.isFinite(ageMs)));
  }

  #follow(tasks: readonly CountedTask[]): void {
    for (const known of this.#counts.keys()) if (!tasks.includes(known)) this.#counts.delete(known);
    for (const task of tasks) {
      if (this.#counts.has(task)) continue;
      this.#counts.set(task, { rows: {}, atMs: NEVER_MS, counting: undefined, sinceMs: NEVER_MS });
    }
  }
}

function olderFirst(aMs: number, bMs: number): number {
  if (aMs === bMs) return 0;
  return aMs < bMs ? -1 : 1;
}

/** True when the count is done. */
function step({ state }: CountedTask, count: Count, nowMs: number): boolean {
  if (count.counting === undefined) {
    count.counting = state.countRows();
    count.sinceMs = nowMs;
  }
  const { counting } = count;
  // One that throws is over: the next one begins anew.
  count.counting = undefined;
  const { done, value } = counting.next();
  if (done) {
    count.rows = value;
    count.atMs = count.sinceMs;
  } else count.counting = counting;
  return done === true;
}
