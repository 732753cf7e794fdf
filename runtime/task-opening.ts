import { parseTaskId } from "./task.js";
import type { TaskOpener } from "./task-opener.js";
import type { TaskSet } from "./task-set.js";
import type { Wakeup } from "./wakeup.js";

/** Opens the tasks of one assignment beside the work: each goes into the set, and begins, as soon as it has its state. */
export class TaskOpening {
  #running: Promise<void> | undefined;
  #end = new AbortController();
  #failure: unknown;

  constructor(
    readonly opener: TaskOpener,
    readonly tasks: TaskSet,
    readonly wakeup: Wakeup,
  ) {}

  get isDone(): boolean {
    return this.#running === undefined;
  }

  /** What an opening threw. */
  get failure(): unknown {
    return this.#failure;
  }

  /** `liveOwners`: the transactional ids of this generation's members. Whatever was begun before must have been stopped. */
  start(ids: readonly string[], liveOwners: ReadonlySet<string>): void {
    this.#end = new AbortController();
    if (ids.length > 0) this.#running = this.#open(ids, liveOwners, this.#end.signal);
  }

  /** What is not open yet is closed again; its file keeps what was restored. */
  async stop(): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  async #open(ids: readonly string[], liveOwners: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    try {
      for await (const { task, isNew } of this.opener.open(ids.map(parseTaskId), signal, liveOwners)) {
        this.tasks.add(task, { isNew });
        this.wakeup.wake();
      }
    } catch (error) {
      this.#failure = error;
    } finally {
      this.#running = undefined;
      this.wakeup.wake();
    }
  }
}
