import type { EmbeddedLog } from "../../runtime/embedded/embedded-log.js";
import type { FetcherOptions, TransactionalProducer, Transport } from "../../runtime/transport.js";

/** Bugs that the simulation must find: tests of the simulator, as far from the engine as they can be planted. */
export type PlantedBug = "sqlite-before-kafka" | "no-fencing" | "checkpoint-early" | "standby-uncommitted";

export function plantedInTransport(bug: PlantedBug | undefined): (transport: Transport) => Transport {
  if (bug !== "sqlite-before-kafka" && bug !== "standby-uncommitted") return (transport) => transport;
  return (transport) =>
    new Proxy(transport, {
      get(target, name) {
        if (bug === "standby-uncommitted" && name === "openFetcher") {
          return (options: FetcherOptions) =>
            target.openFetcher(options.name === "standby" ? { ...options, readCommitted: false } : options);
        }
        if (bug === "sqlite-before-kafka" && name === "openTransactionalProducer") {
          return (options: Parameters<Transport["openTransactionalProducer"]>[0]) =>
            new HastyProducer(target.openTransactionalProducer(options));
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
}

export function plantInLog(bug: PlantedBug | undefined, log: EmbeddedLog): void {
  // As if offsets were sent without the group's metadata: a broker then takes them from anyone (protocol 8).
  if (bug === "no-fencing") log.groups.check = () => undefined;
}

/** Says that a transaction is committed before it is: SQLite gets its rows first, as with the two steps of a commit swapped. */
class HastyProducer implements TransactionalProducer {
  readonly transactionalId: string;
  #committing: Promise<void> = Promise.resolve();
  #mustBegin = false;

  constructor(readonly inner: TransactionalProducer) {
    this.transactionalId = inner.transactionalId;
  }

  async initialize(): Promise<void> {
    await this.inner.initialize();
  }

  announce(): void {
    // Nothing to announce it to: the last commit may not have ended.
  }

  begin(): void {
    this.#mustBegin = true;
  }

  async produce(...[batches]: Parameters<TransactionalProducer["produce"]>) {
    await this.#begun();
    return this.inner.produce(batches);
  }

  async sendOffsets(...[group, offsets]: Parameters<TransactionalProducer["sendOffsets"]>): Promise<void> {
    await this.#begun();
    await this.inner.sendOffsets(group, offsets);
  }

  commit(): Promise<void> {
    this.#committing = new Promise((resolve) => setTimeout(resolve, 1)).then(() => this.inner.commit());
    // Thrown on by whatever comes next.
    this.#committing.catch(() => undefined);
    return Promise.resolve();
  }

  async abort(): Promise<void> {
    await this.#committing;
    await this.inner.abort();
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  async #begun(): Promise<void> {
    await this.#committing;
    if (this.#mustBegin) this.inner.begin();
    this.#mustBegin = false;
  }
}
