import type { StreamTask } from "./task.js";
import type { FetchedPartition, FetchPosition } from "./transport.js";

/**
 * How long what is committed may wait for SQLite with a backlog: rows change often then, and one write for several commits saves most of the pages, and
 * of the checkpoints that follow pages, which sync twice while nothing else happens (4 ms each, at times 100).
 */
const UNWRITTEN_MS_MAX = 2_000;
/**
 * How long without one, while records come and are committed all the time: at 2,000 records/s, a write of nine tasks after each commit took a sixth of the
 * thread's time, and every commit waited for it.
 */
const UNWRITTEN_DRAINED_MS_MAX = 200;
/** While there is work, a part of the tasks at a time: a write of them all holds everything else up. */
const WRITTEN_SHARE = 1 / 8;

/**
 * A task with a backlog keeps its turn for so long: its windows are then mostly full when they are committed, instead of a part of all tasks'
 * windows each time, and a row that no two commits write is put out, logged and stored once.
 */
const TURN_MS = 150;
/** Records between two looks at the clock. */
const STEP_RECORDS = 500;

/** The open tasks of one stream thread: feeds them, takes turns among them, and knows how much they hold. */
export class TaskSet {
  readonly #tasks = new Map<string, StreamTask>();
  /** Tasks whose first position is not committed yet: they must not fetch (protocol 14). */
  readonly #unconfirmed = new Set<StreamTask>();
  /** Whose turn it is. */
  #turn = 0;
  /** How long the turn has taken. */
  #turnMs = 0;

  get all(): readonly StreamTask[] {
    return [...this.#tasks.values()];
  }

  get(id: string): StreamTask | undefined {
    return this.#tasks.get(id);
  }

  add(task: StreamTask, options: { readonly isNew: boolean }): void {
    this.#tasks.set(task.id, task);
    if (options.isNew) this.#unconfirmed.add(task);
  }

  /** Closes a task; what it had not committed is lost, as it must be. */
  close(task: StreamTask): void {
    this.#tasks.delete(task.id);
    this.#unconfirmed.delete(task);
    task.close();
  }

  closeAll(): void {
    for (const task of this.all) this.close(task);
  }

  confirmed(tasks: Iterable<StreamTask>): void {
    for (const task of tasks) this.#unconfirmed.delete(task);
  }

  /** A first position waits for its commit, and its partition until then. */
  get hasUnconfirmed(): boolean {
    return this.#unconfirmed.size > 0;
  }

  /** Partitions that its tasks read, whether they may be fetched or not. */
  get partitionCount(): number {
    let count = 0;
    for (const task of this.#tasks.values()) count += task.queues.length;
    return count;
  }

  /** Tasks with something to commit. */
  get dirty(): readonly StreamTask[] {
    return this.all.filter((task) => task.isDirty || this.#unconfirmed.has(task));
  }

  /** False while a fetch is known to bring more: a queue that waits for one is not the end of a backlog. */
  get isCaughtUp(): boolean {
    for (const { queues } of this.#tasks.values()) if (!queues.every((queue) => queue.isCaughtUp)) return false;
    return true;
  }

  get cacheBytes(): number {
    let bytes = 0;
    for (const task of this.#tasks.values()) bytes += task.cacheBytes;
    return bytes;
  }

  get queuedBytes(): number {
    let bytes = 0;
    for (const task of this.#tasks.values()) bytes += task.queuedBytes;
    return bytes;
  }

  /**
   * Writes what is committed to SQLite, the oldest first: all of it where there is nothing to process and nothing to commit, so that readers of the files
   * see it at once; else what has waited long enough, and whatever is above `unwrittenBytesMax`. Not while a commit is on its way.
   */
  writeCommitted(
    nowMs: number,
    { isDrained, unwrittenBytesMax }: { readonly isDrained: boolean; readonly unwrittenBytesMax: number },
  ): void {
    const isQuiet = isDrained && this.dirty.length === 0;
    const waitMs = isQuiet ? 0 : isDrained ? UNWRITTEN_DRAINED_MS_MAX : UNWRITTEN_MS_MAX;
    const mostTasks = isQuiet ? this.#tasks.size : Math.ceil(this.#tasks.size * WRITTEN_SHARE);
    const unwritten: { readonly task: StreamTask; readonly sinceMs: number; readonly bytes: number }[] = [];
    let leftBytes = 0;
    for (const task of this.#tasks.values()) {
      if (task.unwrittenSinceMs === undefined) continue;
      const bytes = task.state.unwrittenBytes;
      unwritten.push({ task, sinceMs: task.unwrittenSinceMs, bytes });
      leftBytes += bytes;
    }
    unwritten.sort((a, b) => a.sinceMs - b.sinceMs);
    for (const [place, { task, sinceMs, bytes }] of unwritten.entries()) {
      const isDue = place < mostTasks && sinceMs <= nowMs - waitMs;
      if (!isDue && leftBytes <= unwrittenBytesMax) break;
      task.write();
      leftBytes -= bytes;
    }
  }

  /**
   * Where to fetch on: every partition that holds less than its share of the buffer, the emptiest first: an answer may have no room for the last. Batches
   * that are larger than a share fill the buffer before every partition has its own; then only those that hold nothing get more, so that no task waits for another's records.
   */
  fetchPositions(bufferedBytesMax: number): FetchPosition[] {
    const queues = this.all.filter((task) => !this.#unconfirmed.has(task)).flatMap((task) => task.queues);
    const isFull = this.queuedBytes >= bufferedBytesMax;
    const shareBytes = bufferedBytesMax / Math.max(queues.length, 1);
    return queues
      .filter(({ bufferedBytes }) => (isFull ? bufferedBytes === 0 : bufferedBytes < shareBytes))
      .sort((a, b) => a.bufferedBytes - b.bufferedBytes)
      .map(({ topic, partition, fetchPosition }) => ({ topic, partition, offset: fetchPosition }));
  }

  /** Hands an answer to whoever owns the partition now; an answer to another position is of an older time, and the queue ignores it. */
  deliver(fetched: FetchedPartition): void {
    for (const task of this.#tasks.values()) {
      if (task.partition === fetched.partition) task.add(fetched);
    }
  }

  /** Processes until nothing is left or the time is over, each task in turn, and returns how many records it were. */
  process(budgetMs: number): number {
    const tasks = this.all;
    let nowMs = performance.now();
    const untilMs = nowMs + budgetMs;
    let done = 0;
    // The next call goes on where this one ends, in the middle of a turn too: a slice is shorter than a turn.
    for (let idle = 0; idle < tasks.length && (done === 0 || nowMs < untilMs); ) {
      this.#turn %= tasks.length;
      const records = (tasks[this.#turn] as StreamTask).process(STEP_RECORDS, { waitForOthers: true });
      const beganMs = nowMs;
      nowMs = performance.now();
      this.#turnMs += nowMs - beganMs;
      done += records;
      idle = records === 0 ? idle + 1 : 0;
      if (records < STEP_RECORDS || this.#turnMs >= TURN_MS) this.passTurn();
    }
    return done;
  }

  /** A commit begins: what a task goes on with would be in this one and the next. */
  passTurn(): void {
    this.#turn++;
    this.#turnMs = 0;
  }
}
