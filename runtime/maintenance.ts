import type { TopicPartition } from "../topology/record.js";
import { NotAuthorizedError } from "./errors.js";
import type { TopicNames } from "./internal-topics.js";
import type { Logger } from "./logger.js";
import type { StreamTask } from "./task.js";
import type { TopicAdmin } from "./transport.js";

interface Cut extends TopicPartition {
  readonly offset: number;
  readonly dueWallClockMs: number;
}

const TICK_MS = 1_000;
const PURGE_INTERVAL_MS = 30_000;
/** Cuts of one partition that wait for their time; a later one replaces the last beyond this. */
const CUTS_MAX = 64;

/**
 * Deletes what nobody needs any more, after it is committed: changelog records of expired windows, some time later so
 * that an instance that is behind still finds them (protocol 21), and processed records of repartition topics. It runs
 * beside the work, one request at a time, and a failure only means that it is tried again.
 */
export class Maintenance {
  readonly #cuts = new Map<string, Cut[]>();
  readonly #lastOffset = new Map<string, number>();
  /** Topics whose records this client may not delete: said once each. */
  readonly #forbidden = new Set<string>();
  #running: Promise<void> | undefined;
  #nextTickMs = 0;
  #nextPurgeMs = 0;

  constructor(
    readonly admin: TopicAdmin,
    readonly names: TopicNames,
    readonly logger: Logger,
    readonly deleteDelayMs: number,
    readonly now: () => number = Date.now,
  ) {}

  /** Notes what the tasks do not need any more, and deletes what is due. For a loop to call whenever it comes around, idle or not. */
  tick(tasks: readonly StreamTask[]): void {
    const nowMs = this.now();
    if (this.#running !== undefined || nowMs < this.#nextTickMs) return;
    this.#nextTickMs = nowMs + TICK_MS;
    for (const task of tasks) this.#note(task, nowMs);
    const due = this.#takeDue(nowMs);
    if (nowMs >= this.#nextPurgeMs) {
      const processed = tasks.flatMap((task) => processedRepartitions(task));
      // The tasks of a session are opened after its first tick: sessions that end within the interval purge as well.
      if (processed.length > 0) this.#nextPurgeMs = nowMs + PURGE_INTERVAL_MS;
      due.push(...processed);
    }
    if (due.length > 0) this.#running = this.#delete(due);
  }

  async settled(): Promise<void> {
    await this.#running;
  }

  #note(task: StreamTask, nowMs: number): void {
    for (const [store, offset] of Object.entries(task.state.changelogCuts())) {
      const topic = this.names.changelog(store);
      const name = `${task.partition} ${topic}`;
      if (offset <= (this.#lastOffset.get(name) ?? 0)) continue;
      this.#lastOffset.set(name, offset);
      const cuts = this.#cuts.get(name) ?? [];
      if (cuts.length >= CUTS_MAX) cuts.pop();
      cuts.push({ topic, partition: task.partition, offset, dueWallClockMs: nowMs + this.deleteDelayMs });
      this.#cuts.set(name, cuts);
    }
  }

  #takeDue(nowMs: number): (TopicPartition & { readonly offset: number })[] {
    const due: Cut[] = [];
    for (const [name, cuts] of this.#cuts) {
      const ready = cuts.filter(({ dueWallClockMs }) => dueWallClockMs <= nowMs);
      const furthest = ready[ready.length - 1];
      if (furthest === undefined) continue;
      due.push(furthest);
      this.#cuts.set(name, cuts.slice(ready.length));
    }
    return due;
  }

  async #delete(upTo: readonly (TopicPartition & { readonly offset: number })[]): Promise<void> {
    try {
      await this.admin.deleteRecords(upTo);
      for (const { topic } of upTo) this.#forbidden.delete(topic);
    } catch (error) {
      if (error instanceof NotAuthorizedError) this.#sayForbidden(error);
      else {
        this.logger.warn(
          { err: error, topics: [...new Set(upTo.map(({ topic }) => topic))] },
          "old records of internal topics could not be deleted; it is tried again",
        );
      }
      for (const { topic, partition } of upTo) this.#lastOffset.delete(`${partition} ${topic}`);
    } finally {
      this.#running = undefined;
    }
  }

  #sayForbidden({ acl, message }: NotAuthorizedError): void {
    if (this.#forbidden.has(acl.name)) return;
    this.#forbidden.add(acl.name);
    this.logger.warn(
      { acl },
      `${message}; until then ${acl.resource} "${acl.name}" only grows, and nothing else suffers`,
    );
  }
}

function processedRepartitions(task: StreamTask): (TopicPartition & { readonly offset: number })[] {
  const committed = task.state.checkpoint()?.sourceOffsets ?? [];
  return task.queues
    .filter(({ source }) => source.topics.some((ref) => ref.internal))
    .flatMap(({ topic, partition }) => committed.filter((one) => one.topic === topic && one.partition === partition))
    .filter(({ offset }) => offset > 0);
}
