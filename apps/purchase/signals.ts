const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
type StopSignal = keyof typeof EXIT_CODES;

export interface Stop {
  /** Aborted by the first SIGINT or SIGTERM; the second ends the process at once. */
  readonly signal: AbortSignal;
  dispose(): void;
}

/** Listens for the signals that end a command. */
export function listenForStop(): Stop {
  const controller = new AbortController();
  const listeners = (Object.keys(EXIT_CODES) as StopSignal[]).map((name) => {
    const listener = (): void => {
      if (controller.signal.aborted) process.exit(EXIT_CODES[name]);
      controller.abort(name);
    };
    process.on(name, listener);
    return { name, listener };
  });
  return {
    signal: controller.signal,
    dispose: () => {
      for (const { name, listener } of listeners) process.off(name, listener);
    },
  };
}
