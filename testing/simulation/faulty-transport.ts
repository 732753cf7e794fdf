import type { EmbeddedLog } from "../../runtime/embedded/embedded-log.js";
import { EmbeddedGroupMember } from "../../runtime/embedded/group-member.js";
import { EmbeddedTransport } from "../../runtime/embedded/transport.js";
import { AmbiguousCommitError, UnavailableError } from "../../runtime/errors.js";
import type {
  Fetcher,
  FetcherOptions,
  FetchRequest,
  Generation,
  GroupMember,
  GroupMemberOptions,
  MembershipStatus,
  PartitionBatch,
  Producer,
  TopicAdmin,
  TransactionalProducer,
  TransactionalProducerOptions,
  Transport,
} from "../../runtime/transport.js";
import type { Endpoint, Network, Request } from "./network.js";

const unavailable = (message: string): Error => new UnavailableError(message);
/** A process polls and reads all the time: at the rate of the others it would hardly get to a commit. */
const READ_WEIGHT = 0.15;

/** One process's way to the embedded log, through the network's faults. */
export class FaultyTransport implements Transport {
  readonly allowsThreads = false;
  readonly topics: TopicAdmin;
  readonly #inner: EmbeddedTransport;

  constructor(
    readonly network: Network,
    readonly endpoint: Endpoint,
    readonly log: EmbeddedLog,
  ) {
    this.#inner = new EmbeddedTransport({ log });
    this.topics = faultyTopics(this.#inner.topics, (request) => this.#send(request));
  }

  connect(): Promise<void> {
    return this.#inner.connect();
  }

  openFetcher(options: FetcherOptions): Fetcher {
    const inner = this.#inner.openFetcher(options);
    return {
      fetch: (request) => this.#fetch(inner, options.name, request),
      close: () => inner.close(),
    };
  }

  openProducer(): Producer {
    const inner = this.#inner.openProducer();
    let isClosed = false;
    return {
      produce: async (batches) => {
        if (isClosed) throw new UnavailableError("the producer was closed");
        // Never late: a broker does take a batch of a connection that is gone, and outputs outside of a transaction have no fence.
        return this.#send({ what: `produce ${told(batches)}`, work: () => inner.produce(batches) });
      },
      close: async () => {
        isClosed = true;
      },
    };
  }

  openTransactionalProducer(options: TransactionalProducerOptions): TransactionalProducer {
    return new FaultyTransactionalProducer(this.#inner.openTransactionalProducer(options), (request) =>
      this.#send(request),
    );
  }

  openGroupMember(options: GroupMemberOptions): GroupMember {
    return new FaultyGroupMember(this.network, this.endpoint, this.log, options);
  }

  async close(): Promise<void> {
    // What is on its way still arrives: the log outlives this transport, and ends what is left open.
  }

  #send<T>(request: Omit<Request<T>, "unanswered"> & Partial<Request<T>>): Promise<T> {
    return this.network.send(this.endpoint, { unanswered: unavailable, ...request });
  }

  /** Answers as small as a broker may make them: sometimes one batch. */
  #fetch(inner: Fetcher, name: string, request: FetchRequest) {
    const isSmall = this.network.random.happens(0.3);
    const limited = isSmall ? { ...request, bytesMax: 1, partitionBytesMax: 1 } : request;
    const where = request.positions.map(({ topic, partition, offset }) => `${topic}-${partition}@${offset}`).join(" ");
    return this.#send({
      what: `fetch for ${name} ${where}`,
      work: () => inner.fetch(limited),
      weight: READ_WEIGHT,
    });
  }
}

type Send = <T>(request: Omit<Request<T>, "unanswered"> & Partial<Request<T>>) => Promise<T>;

function faultyTopics(inner: TopicAdmin, send: Send): TopicAdmin {
  const read = { weight: READ_WEIGHT, mayRepeat: true };
  return {
    describe: (topics, purpose) => send({ what: "describe", work: () => inner.describe(topics, purpose), ...read }),
    create: (topics) => send({ what: "create", work: () => inner.create(topics), mayRepeat: true, mayBeLate: true }),
    delete: (topics) => send({ what: "delete", work: () => inner.delete(topics) }),
    configs: (topics) => send({ what: "configs", work: () => inner.configs(topics), ...read }),
    offsets: (partitions, at) => send({ what: `${at} offsets`, work: () => inner.offsets(partitions, at), ...read }),
    deleteRecords: (upTo) =>
      send({ what: "deleteRecords", work: () => inner.deleteRecords(upTo), mayRepeat: true, mayBeLate: true }),
    committedOffsets: (groupId, partitions, options) =>
      send({
        what: "committedOffsets",
        work: () => inner.committedOffsets(groupId, partitions, options),
        ...read,
      }),
    members: (groupId) => send({ what: "members", work: () => inner.members(groupId), ...read }),
    deleteGroup: (groupId) => send({ what: "deleteGroup", work: () => inner.deleteGroup(groupId), mayRepeat: true }),
    removeMembers: (groupId, groupInstanceIds) =>
      send({ what: "removeMembers", work: () => inner.removeMembers(groupId, groupInstanceIds), mayRepeat: true }),
    refused: (acls) => send({ what: "refused", work: () => inner.refused(acls), ...read }),
  };
}

class FaultyTransactionalProducer implements TransactionalProducer {
  readonly transactionalId: string;
  #isClosed = false;
  /** The transaction that is open, or the last one, was sent records: only then is there something to announce. */
  #hasRecords = false;
  #announcing: Promise<void> | undefined;

