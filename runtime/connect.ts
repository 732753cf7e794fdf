import { UnavailableError } from "./errors.js";
import type { Logger } from "./logger.js";
import type { Transport } from "./transport.js";

/** A cluster that comes up together with its clients is there by then; an address that nobody has is not found out later. */
const CONNECT_PATIENCE_MS = 5 * 60_000;

/**
 * Connects, and waits for brokers that are not there yet: containers start in any order. What no waiting mends (a wrong
 * login, certificate or setting) is thrown at once.
 *
 * @returns false when `isClosing` says so first
 * @throws UnavailableError when no broker has answered in time
 */
export async function connectPatiently(
  transport: Transport,
  { logger, isClosing, patienceMs = CONNECT_PATIENCE_MS }: ConnectOptions,
): Promise<boolean> {
  const beganMs = performance.now();
  for (;;) {
    try {
      await transport.connect();
      return !isClosing();
    } catch (error) {
      if (isClosing()) return false;
      if (!(error instanceof UnavailableError)) throw error;
      const waitedMs = performance.now() - beganMs;
      if (waitedMs >= patienceMs) {
        const message = `no broker has answered for ${Math.round(waitedMs / 1_000)} s: ${error.message}`;
        throw new UnavailableError(message, { cause: error });
      }
      logger.warn({ code: error.code }, `waiting for the brokers: ${error.message}`);
    }
  }
}

export interface ConnectOptions {
  readonly logger: Logger;
  readonly isClosing: () => boolean;
  readonly patienceMs?: number;
}
