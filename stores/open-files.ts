import { createHash } from "node:crypto";
import { getEnvironmentData, setEnvironmentData, threadId } from "node:worker_threads";
import { invariant } from "../topology/errors.js";

// Which state files are open in this process, and in which of its threads (protocol 18): two owners of one file would
// overwrite each other's state. It lies in memory that all threads share, so that opening stays synchronous.

const NAME = "millrace.open-state-files";
/** Each open file has descriptors of its own, and a process has fewer of those. */
const FILES_MAX = 10_000;
const HEADER_WORDS = 2;
/** A file's name as 64 bits of its hash, and its owner. */
const ENTRY_WORDS = 3;
/** Whoever holds the table for longer than this has died with it: what is done under the lock takes microseconds. */
const HELD_MAX_MS = 10_000;

// Words of the header.
const LOCK = 0;
const COUNT = 1;

/** Threads are numbered from 0, and 0 stands for nobody. */
const self = threadId + 1;

const table = sharedTable();

function sharedTable(): Int32Array {
  const known = getEnvironmentData(NAME);
  const memory =
    known instanceof SharedArrayBuffer ? known : new SharedArrayBuffer(4 * (HEADER_WORDS + ENTRY_WORDS * FILES_MAX));
  // Every thread that is started from here finds it under this name.
  setEnvironmentData(NAME, memory);
  return new Int32Array(memory);
}

/** Makes this thread the file's owner. False when it has one already, in whatever thread. */
export function claimFile(path: string): boolean {
  const key = keyOf(path);
  return locked(() => {
    if (find(key) !== undefined) return false;
    const count = at(COUNT);
    invariant(count < FILES_MAX, `a process has at most ${FILES_MAX} state files open`);
    table.set([...key, self], entryAt(count));
    table[COUNT] = count + 1;
    return true;
  });
}

/** Only its owner may. */
export function releaseFile(path: string): void {
  const key = keyOf(path);
  locked(() => {
    const entry = find(key);
    if (entry !== undefined && at(entry + 2) === self) remove(entry);
  });
}

/** True until the owner has closed: whoever wants to open waits for that, bounded. */
export function isFileOpen(path: string): boolean {
  const key = keyOf(path);
  return locked(() => find(key) !== undefined);
}

/** A thread has ended, however it did: Node has closed its connections before it says so. */
export function releaseFilesOf(endedThreadId: number): void {
  const owner = endedThreadId + 1;
  Atomics.compareExchange(table, LOCK, owner, 0);
  locked(() => {
    for (let index = at(COUNT) - 1; index >= 0; index--) {
      const entry = entryAt(index);
      if (at(entry + 2) === owner) remove(entry);
    }
  });
}

function locked<T>(work: () => T): T {
  const beganMs = performance.now();
  for (;;) {
    const holder = Atomics.compareExchange(table, LOCK, 0, self);
    if (holder === 0) break;
    if (performance.now() - beganMs > HELD_MAX_MS) Atomics.compareExchange(table, LOCK, holder, 0);
    else Atomics.wait(table, LOCK, holder, 1);
  }
  try {
    return work();
  } finally {
    Atomics.store(table, LOCK, 0);
    Atomics.notify(table, LOCK, 1);
  }
}

function find([high, low]: readonly [number, number]): number | undefined {
  for (let index = 0; index < at(COUNT); index++) {
    const entry = entryAt(index);
    if (at(entry) === high && at(entry + 1) === low) return entry;
  }
  return undefined;
}

/** The last entry takes its place. */
function remove(entry: number): void {
  const last = at(COUNT) - 1;
  table.copyWithin(entry, entryAt(last), entryAt(last) + ENTRY_WORDS);
  table[COUNT] = last;
}

function entryAt(index: number): number {
  return HEADER_WORDS + ENTRY_WORDS * index;
}

function at(word: number): number {
  return table[word] as number;
}

function keyOf(path: string): [number, number] {
  const hash = createHash("sha256").update(path).digest();
  return [hash.readInt32BE(0), hash.readInt32BE(4)];
}
