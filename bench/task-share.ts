import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { invariant } from "../topology/errors.js";

/** Milliseconds between two samples: a phase of seconds has thousands. */
const SAMPLE_MS = 1;
/** What is done for each record, and so as often as there are records. Fetching is not in it: feeds fetch as well. */
const OF_TASKS = /\/runtime\/(task|task-set)\.js$/;

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly url: string };
  readonly children?: readonly number[];
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  /** Microseconds of the monotonic clock. */
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** On `process.hrtime`, which is one clock for all processes of a machine. */
export interface Interval {
  readonly fromMicros: number;
  readonly toMicros: number;
}

export function nowMicros(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

export function profilingFlags(directory: string): string[] {
  return ["--cpu-prof", `--cpu-prof-interval=${SAMPLE_MS * 1_000}`, `--cpu-prof-dir=${directory}`];
}

/**
 * How much of a main thread's time went into its tasks, from the profile that the process left when it ended. With a backlog it does as many records as it
 * has time for, so a share tells of throughput what records/s do, without the speed of the machine in it.
 */
export class TaskShares {
  readonly #profile: Profile;
  /** Of the nodes below a function of the tasks. */
  readonly #ofTasks: ReadonlySet<number>;

  constructor(profile: Profile) {
    this.#profile = profile;
    const byId = new Map(profile.nodes.map((node) => [node.id, node]));
    const below = new Set<number>();
    const add = (id: number): void => {
      below.add(id);
      for (const child of byId.get(id)?.children ?? []) add(child);
    };
    for (const { id, callFrame } of profile.nodes) if (OF_TASKS.test(callFrame.url) && !below.has(id)) add(id);
    this.#ofTasks = below;
  }

  /** Of the one process that was started with `profilingFlags(directory)` and has ended. */
  static async readFrom(directory: string): Promise<TaskShares> {
    const [file, ...others] = (await readdir(directory)).filter((name) => name.endsWith(".cpuprofile"));
    invariant(file !== undefined && others.length === 0, `there must be one profile in ${directory}`);
    return new TaskShares(JSON.parse(await readFile(join(directory, file), "utf8")) as Profile);
  }

  of({ fromMicros, toMicros }: Interval): number {
    const { samples, timeDeltas, startTime } = this.#profile;
    let atMicros = startTime;
    let [all, tasks] = [0, 0];
    for (let at = 0; at < samples.length; at++) {
      atMicros += timeDeltas[at] as number;
      if (atMicros < fromMicros || atMicros >= toMicros) continue;
      all++;
      if (this.#ofTasks.has(samples[at] as number)) tasks++;
    }
    invariant(all > 0, "there must be samples of this time: is it another clock?");
    return tasks / all;
  }
}
