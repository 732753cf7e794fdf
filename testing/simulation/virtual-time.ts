/** A simulated process, or the broker: whose timers and answers these are, and which clocks they see. */
export class Host {
  /** What its wall clock shows besides the simulation's own. */
  wallOffsetMs = 0;
  /** How far its monotonic clock has run ahead: work takes time that nothing else in a simulation does. */
  aheadMs = 0;
  /** The most that one look at the monotonic clock takes: a slow host sees its slices of work end early. */
  lookMs = 0;
  isDead = false;
  /** Events that were due while it was stopped; undefined while it runs. */
  stopped: VirtualEvent[] | undefined;

  constructor(
    readonly name: string,
    readonly fraction: () => number,
  ) {}
}

export interface VirtualEvent {
  readonly host: Host;
  readonly run: () => void;
  atMs: number;
  order: number;
  isCancelled: boolean;
}

/** What the virtual `setTimeout` returns. */
class VirtualTimer {
  event: VirtualEvent | undefined;

  cancel(): void {
    if (this.event !== undefined) this.event.isCancelled = true;
    this.event = undefined;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return true;
  }
}

type Callback = (...values: unknown[]) => void;

/** Any instant will do; a fixed one, so that nothing depends on the day of the run. */
const START_WALL_CLOCK_MS = 1_750_000_000_000;
/** A turn of the event loop takes a moment, else two loops that hand on to each other would stop the time. */
const TURN_MS = 0.01;

/** Whose event runs, with all the promises that it settles: an AsyncLocalStorage would say the same, and costs each promise four times as much. */
let current: { readonly time: VirtualTime; readonly host: Host } | undefined;

/**
 * The clock and the timers of one simulation. Events run one at a time, each with all the promises that it settles, in an
 * order that only their times and the order of their making decide: the same seed gives the same run.
 *
 * Code that runs as a host gets its timers and clocks from here, by whatever name it calls them: `setTimeout`,
 * `setImmediate`, `setInterval`, `Date.now` and `performance.now` ask which host calls. Everybody else, such as the test
 * runner, gets the real ones.
 */
export class VirtualTime {
  nowMs = 0;
  events = 0;
  readonly #heap: VirtualEvent[] = [];
  #order = 0;

  wallClockMs(host: Host): number {
    return Math.floor(START_WALL_CLOCK_MS + this.nowMs + host.wallOffsetMs);
  }

  monotonicMs(host: Host): number {
    host.aheadMs += host.lookMs * host.fraction();
    return this.nowMs + host.aheadMs;
  }

  schedule(host: Host, delayMs: number, run: () => void): VirtualEvent {
    const event = { host, run, atMs: this.nowMs + delayMs, order: this.#order++, isCancelled: false };
    this.#push(event);
    return event;
  }

  /**
   * Runs `work` as `host`: the timers that it sets belong to it, and so does what they go on to do. What it does after waiting
   * for a promise that the same event settles does not: `schedule` is for that.
   */
  as<T>(host: Host, work: () => T): T {
    const before = current;
    current = { time: this, host };
    try {
      return work();
    } finally {
      current = before;
    }
  }

  /** As a stopped process: nothing of it runs until `resume`. */
  stop(host: Host): void {
    host.stopped ??= [];
  }

  /** What was due meanwhile comes now, in any order: sockets and timers of an awoken process do not queue up together. */
  resume(host: Host): void {
    const waiting = host.stopped ?? [];
    host.stopped = undefined;
    for (const event of waiting) {
      event.atMs = this.nowMs + host.fraction();
      event.order = this.#order++;
      this.#push(event);
    }
  }

  /** Runs events until `isDone`, or until `untilMs`; false when it was not done by then. */
  async run(untilMs: number, isDone: () => boolean): Promise<boolean> {
    const uninstall = install();
    try {
      while (!isDone()) {
        const event = this.#heap[0];
        if (event === undefined || event.atMs > untilMs) {
          this.nowMs = Math.max(this.nowMs, untilMs);
          return false;
        }
        this.#pop();
        if (event.isCancelled || event.host.isDead) continue;
        this.nowMs = Math.max(this.nowMs, event.atMs);
        if (event.host.stopped !== undefined) {
          event.host.stopped.push(event);
          continue;
        }
        this.events++;
        current = { time: this, host: event.host };
        event.run();
        await settled();
        current = undefined;
      }
      return true;
    } finally {
      current = undefined;
      uninstall();
    }
  }

  #push(event: VirtualEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent] as VirtualEvent)) break;
      heap[at] = heap[parent] as VirtualEvent;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as VirtualEvent;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as VirtualEvent, heap[child] as VirtualEvent)) child++;
      if (!isBefore(heap[child] as VirtualEvent, last)) break;
      heap[at] = heap[child] as VirtualEvent;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: VirtualEvent, b: VirtualEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** A tick that is asked for by a microtask comes when no microtask is left, so without a turn of the real event loop. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

function timer(delayMs: number, callback: Callback, values: readonly unknown[], repeats: boolean): VirtualTimer {
  const { time, host } = current as { time: VirtualTime; host: Host };
  const made = new VirtualTimer();
  const arm = (): void => {
    made.event = time.schedule(host, delayMs, () => {
      made.event = undefined;
      if (repeats) arm();
      callback(...values);
    });
  };
  arm();
  return made;
}

const real = {
  setTimeout: globalThis.setTimeout,
  setInterval: globalThis.setInterval,
  setImmediate: globalThis.setImmediate,
  clearTimeout: globalThis.clearTimeout,
  clearInterval: globalThis.clearInterval,
  clearImmediate: globalThis.clearImmediate,
  dateNow: Date.now,
  monotonic: performance.now,
};

/** Puts the virtual functions in the place of the global ones, and returns what takes them away again. */
function install(): () => void {
  const isReal = (): boolean => current === undefined;
  const clear =
    (realClear: (handle: never) => void) =>
    (handle: unknown): void => {
      if (handle instanceof VirtualTimer) handle.cancel();
      else realClear(handle as never);
    };
  Object.assign(globalThis, {
    setTimeout: (callback: Callback, delayMs = 0, ...values: unknown[]) =>
      isReal() ? real.setTimeout(callback, delayMs, ...values) : timer(Math.max(1, delayMs), callback, values, false),
    setInterval: (callback: Callback, delayMs = 0, ...values: unknown[]) =>
      isReal() ? real.setInterval(callback, delayMs, ...values) : timer(Math.max(1, delayMs), callback, values, true),
    setImmediate: (callback: Callback, ...values: unknown[]) =>
      isReal() ? real.setImmediate(callback, ...values) : timer(TURN_MS, callback, values, false),
    clearTimeout: clear(real.clearTimeout),
    clearInterval: clear(real.clearInterval),
    clearImmediate: clear(real.clearImmediate),
  });
  Date.now = () => {
    const store = current;
    return store === undefined ? real.dateNow() : store.time.wallClockMs(store.host);
  };
  performance.now = () => {
    const store = current;
    return store === undefined ? real.monotonic.call(performance) : store.time.monotonicMs(store.host);
  };
  return () => {
    const { dateNow, monotonic, ...timers } = real;
    Object.assign(globalThis, timers);
    Date.now = dateNow;
    performance.now = monotonic;
  };
}
