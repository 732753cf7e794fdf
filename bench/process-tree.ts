import { readdirSync, readFileSync } from "node:fs";

/** What a process and its descendants have used: user and system time, and the memory they hold now. Linux only. */
export interface TreeUse {
  readonly cpuSeconds: number;
  /** Proportional set size: shared pages are counted once over all who share them. */
  readonly pssBytes: number;
  readonly rssBytes: number;
}

const TICKS_PER_SECOND = 100;
const KIB = 1024;

interface ProcessStat {
  readonly parent: number;
  readonly cpuTicks: number;
}

export function treeUse(pid: number): TreeUse {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    const child = Number(entry);
    const stat = Number.isSafeInteger(child) ? statOf(child) : undefined;
    if (stat !== undefined) children.set(stat.parent, [...(children.get(stat.parent) ?? []), child]);
  }
  let cpuTicks = 0;
  let pssBytes = 0;
  let rssBytes = 0;
  for (const todo = [pid]; todo.length > 0; ) {
    const next = todo.pop() as number;
    cpuTicks += statOf(next)?.cpuTicks ?? 0;
    const memory = memoryOf(next);
    pssBytes += memory.pssBytes;
    rssBytes += memory.rssBytes;
    todo.push(...(children.get(next) ?? []));
  }
  return { cpuSeconds: cpuTicks / TICKS_PER_SECOND, pssBytes, rssBytes };
}

/** Undefined once the process is gone. A reaped child's time stands in its parent's. */
function statOf(pid: number): ProcessStat | undefined {
  const text = readIfThere(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  const fields = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const [utime = 0, stime = 0, childUtime = 0, childStime = 0] = fields.slice(11, 15);
  return { parent: fields[1] ?? 0, cpuTicks: utime + stime + childUtime + childStime };
}

function memoryOf(pid: number): { readonly pssBytes: number; readonly rssBytes: number } {
  const text = readIfThere(`/proc/${pid}/smaps_rollup`) ?? "";
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
  return { pssBytes: kib("Pss") * KIB, rssBytes: kib("Rss") * KIB };
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (
      error instanceof Error &&
      "code" in error &&
      (error.code === "ENOENT" || error.code === "ESRCH" || error.code === "EACCES")
    )
      return undefined;
    throw error;
  }
}
