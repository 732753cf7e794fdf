/** What the engine logs through; pino's own loggers fit as they are. The data comes first, the message says what happened. */
export interface Logger {
  debug(data: object, message: string): void;
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
  error(data: object, message: string): void;
}

const nothing = (): void => undefined;

/** Says nothing: for tests, and for a library that was given no logger. */
export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
