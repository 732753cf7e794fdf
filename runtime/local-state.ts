import { StateReader } from "../stores/state-reader.js";
import { StreamsError } from "../topology/errors.js";
import type { ProcessorTopology, SubTopology } from "../topology/processor-topology.js";
import type { StoreSpec } from "../topology/state-store.js";
import { StoreUnavailableError } from "./errors.js";
import { partitionOf } from "./partitioner.js";
import { formatTaskId, parseTaskId } from "./task.js";

/** What queries know of the application: which tasks it has, and where their files are. */
export interface QueriedApplication {
  readonly topology: ProcessorTopology;
  /** Undefined before `start`. */
  taskFile(stores: readonly StoreSpec[], partition: number): string | undefined;
  /** How many tasks each sub-topology has, and which are where, as far as the last join told. */
  layout(): Layout;
  status(): {
    readonly state: string;
    readonly reason: string;
    readonly tasks: readonly { readonly id: string; readonly state: string }[];
  };
}

export interface Layout {
  /** By sub-topology; empty before the first join. */
  readonly taskCounts: readonly number[];
  readonly hosts: readonly Host[];
}

/** An instance that says where it can be asked, and its tasks. */
export interface Host {
  readonly server: string;
  readonly tasks: readonly string[];
}

export interface Owner {
  /** By the key's hash; undefined while the number of partitions is not known. */
  readonly partition: number | undefined;
  readonly isHere: boolean;
  /** Where the instance that has it can be asked, if it says so. */
  readonly server: string | undefined;
}

export interface QueriedStore {
  readonly spec: StoreSpec;
  readonly subTopology: SubTopology;
}

/** The part of a store that one task has. */
export interface StorePart {
  readonly partition: number;
  readonly reader: StateReader;
}

const QUERYABLE: readonly string[] = ["RUNNING", "REBALANCING"];

/** The committed state of the tasks that this instance runs: their files, each read through a connection of its own. */
export class LocalState {
  readonly #application: QueriedApplication;
  readonly #stores: ReadonlyMap<string, QueriedStore>;
  readonly #readers = new Map<string, StateReader>();

