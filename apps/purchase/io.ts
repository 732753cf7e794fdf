import type { Logger } from "pino";

/** What a command talks to: the process's own, or a test's. */
export interface CommandIo {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly logger: Logger;
  /** Aborted when the command is asked to end. */
  readonly stop: AbortSignal;
}
