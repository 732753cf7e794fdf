import { StreamsError } from "../topology/errors.js";
import { FencedError } from "./errors.js";
import type { Logger } from "./logger.js";
import type { TopicAdmin } from "./transport.js";

/** A topic is widened by people, once in a long while: records in partitions that nobody reads wait so long at most. */
const SOURCES_CHECK_MS = 10_000;

/** Asks now and then whether source topics still have the partitions that the tasks were made for. */
export class SourceWatch {
  readonly #admin: TopicAdmin;
  readonly #logger: Logger;
  #expected: ReadonlyMap<string, number> = new Map();
  #nextMs = 0;
  #asking = false;
  #change: FencedError | undefined;

  constructor(admin: TopicAdmin, logger: Logger) {
    this.#admin = admin;
    this.#logger = logger;
  }

  /** @param partitions by topic, as the tasks have them */
  begin(partitions: ReadonlyMap<string, number>): void {
    this.#expected = partitions;
    this.#nextMs = performance.now() + SOURCES_CHECK_MS;
  }

  /** Something when a topic has other partitions: a new session makes their tasks, or refuses where state would be split. */
  tick(): FencedError | undefined {
    if (this.#change !== undefined) return this.#change;
    if (this.#asking || performance.now() < this.#nextMs) return undefined;
    this.#nextMs = performance.now() + SOURCES_CHECK_MS;
    this.#asking = true;
    void this.#ask();
    return undefined;
  }

  async #ask(): Promise<void> {
    try {
      for (const { topic, partitions } of await this.#admin.describe([...this.#expected.keys()], "Read")) {
        const had = this.#expected.get(topic);
        if (had === undefined || had === partitions) continue;
        this.#change = new FencedError(
          `topic ${topic} had ${had} partitions and has ${partitions}: the tasks are made anew`,
        );
      }
    } catch (error) {
      // Whoever reads from the brokers notices what is wrong with them, and says so.
      if (!(error instanceof StreamsError)) throw error;
      this.#logger.debug({ err: error }, "the partitions of the source topics could not be asked for");
    } finally {
      this.#asking = false;
    }
  }
}