  constructor(
    readonly inner: TransactionalProducer,
    readonly send: Send,
  ) {
    this.transactionalId = inner.transactionalId;
  }

  initialize(): Promise<void> {
    this.#hasRecords = false;
    this.#announcing = undefined;
    return this.#send("initialize", () => this.inner.initialize());
  }

  announce(): void {
    if (!this.#hasRecords) return;
    this.#announcing ??= this.#send("announce", async () => this.inner.announce());
    // Whatever comes next throws it.
    this.#announcing.catch(() => undefined);
  }

  begin(): void {
    this.#hasRecords = false;
    this.inner.begin();
  }

  async produce(batches: readonly PartitionBatch[]) {
    await this.#announcing;
    this.#hasRecords = true;
    return this.#send(`produce in transaction ${told(batches)}`, () => this.inner.produce(batches));
  }

  async sendOffsets(...[group, offsets]: Parameters<TransactionalProducer["sendOffsets"]>): Promise<void> {
    await this.#announcing;
    const where = offsets.map(({ topic, partition, offset }) => `${topic}-${partition}@${offset}`).join(" ");
    const what = `offsets of generation ${group.generationId} ${where}`;
    return this.#send(what, () => this.inner.sendOffsets(group, offsets), { mayRepeat: true });
  }

  async commit(): Promise<void> {
    await this.#announcing;
    this.#announcing = undefined;
    const unanswered = (message: string): Error => new AmbiguousCommitError(message);
    return this.#send("commit", () => this.inner.commit(), { unanswered });
  }

  async abort(): Promise<void> {
    await Promise.allSettled([this.#announcing]);
    this.#announcing = undefined;
    return this.#send("abort", () => this.inner.abort());
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  async #send<T>(what: string, work: () => Promise<T>, more: Partial<Request<T>> = {}): Promise<T> {
    if (this.#isClosed) throw new UnavailableError(`the producer ${this.transactionalId} was closed`);
    return this.send({ what, work, mayBeLate: true, ...more });
  }
}

/** The embedded member is the client's side of the protocol: it runs in its process, and its requests go through the network. */
class FaultyGroupMember implements GroupMember {
  readonly #inner: EmbeddedGroupMember;
  #isClosed = false;

  constructor(
    readonly network: Network,
    readonly endpoint: Endpoint,
    log: EmbeddedLog,
    options: GroupMemberOptions,
  ) {
    this.#inner = new EmbeddedGroupMember(this.#coordinator(log.groups), options, () => undefined);
  }

  get status(): MembershipStatus {
    return this.#inner.status;
  }

  changed(): Promise<void> {
    return this.network.hand(this.endpoint, "a change of the group", this.#inner.changed());
  }

  rival(): Promise<string | undefined> {
    return this.network.hand(this.endpoint, "who else is in the group", this.#inner.rival());
  }

  join(request: Parameters<GroupMember["join"]>[0]): Promise<Generation> {
    this.endpoint.step("join");
    return this.#inner.join(request);
  }

  leave(): Promise<void> {
    this.endpoint.step("leave");
    return this.#inner.leave();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return this.#inner.close();
  }

  #coordinator(groups: EmbeddedLog["groups"]): EmbeddedLog["groups"] {
    const { network, endpoint } = this;
    const { time, broker, trace } = network;
    const asBroker = <T>(work: () => T): T => time.as(broker, work);
    const isGone = (): boolean => this.#isClosed || endpoint.host.isDead;
    const request = <T>(what: string, work: () => Promise<T>): Promise<T> =>
      network.hand(
        endpoint,
        what,
        new Promise((resolve, reject) => {
          endpoint.step(`${what} is sent`);
          const arrive = (): void => {
            // A member that comes back must not be thrown out by a request that its predecessor sent.
            if (isGone()) return;
            if (endpoint.cutOff !== undefined) {
              time.schedule(broker, RESEND_MS, arrive);
              return;
            }
            trace.add(time.nowMs, `${endpoint.host.name} ${what}`);
            work().then(resolve, reject);
          };
          if (!endpoint.host.isDead) time.schedule(broker, network.hopMs(), arrive);
        }),
      );
    const overridden: Partial<EmbeddedLog["groups"]> = {
      join: (joining) => request("joins", () => groups.join(joining)),
      sync: (...args) => request("syncs", () => groups.sync(...args)),
      heartbeat: (...args) => {
        // No answer, so nothing that it learns.
        if (isGone() || endpoint.cutOff !== undefined || endpoint.host.stopped !== undefined) return "ok";
        return asBroker(() => groups.heartbeat(...args));
      },
      leave: (...args) => {
        if (!isGone() && endpoint.cutOff === undefined) asBroker(() => groups.leave(...args));
      },
      holder: (...args) => asBroker(() => groups.holder(...args)),
    };
    // A class with private fields: only a proxy can stand in for it.
    return standIn(groups, overridden, asBroker);
  }
}

const RESEND_MS = 500;

function standIn<T extends object>(target: T, overridden: Partial<T>, call: <R>(work: () => R) => R): T {
  return new Proxy(target, {
    get: (_, name) => {
      const other: unknown = overridden[name as keyof T];
      const own: unknown = Reflect.get(target, name);
      if (other !== undefined || typeof own !== "function") return other ?? own;
      return (...args: unknown[]): unknown => call(() => Reflect.apply(own, target, args));
    },
  });
}

function told(batches: readonly PartitionBatch[]): string {
  return batches.map(({ topic, partition, batch }) => `${topic}-${partition} x${batch.count}`).join(" ");
}
