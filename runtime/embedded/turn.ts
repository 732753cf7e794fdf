/**
 * The next turn of the event loop. Every answer of the log waits for one, as an answer from a network would: a loop of
 * awaits that never leaves the microtasks would keep timers, signals and every other loop from running.
 */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
