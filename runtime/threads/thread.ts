import type { Layout } from "../local-state.js";
import type { SessionPhase } from "../stream-session.js";

export interface TaskStatus {
  readonly id: string;
  /** `standby`: a copy of the state of a task that another instance runs. */
  readonly state: "running" | "restoring" | "standby";
  /** Changelog offsets, while restoring. */
  readonly done?: number;
  readonly total?: number;
  /** Changelog offsets that a standby is behind, as of its last look. */
  readonly lag?: number;
  /** The stream thread that has it, from 1, where there are several. */
  readonly thread?: number;
}

/** What an instance knows of one of its stream threads: plain data, which may come from another thread. */
export interface ThreadState {
  readonly phase: SessionPhase | "recovering";
  /** Why it is in this phase, for people. */
  readonly reason: string;
  readonly tasks: readonly TaskStatus[];
  /** As of the last join. */
  readonly layout?: Layout | undefined;
}

/** One stream thread of an instance, wherever it runs. */
export interface Thread {
  /** As of a moment ago. */
  readonly state: ThreadState;
  /** Resolves when it can begin. */
  start(): Promise<void>;
  /** Resolves when it was closed. Throws what no new session can mend. */
  run(): Promise<void>;
  /** Asks it to end: stop fetching, commit what is processed, leave the group. `run` then resolves. */
  close(): void;
  /** Ends it at once, where that can be done: what is not committed is processed again. */
  end(): Promise<void>;
}
