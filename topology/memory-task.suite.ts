import { invariant } from "./errors.js";
import type { Clock, DropReason, Processor, ProcessorContext } from "./processor.js";
import type { ProcessorTopology, SinkNode, SubTopology } from "./processor-topology.js";
import { CurrentRecord } from "./record.js";
import type { KeyValueStore, Row, StateStore, WindowStore } from "./state-store.js";

/** What a sink was given. */
export interface Output {
  readonly topic: string;
  readonly key: unknown;
  readonly value: unknown;
  readonly timestampMs: number;
}

interface Entry {
  readonly key: unknown;
  readonly startMs: number;
  row: Row<unknown> | undefined;
  before: Row<unknown> | undefined;
  dirty: boolean;
  changedAtMs: number;
}

/** Both kinds of store on a Map, keys as JSON text: enough to see what a processor does. */
class MemoryStore {
  readonly #entries = new Map<string, Entry>();
  #dirty: Entry[] = [];
  expiredBeforeMs = Number.NEGATIVE_INFINITY;

  read(key: unknown, startMs: number): Row<unknown> | undefined {
    return this.#entries.get(JSON.stringify([startMs, key]))?.row;
  }

  write(key: unknown, startMs: number, value: unknown, timestampMs: number): void {
    const id = JSON.stringify([startMs, key]);
    const entry = this.#entries.get(id) ?? {
      key,
      startMs,
      row: undefined,
      before: undefined,
      dirty: false,
      changedAtMs: -1,
    };
    this.#entries.set(id, entry);
    if (!entry.dirty) {
      entry.dirty = true;
      entry.before = entry.row;
      this.#dirty.push(entry);
    }
    entry.changedAtMs = timestampMs;
    entry.row = value === null ? undefined : { value, timestampMs };
  }

  rows(): (Entry & { readonly row: Row<unknown> })[] {
    const live = [...this.#entries.values()].filter(
      (entry) => entry.row !== undefined && entry.startMs >= this.expiredBeforeMs,
    );
    const order = (a: Entry, b: Entry): number => a.startMs - b.startMs || (String(a.key) < String(b.key) ? -1 : 1);
    return live.sort(order) as (Entry & { readonly row: Row<unknown> })[];
  }

  changed(): readonly Entry[] {
    return this.#dirty;
  }

  commit(): void {
    for (const entry of this.#dirty) entry.dirty = false;
    this.#dirty = [];
  }

  asKeyValue(): KeyValueStore {
    const self = this;
    return {
      get: (key) => self.read(key, 0),
      put: (key, value, timestampMs) => self.write(key, 0, value, timestampMs),
      *all() {
        for (const { key, row } of self.rows()) yield [key, row];
      },
      forEachChange(visit) {
        for (const { key, row, before, changedAtMs } of self.changed())
          visit(key, row?.value ?? null, before?.value ?? null, changedAtMs);
      },
    };
  }

  asWindow(): WindowStore {
    const self = this;
    return {
      get: (key, startMs) => self.read(key, startMs),
      put: (key, startMs, value, timestampMs) => self.write(key, startMs, value, timestampMs),
      *range(fromMs, toMs) {
        for (const { key, startMs, row } of self.rows())
          if (startMs >= fromMs && startMs < toMs) yield [key, startMs, row];
      },
      *fetch(wanted, fromMs, toMs) {
        for (const { key, startMs, row } of self.rows()) {
          if (key === wanted && startMs >= fromMs && startMs < toMs) yield [startMs, row];
        }
      },
      forEachChange(visit) {
        for (const { key, startMs, row, before, changedAtMs } of self.changed())
          visit(key, startMs, row?.value ?? null, before?.value ?? null, changedAtMs);
      },
      expire: (beforeMs) => {
        self.expiredBeforeMs = Math.max(self.expiredBeforeMs, beforeMs);
      },
    };
  }
}

/**
 * One partition of a topology on Maps, without serdes: the values of records go through as they are. It stands in for the
 * runtime in the tests of this folder, which cannot import what is above it.
 */
export class MemoryTask {
  readonly drops: (readonly [node: string, reason: DropReason])[] = [];
  readonly lateness: [node: string, byMs: number, outcome: string][] = [];
  readonly clocks: Record<string, Clock> = {};
  readonly record = new CurrentRecord();
  readonly #stores = new Map<string, { readonly memory: MemoryStore; readonly port: StateStore }>();
  readonly #receivers = new Map<string, (key: unknown, value: unknown, timestampMs: number) => void>();
  readonly #topics = new Map<string, readonly string[]>();
  readonly #flushes: (() => void)[] = [];
  #outputs: Output[] = [];
  #internal: Output[] = [];

