import { createHash, randomUUID } from "node:crypto";
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import Database from "better-sqlite3";
import { errorCode, stateError, UnusableStateError } from "./errors.js";

const FILE_NAME_MAX = 100;
const HASH_DIGITS = 8;
export const LOCK_FILE = "lock.db";
const MEMBERS_FILE = "members.json";

export interface StateDirectoryOptions {
  readonly stateDir: string;
  readonly applicationId: string;
  /** The machine's by default. */
  readonly hostName?: string;
}

/** Who runs here. A copied volume or image has another host, device or inode, and is somebody else (protocol 11). */
interface Identity {
  readonly uuid: string;
  readonly hostName: string;
  readonly device: string;
  readonly inode: string;
}

/** What a thread tells another of the directory that it holds. */
export interface HeldDirectory {
  readonly path: string;
  readonly uuid: string;
}

/** The directory of one application on one machine, held by one process at a time. */
export class StateDirectory {
  /** `<stateDir>/<applicationId>`, absolute. */
  readonly path: string;
  /** Part of group instance ids and transactional ids; the same as long as this directory stays where it is. */
  readonly uuid: string;
  readonly #lock: Database.Database | undefined;

  private constructor(path: string, uuid: string, lock: Database.Database | undefined) {
    this.path = path;
    this.uuid = uuid;
    this.#lock = lock;
  }

  /** The directory that another thread of this process holds, for as long as that one does. */
  static ofThisProcess({ path, uuid }: HeldDirectory): StateDirectory {
    return new StateDirectory(path, uuid, undefined);
  }

