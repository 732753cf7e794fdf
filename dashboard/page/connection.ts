import type { Hello, Snapshot } from "../messages.js";

export interface Listener {
  hello(hello: Hello): void;
  snapshot(snapshot: Snapshot): void;
  /** The stream broke, or could not be opened. It is tried again until it works. */
  lost(): void;
}

const RETRY_MS = 1_000;
/** The server sends a message each second. A stream that is silent for this long is dead, whatever the socket says. */
const SILENT_MAX_MS = 10_000;

/**
 * The stream of events, for ever. The browser's own reconnecting gives up when the answer is an error, as a proxy gives
 * it while the application restarts; so each attempt is a new stream.
 */
export function connect(listener: Listener): void {
  const source = new EventSource("/events");
  let silence = 0;
  const again = (): void => {
    window.clearTimeout(silence);
    source.close();
    listener.lost();
    window.setTimeout(() => connect(listener), RETRY_MS);
  };
  const heard = (): void => {
    window.clearTimeout(silence);
    silence = window.setTimeout(again, SILENT_MAX_MS);
  };
  source.addEventListener("hello", ({ data }: MessageEvent<string>) => {
    heard();
    listener.hello(JSON.parse(data) as Hello);
  });
  source.addEventListener("snapshot", ({ data }: MessageEvent<string>) => {
    heard();
    listener.snapshot(JSON.parse(data) as Snapshot);
  });
  source.onerror = again;
  heard();
}
