import { StreamsError } from "../errors.js";

/**
 * Refuses a callback that returned a promise; true otherwise, so that a processor can remember it. Looked at in a
 * node's first call only: a function that is async is so every time, and the look is not paid for by each record.
 *
 * @throws StreamsError ASYNC_CALLBACK, which stops the application: no error handler is asked, as every record would fail
 */
export function expectSynchronous(answer: unknown, nodeName: string): true {
  if (isThenable(answer)) {
    // Its outcome is of no use any more, but left alone a rejection would end the process.
    answer.then(undefined, () => undefined);
    throw new StreamsError(
      "ASYNC_CALLBACK",
      `node "${nodeName}": its callback returned a promise, but records are processed synchronously; ` +
        "do what it waits for before the record is written to its topic, or after it is read from an output topic",
    );
  }
  return true;
}

function isThenable(answer: unknown): answer is PromiseLike<unknown> {
  return typeof answer === "object" && answer !== null && typeof (answer as { then?: unknown }).then === "function";
}