  /** @throws UnusableStateError when the directory cannot be made or written, or another process holds it */
  static open(options: StateDirectoryOptions): StateDirectory {
    const path = applicationDirectory(options);
    told(path, () => makeDirectory(path));
    const lock = lockDirectory(path);
    try {
      const uuid = told(path, () => identify(path, options.hostName ?? hostname()).uuid);
      return new StateDirectory(path, uuid, lock);
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /**
   * The file of a task, found by its stores and its partition: an edit of the topology shifts the numbers of
   * sub-topologies, and state must not move to another task with them.
   */
  taskFile(stores: readonly string[], partition: number): string {
    return join(this.path, `${taskFilePrefix(stores)}${partition}.db`);
  }

  /** The group members that this directory had at its last start; none when it is another one's, or a copy. */
  members(): readonly string[] {
    const text = readIfThere(join(this.path, MEMBERS_FILE));
    if (text === undefined) return [];
    try {
      const { uuid, members } = JSON.parse(text) as { readonly uuid?: unknown; readonly members?: unknown };
      return uuid === this.uuid && Array.isArray(members) ? members.map(String) : [];
    } catch (error) {
      if (error instanceof SyntaxError) return [];
      throw error;
    }
  }

  rememberMembers(members: readonly string[]): void {
    told(this.path, () => writeDurably(join(this.path, MEMBERS_FILE), JSON.stringify({ uuid: this.uuid, members })));
  }

  close(): void {
    this.#lock?.close();
  }
}

export function applicationDirectory(options: Pick<StateDirectoryOptions, "stateDir" | "applicationId">): string {
  return join(resolve(options.stateDir), fileNamePart(options.applicationId));
}

/** The task files of these stores, by partition, as they lie in a directory; read only. */
export function taskFilesOf(
  path: string,
  stores: readonly string[],
): { readonly file: string; readonly partition: number }[] {
  const prefix = taskFilePrefix(stores);
  if (!existsSync(path)) return [];
  return readdirSync(path).flatMap((name) => {
    const partition = name.startsWith(prefix) ? /^(\d+)\.db$/.exec(name.slice(prefix.length))?.[1] : undefined;
    return partition === undefined ? [] : [{ file: join(path, name), partition: Number(partition) }];
  });
}

/** What lies in the directory of an application; undefined where there is none. */
export function stateOnDisk(
  options: Pick<StateDirectoryOptions, "stateDir" | "applicationId">,
): { readonly path: string; readonly files: number; readonly bytes: number } | undefined {
  const path = applicationDirectory(options);
  if (!existsSync(path)) return undefined;
  const names = readdirSync(path).filter((name) => name !== LOCK_FILE);
  const bytes = names.reduce(
    (sum, name) => sum + (statSync(join(path, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
  return { path, files: names.filter((name) => name.endsWith(".db")).length, bytes };
}

/**
 * What a start would find here. Makes no directory.
 *
 * @throws UnusableStateError when it cannot be written
 */
export function describeState(options: Pick<StateDirectoryOptions, "stateDir" | "applicationId">): {
  readonly path: string;
  readonly isLocked: boolean;
  readonly files: number;
  readonly bytes: number;
} {
  const path = applicationDirectory(options);
  const found = stateOnDisk(options) ?? { path, files: 0, bytes: 0 };
  let parent = path;
  while (!existsSync(parent) && dirname(parent) !== parent) parent = dirname(parent);
  told(path, () => accessSync(parent, constants.W_OK));
  if (parent !== path) return { ...found, isLocked: false };
  try {
    lockDirectory(path).close();
    return { ...found, isLocked: false };
  } catch (error) {
    if (error instanceof UnusableStateError && error.code === "STATE_DIRECTORY_LOCKED")
      return { ...found, isLocked: true };
    throw error;
  }
}

/**
 * Deletes the state of an application on this machine, its identity included. Holds the directory meanwhile.
 *
 * @throws UnusableStateError STATE_DIRECTORY_LOCKED while a process uses it
 */
export function deleteState(options: Pick<StateDirectoryOptions, "stateDir" | "applicationId">): void {
  const path = applicationDirectory(options);
  if (!existsSync(path)) return;
  const directory = StateDirectory.open(options);
  try {
    told(path, () => rmSync(path, { recursive: true }));
  } finally {
    directory.close();
  }
}

function taskFilePrefix(stores: readonly string[]): string {
  const names = [...stores].sort().map(fileNamePart).join("+");
  if (names.length <= FILE_NAME_MAX) return `${names}-`;
  const hash = createHash("sha256").update(names).digest("hex").slice(0, HASH_DIGITS);
  return `${names.slice(0, FILE_NAME_MAX)}-${hash}-`;
}

/** Not by `recursive`: where a parent is there and takes no directories (`/proc/1`), Node 20 tries for ever. */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    if (errorCode(error) === "EEXIST" && statSync(path).isDirectory()) return;
    if (errorCode(error) !== "ENOENT" || dirname(path) === path) throw error;
    makeDirectory(dirname(path));
    mkdirSync(path);
  }
}

/** Letters, digits and `. _ -` stay; anything else cannot leave the directory or join two names into one. */
function fileNamePart(name: string): string {
  const part = encodeURIComponent(name);
  return /^\.{0,2}$/.test(part) ? part.replaceAll(".", "%2E") || "%" : part.replaceAll("*", "%2A");
}

/**
 * An exclusive SQLite transaction that stays open: the kernel frees it however the process ends, and a pid file would
 * need guessing. Not for network file systems.
 */
function lockDirectory(path: string): Database.Database {
  const file = join(path, LOCK_FILE);
  let lock: Database.Database | undefined;
  try {
    lock = new Database(file, { timeout: 0 });
    lock.pragma("locking_mode = EXCLUSIVE");
    lock.exec("BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS held (by_process INTEGER)");
    return lock;
  } catch (error) {
    lock?.close();
    if (errorCode(error).startsWith("SQLITE_BUSY")) {
      const message =
        `state directory ${path} is in use by another process: stop that one, or give this one its own state directory ` +
        "(two processes in one directory would overwrite each other's state)";
      throw new UnusableStateError("STATE_DIRECTORY_LOCKED", message, { cause: error });
    }
    if (/^SQLITE_(NOTADB|CORRUPT)/.test(errorCode(error))) {
      const message = `${file} is damaged and cannot lock the state directory: delete it, it holds nothing`;
      throw new UnusableStateError("STATE_DIRECTORY_UNUSABLE", message, { cause: error });
    }
    throw stateError(error, file);
  }
}

const ADVICE: Readonly<Record<string, string>> = {
  EACCES: "this user may not write there; change its owner or mode, or set another state directory",
  EPERM: "this user may not write there; change its owner or mode, or set another state directory",
  EROFS: "the file system is read-only; set a state directory on one that can be written",
  ENOSPC: "the disk is full; make room",
  EDQUOT: "the disk quota is used up; make room",
  ENOTDIR: "a part of the path is a file; set another state directory",
  EEXIST: "it is a file, not a directory; set another state directory",
  ENOENT: "a part of the path is missing and cannot be made; set another state directory",
};

function told<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = errorCode(error);
    const advice = ADVICE[code];
    if (advice === undefined) throw error;
    throw new UnusableStateError(
      "STATE_DIRECTORY_UNUSABLE",
      `state directory ${path} cannot be used (${code}): ${advice}`,
      {
        cause: error,
      },
    );
  }
}

function identify(path: string, hostName: string): Identity {
  const { dev, ino } = statSync(path, { bigint: true });
  const here = { hostName, device: String(dev), inode: String(ino) };
  const file = join(path, "identity.json");
  const known = readIdentity(file);
  if (known?.hostName === here.hostName && known.device === here.device && known.inode === here.inode) return known;
  const identity: Identity = { uuid: randomUUID(), ...here };
  writeDurably(file, JSON.stringify(identity));
  return identity;
}

/** Undefined for no file, and for one that is torn or not ours: a new identity costs one rebalance, a wrong one the group. */
function readIdentity(file: string): Identity | undefined {
  const text = readIfThere(file);
  if (text === undefined) return undefined;
  const fields = /^\{"uuid":"([0-9a-f-]{36})","hostName":("(?:[^"\\]|\\.)*"),"device":"(\d+)","inode":"(\d+)"\}$/.exec(
    text,
  );
  if (fields === null) return undefined;
  const [, uuid, hostName, device, inode] = fields as unknown as readonly [string, string, string, string, string];
  return { uuid, hostName: JSON.parse(hostName) as string, device, inode };
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Whole or not at all: the new file takes the old one's place in one step. */
function writeDurably(file: string, text: string): void {
  const descriptor = openSync(`${file}.new`, "w");
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(`${file}.new`, file);
}
