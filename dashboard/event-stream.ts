import type { ServerResponse } from "node:http";

export interface EventStreamOptions {
  /** Pages that may be open at the same time; one more is refused. */
  readonly pagesMax: number;
  /** A page that has taken nothing for this long is let go; it connects again by itself when it wakes. */
  readonly stalledMaxMs: number;
}

interface Client {
  readonly response: ServerResponse;
  /** Has missed a message, so that it needs the whole picture next. */
  isBehind: boolean;
  stalledSinceMs: number | undefined;
}

/** One message for all pages: made once, however many there are. `whole` is what a page needs that has missed some. */
export interface Broadcast {
  readonly update: Buffer;
  whole(): Buffer;
}

/**
 * Server-sent events to any number of pages, bounded for each: while one page's socket has not taken the last message,
 * it is sent nothing more, so this process never holds more than one message for it. When the socket is free
 * again the page gets the whole picture.
 */
export class EventStream {
  readonly #options: EventStreamOptions;
  readonly #clients = new Set<Client>();

  constructor(options: EventStreamOptions) {
    this.#options = options;
  }

  get pages(): number {
    return this.#clients.size;
  }

  /** The most bytes that are held for one page. */
  get heldBytesMax(): number {
    return Math.max(0, ...[...this.#clients].map(({ response }) => response.writableLength));
  }

  /** Opens the stream for a page. False, with the refusal sent, when there are too many already. */
  open(response: ServerResponse, first: Buffer): boolean {
    if (this.#clients.size >= this.#options.pagesMax) {
      const message = `${this.#options.pagesMax} pages are open already; close one, or ask again later\n`;
      response.writeHead(503, { "content-type": "text/plain; charset=utf-8", "retry-after": "10" });
      response.end(message);
      return false;
    }
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // A proxy that collects the answer before it passes it on would show nothing.
      "x-accel-buffering": "no",
    });
    response.socket?.setNoDelay(true);
    const client: Client = { response, isBehind: false, stalledSinceMs: undefined };
    this.#clients.add(client);
    const forget = (): void => void this.#clients.delete(client);
    response.on("close", forget);
    response.on("error", forget);
    response.write(first);
    return true;
  }

  broadcast({ update, whole }: Broadcast, nowMs: number): void {
    for (const client of this.#clients) {
      if (client.response.writableLength > 0) this.#skip(client, nowMs);
      else {
        client.stalledSinceMs = undefined;
        client.response.write(client.isBehind ? whole() : update);
        client.isBehind = false;
      }
    }
  }

  close(): void {
    for (const { response } of this.#clients) response.destroy();
    this.#clients.clear();
  }

  #skip(client: Client, nowMs: number): void {
    client.isBehind = true;
    client.stalledSinceMs ??= nowMs;
    if (nowMs - client.stalledSinceMs < this.#options.stalledMaxMs) return;
    client.response.destroy();
    this.#clients.delete(client);
  }
}

/** `data` has no line end in it: JSON never has one. */
export function eventOf(name: string, data: unknown): Buffer {
  return Buffer.from(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`, "utf8");
}