  constructor(topology: ProcessorTopology) {
    for (const sub of topology.subTopologies) this.#open(sub);
  }

  /** Takes one record through to the sinks, repartition topics included, and gives what came out. No commit. */
  process(topic: string, key: unknown, value: unknown, timestampMs: number): readonly Output[] {
    this.#receive(topic, key, value, timestampMs);
    return this.#take();
  }

  /** Flushes every node, as a commit does, until nothing more comes out. */
  commit(): readonly Output[] {
    const outputs: Output[] = [];
    for (let rounds = 0; rounds < 10; rounds++) {
      for (const flush of this.#flushes) flush();
      for (const { memory } of this.#stores.values()) memory.commit();
      const round = this.#take();
      outputs.push(...round);
      if (round.length === 0) break;
    }
    return outputs;
  }

  /** A record and a commit. */
  pipe(topic: string, key: unknown, value: unknown, timestampMs: number): readonly Output[] {
    return [...this.process(topic, key, value, timestampMs), ...this.commit()];
  }

  rows(store: string): readonly (readonly [key: unknown, startMs: number, value: unknown, timestampMs: number])[] {
    const rows = this.#stores.get(store)?.memory.rows() ?? [];
    return rows.map(({ key, startMs, row }) => [key, startMs, row.value, row.timestampMs]);
  }

  #receive(topic: string, key: unknown, value: unknown, timestampMs: number): void {
    const children = this.#topics.get(topic);
    invariant(children !== undefined, `the topology must read "${topic}"`);
    Object.assign(this.record, { key, timestampMs, recordTimestampMs: timestampMs, topic });
    for (const child of children) this.#receivers.get(child)?.(key, value, timestampMs);
  }

  #take(): readonly Output[] {
    while (this.#internal.length > 0) {
      const [next] = this.#internal.splice(0, 1);
      if (next !== undefined) this.#receive(next.topic, next.key, next.value, next.timestampMs);
    }
    const outputs = this.#outputs;
    this.#outputs = [];
    return outputs;
  }

  #open(sub: SubTopology): void {
    for (const spec of sub.stores) {
      const memory = new MemoryStore();
      this.#stores.set(spec.name, { memory, port: spec.kind === "window" ? memory.asWindow() : memory.asKeyValue() });
    }
    for (const { topics, children } of sub.sources) for (const { name } of topics) this.#topics.set(name, children);
    for (const sink of sub.sinks)
      this.#receivers.set(sink.name, (key, value, timestampMs) => this.#sink(sink, key, value, timestampMs));
    for (const node of sub.processors) {
      const clock = { streamTimeMs: -1, emittedUpToMs: -1 };
      if (node.timed) this.clocks[node.name] = clock;
      const forwardTo = (child: number, key: unknown, value: unknown, timestampMs: number): void => {
        this.#receivers.get(node.children[child] ?? "")?.(key, value, timestampMs);
      };
      const context: ProcessorContext = {
        nodeName: node.name,
        record: this.record,
        clock,
        forwardTo,
        forward: (key, value, timestampMs) => {
          for (let child = 0; child < node.children.length; child++)
            if (child !== node.sideChild) forwardTo(child, key, value, timestampMs);
        },
        store: (name) => {
          invariant(node.stores.includes(name), `"${node.name}" must be connected to the store "${name}"`);
          const store = this.#stores.get(name);
          invariant(store !== undefined, `the store "${name}" must be open`);
          return store.port;
        },
        drop: (reason) => this.drops.push([node.name, reason]),
        late: (byMs, outcome) => this.lateness.push([node.name, byMs, outcome]),
      };
      const processor: Processor = node.create(context);
      this.#receivers.set(node.name, (key, value, timestampMs) => processor.process(key, value, timestampMs));
      if (processor.flush !== undefined) this.#flushes.push(() => processor.flush?.());
    }
  }

  #sink({ topic }: SinkNode, key: unknown, value: unknown, timestampMs: number): void {
    Object.assign(this.record, { key, timestampMs });
    const name = typeof topic === "function" ? topic(value, this.record) : topic.name;
    const isInternal = typeof topic === "object" && topic.internal;
    (isInternal ? this.#internal : this.#outputs).push({ topic: name, key, value, timestampMs });
  }
}