  constructor(application: QueriedApplication) {
    this.#application = application;
    this.#stores = new Map(
      application.topology.subTopologies.flatMap((subTopology) =>
        subTopology.stores.map((spec) => [spec.name, { spec, subTopology }] as const),
      ),
    );
  }

  get stores(): readonly QueriedStore[] {
    return [...this.#stores.values()];
  }

  /** @throws StreamsError UNKNOWN_STORE */
  find(name: string): QueriedStore {
    const store = this.#stores.get(name);
    if (store !== undefined) return store;
    const names = [...this.#stores.keys()].map((known) => `"${known}"`).join(", ");
    throw new StreamsError("UNKNOWN_STORE", `the topology has no store "${name}"; it has ${names || "none"}`);
  }

  partitionCount({ subTopology }: QueriedStore): number | undefined {
    return this.#application.layout().taskCounts[subTopology.id];
  }

  /** By murmur2 of the key, as records are partitioned unless a topic says otherwise; undefined while the width is not known. */
  homeOf(store: QueriedStore, key: Uint8Array): number | undefined {
    const count = this.partitionCount(store);
    return count === undefined || count === 0 ? undefined : partitionOf(key, count);
  }

  ownerOf(store: QueriedStore, key: unknown): Owner {
    const partition = this.homeOf(store, store.spec.key.serialize(key));
    if (partition === undefined) return { partition, isHere: false, server: undefined };
    const task = formatTaskId({ subTopology: store.subTopology.id, partition });
    const host = this.#application.layout().hosts.find(({ tasks }) => tasks.includes(task));
    return { partition, isHere: this.partitions(store).includes(partition), server: host?.server };
  }

  /** The partitions of a store that are here with all their state, ascending. */
  partitions({ subTopology }: QueriedStore): number[] {
    return this.#tasks(subTopology, "running").sort((a, b) => a - b);
  }

  /**
   * The parts of a store that are here.
   *
   * @throws StoreUnavailableError when there is none
   */
  parts(store: QueriedStore): StorePart[] {
    this.#expectQueryable();
    const partitions = this.partitions(store);
    this.#closeUnused();
    const parts = partitions.flatMap((partition) => {
      const reader = this.#reader(store.subTopology, partition);
      return reader === undefined ? [] : [{ partition, reader }];
    });
    if (parts.length === 0) throw this.unavailable(store, undefined);
    return parts;
  }

  /**
   * One part of a store, if it is here.
   *
   * @throws StoreUnavailableError when the application does not run
   */
  part(store: QueriedStore, partition: number): StorePart | undefined {
    this.#expectQueryable();
    if (!this.partitions(store).includes(partition)) return undefined;
    const reader = this.#reader(store.subTopology, partition);
    return reader && { partition, reader };
  }

  /** @throws StoreUnavailableError when a part of the store that is to be here is not here yet: what is read would not be all of it */
  expectWhole(store: QueriedStore): void {
    if (this.#tasks(store.subTopology, "restoring").length > 0) throw this.unavailable(store, undefined);
  }

  /** Why a store, or one partition of it, cannot be read here. */
  unavailable({ spec, subTopology }: QueriedStore, partition: number | undefined): StoreUnavailableError {
    const what = partition === undefined ? `store "${spec.name}"` : `partition ${partition} of store "${spec.name}"`;
    const { state, reason } = this.#application.status();
    const restoring = this.#tasks(subTopology, "restoring");
    if (partition === undefined ? restoring.length > 0 : restoring.includes(partition))
      return new StoreUnavailableError("STORE_RESTORING", `${what} is being restored here: ask again soon`);
    if (state === "REBALANCING")
      return new StoreUnavailableError("STORE_RESTORING", `${what} is not here yet (${reason}): ask again soon`);
    const task = partition === undefined ? "" : formatTaskId({ subTopology: subTopology.id, partition });
    const host = this.#application.layout().hosts.find(({ tasks }) => tasks.includes(task));
    const where = host === undefined ? "another instance of this application" : host.server;
    return new StoreUnavailableError("STORE_MOVED", `${what} is on ${where}: ask that one`);
  }

  /** The files of all running tasks with state. @throws StoreUnavailableError when the application does not run */
  files(): { readonly file: string; readonly subTopology: SubTopology; readonly partition: number }[] {
    this.#expectQueryable();
    return this.#application.topology.subTopologies.flatMap((subTopology) =>
      this.#tasks(subTopology, "running").flatMap((partition) => {
        const file = this.#application.taskFile(subTopology.stores, partition);
        return file === undefined ? [] : [{ file, subTopology, partition }];
      }),
    );
  }

  close(): void {
    for (const reader of this.#readers.values()) reader.close();
    this.#readers.clear();
  }

  #expectQueryable(): void {
    const { state, reason } = this.#application.status();
    if (QUERYABLE.includes(state)) return;
    throw new StoreUnavailableError(
      "NOT_RUNNING",
      `the application is ${state} (${reason}): its stores cannot be read`,
    );
  }

  #tasks(subTopology: SubTopology, state: string): number[] {
    return this.#application.status().tasks.flatMap((task) => {
      const { subTopology: id, partition } = parseTaskId(task.id);
      return id === subTopology.id && task.state === state ? [partition] : [];
    });
  }

  #reader(subTopology: SubTopology, partition: number): StateReader | undefined {
    const file = this.#application.taskFile(subTopology.stores, partition);
    if (file === undefined) return undefined;
    const known = this.#readers.get(file);
    if (known?.isCurrent === true) return known;
    known?.close();
    this.#readers.delete(file);
    const reader = StateReader.open(file);
    if (reader !== undefined) this.#readers.set(file, reader);
    return reader;
  }

  /** A task that has gone elsewhere must find its file free when it comes back. */
  #closeUnused(): void {
    if (this.#readers.size === 0) return;
    const used = new Set(this.files().map(({ file }) => file));
    for (const [file, reader] of this.#readers) {
      if (used.has(file)) continue;
      reader.close();
      this.#readers.delete(file);
    }
  }
}
