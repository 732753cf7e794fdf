import { StreamsError } from "../topology/errors.js";
import type { ResolvedConfig } from "./config.js";
import { FencedError } from "./errors.js";
import type { Logger } from "./logger.js";
import { sourceMadeAnew } from "./start-position.js";
import type { TopicAdmin, TopicDescription } from "./transport.js";

/** A topic is widened by people, once in a long while: records in partitions that nobody reads wait so long at most. */
const SOURCES_CHECK_MS = 10_000;

/**
 * Of the source topics that this thread has read, none may be another one of its name now: a task without state keeps no
 * topic ids of its own, and would take the old one's offsets for the new one's.
 *
 * @param seen ids by topic, of earlier sessions; these are added
 * @throws FatalError SOURCE_TOPIC_MADE_ANEW, unless `onOffsetOutOfRange` says where to go on
 */
export function refuseMadeAnew(
  topics: readonly TopicDescription[],
  seen: Map<string, string>,
  config: Pick<ResolvedConfig, "onOffsetOutOfRange" | "logger">,
): void {
  for (const { topic, topicId } of topics) {
    const isAnew = (seen.get(topic) ?? topicId) !== topicId;
    if (isAnew && config.onOffsetOutOfRange === "fail") throw sourceMadeAnew(topic, "this instance");
    if (isAnew) config.logger.warn({ topic }, `topic ${topic} was deleted and made again; it is read on`);
    seen.set(topic, topicId);
  }
}

/** Why the tasks must be made anew. With `isMadeAnew` the topic is another one of its name: nothing of the old one may be committed. */
export interface SourceChange {
  readonly error: FencedError;
  readonly isMadeAnew: boolean;
}

/** Asks now and then whether source topics are still those, with the partitions, that the tasks were made for. */
export class SourceWatch {
  readonly #admin: TopicAdmin;
  readonly #logger: Logger;
  #expected: ReadonlyMap<string, TopicDescription> = new Map();
  #nextMs = 0;
  #asking = false;
  #change: SourceChange | undefined;

  constructor(admin: TopicAdmin, logger: Logger) {
    this.#admin = admin;
    this.#logger = logger;
  }

  /** @param topics as the tasks have them */
  begin(topics: readonly TopicDescription[]): void {
    this.#expected = new Map(topics.map((one) => [one.topic, one]));
    this.#nextMs = performance.now() + SOURCES_CHECK_MS;
  }

  /** Something when a topic has other partitions, or is another one: a new session makes the tasks, or refuses. */
  tick(): SourceChange | undefined {
    if (this.#change !== undefined) return this.#change;
    if (this.#asking || performance.now() < this.#nextMs) return undefined;
    this.#nextMs = performance.now() + SOURCES_CHECK_MS;
    this.#asking = true;
    void this.#ask();
    return undefined;
  }

  async #ask(): Promise<void> {
    try {
      for (const found of await this.#admin.describe([...this.#expected.keys()], "Read"))
        this.#change ??= changeOf(this.#expected.get(found.topic), found);
    } catch (error) {
      // Whoever reads from the brokers notices what is wrong with them, and says so.
      if (!(error instanceof StreamsError)) throw error;
      this.#logger.debug({ err: error }, "the partitions of the source topics could not be asked for");
    } finally {
      this.#asking = false;
    }
  }
}

function changeOf(had: TopicDescription | undefined, { topic, topicId, partitions }: TopicDescription) {
  if (had === undefined) return undefined;
  if (had.topicId !== topicId) {
    const error = new FencedError(`topic ${topic} was deleted and made again: what is at hand is of the old one`);
    return { error, isMadeAnew: true };
  }
  if (had.partitions === partitions) return undefined;
  const message = `topic ${topic} had ${had.partitions} partitions and has ${partitions}: the tasks are made anew`;
  return { error: new FencedError(message), isMadeAnew: false };
}
