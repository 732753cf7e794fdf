import { FatalError } from "../errors.js";
import type { BrokerAddress, KafkaJsClient, OpenBroker, WireRequest } from "./kafkajs-internals.js";
import { ConnectionLostError, ProtocolError } from "./protocol-errors.js";
import { METADATA_API } from "./requests.js";

/** How late a timer must be for the event loop to have been blocked. */
const LATE_MS = 100;
const GRACE_MS = 1_000;

/** A broker that is connected when it is needed, and connected anew when the connection broke. */
export class BrokerConnection {
  readonly #client: KafkaJsClient;
  readonly #address: BrokerAddress | undefined;
  #open: OpenBroker | undefined;
  #opening: Promise<OpenBroker> | undefined;
  #inFlight = 0;
  readonly #closing = new AbortController();

  /** Without an address: the next of the configured brokers. */
  constructor(client: KafkaJsClient, address?: BrokerAddress) {
    this.#client = client;
    this.#address = address;
  }

  get isOpen(): boolean {
    return this.#open?.isUsable ?? false;
  }

  isAt(address: BrokerAddress): boolean {
    return this.#address?.host === address.host && this.#address.port === address.port;
  }

  /**
   * @throws ConnectionLostError when there is no connection, or it breaks, or no answer comes within `timeoutMs`: then
   *   the connection is given up, since an answer that comes late would have nobody to go to
   */
  async send<T>(request: WireRequest<T>, timeoutMs: number): Promise<T> {
    const encoded = await request.encode();
    const broker = await this.#connected();
    const watch = watchDeadline(timeoutMs, () => {
      broker.destroy(new Error(`no answer to ${request.apiName} within ${timeoutMs} ms`));
    });
    this.#inFlight++;
    try {
      return await broker.send(request, encoded);
    } catch (cause) {
      throw await this.#sendFailure(cause, `${request.apiName} to ${broker.address}`, broker);
    } finally {
      watch.stop();
      this.#inFlight--;
      if (broker !== this.#open && this.#inFlight === 0) broker.destroy(new Error("the connection was replaced"));
    }
  }

  close(): void {
    this.#closing.abort();
    this.#open?.destroy(new Error("closed"));
    this.#open = undefined;
  }

  async #connected(): Promise<OpenBroker> {
    if (this.#open?.isUsable) return this.#open;
    // One at a time: KafkaJS would open a socket for each request that finds none, and lose all but the last.
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #connect(): Promise<OpenBroker> {
    if (this.#closing.signal.aborted) throw new ConnectionLostError("closed", { sent: false });
    // A SASL session that nears its end is replaced, not renewed: KafkaJS takes the answer of a request in flight for
    // that of the authentication. The old connection ends with its last answer.
    if (this.#inFlight === 0) this.#open?.destroy(new Error("the connection was replaced"));
    this.#open = undefined;
    const broker = await this.#client.open(this.#address, this.#closing.signal);
    if (this.#closing.signal.aborted) {
      broker.destroy(new Error("closed"));
      throw new ConnectionLostError("closed", { sent: false });
    }
    if (broker.maxVersion(METADATA_API.apiKey) < METADATA_API.apiVersion) {
      broker.destroy(new Error("too old"));
      throw new FatalError(
        "BROKER_TOO_OLD",
        `the broker at ${broker.address} is older than Apache Kafka 2.8: upgrade it`,
      );
    }
    this.#open = broker;
    return broker;
  }

  async #sendFailure(cause: unknown, what: string, broker: OpenBroker): Promise<unknown> {
    const failure = sendFailure(cause, what);
    if (!(failure instanceof ConnectionLostError) || !isClosedByBroker(cause)) return failure;
    try {
      return (await this.#client.whyClosed(broker, this.#closing.signal)) ?? failure;
    } catch (error) {
      if (error instanceof FatalError) return error;
      // Nobody answers any more: the broker went away.
      return failure;
    }
  }
}

function isClosedByBroker(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  return cause.name === "KafkaJSConnectionClosedError" || ("code" in cause && cause.code === "ECONNRESET");
}

function sendFailure(cause: unknown, what: string): unknown {
  // An answer that cannot be read stays what it is: asking again would bring the same.
  if (cause instanceof RangeError || cause instanceof ProtocolError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof Error && cause.name === "KafkaJSProtocolError") {
    return new FatalError("UNSUPPORTED_VERSION", `${what}: ${why}`, { cause });
  }
  return new ConnectionLostError(`${what}: ${why}`, { sent: true, cause });
}

/**
 * Calls back when the time is over. A timer that fires late proves that the event loop was blocked: the answer may lie
 * in the socket unread, so it gets one more second.
 */
function watchDeadline(timeoutMs: number, onExpiry: () => void): { stop(): void } {
  let dueMs = Date.now() + timeoutMs;
  let timer = setTimeout(check, timeoutMs);
  timer.unref();
  function check(): void {
    const nowMs = Date.now();
    if (nowMs - dueMs <= LATE_MS) {
      onExpiry();
      return;
    }
    dueMs = nowMs + GRACE_MS;
    timer = setTimeout(check, GRACE_MS);
    timer.unref();
  }
  return { stop: () => clearTimeout(timer) };
}
