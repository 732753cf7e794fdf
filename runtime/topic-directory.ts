import type { TopicAdmin, TopicDescription } from "./transport.js";

/** An unknown topic is not asked for again within this time (protocol 5): a wrong name in every record must not become a request each. */
const UNKNOWN_REMEMBERED_MS = 30_000;
/** A topic extractor may name any number of topics. */
const TOPICS_MAX = 10_000;

/** What is known of topics: partition counts for placing records, ids for recognising a topic that was made anew. */
export class TopicDirectory {
  readonly #known = new Map<string, TopicDescription>();
  readonly #unknownSinceMs = new Map<string, number>();

  constructor(
    readonly admin: TopicAdmin,
    readonly now: () => number = Date.now,
  ) {}

  partitionCount(topic: string): number | undefined {
    return this.#known.get(topic)?.partitions;
  }

  get(topic: string): TopicDescription | undefined {
    return this.#known.get(topic);
  }

  /** Asks the broker about those not known yet, or about all of them with `again`. */
  async lookUp(topics: Iterable<string>, options: { readonly again: boolean } = { again: false }): Promise<void> {
    const wanted = [...new Set(topics)].filter((topic) => options.again || this.#isWorthAsking(topic));
    if (wanted.length === 0) return;
    const found = await this.admin.describe(wanted);
    if (this.#known.size + this.#unknownSinceMs.size > TOPICS_MAX) this.#unknownSinceMs.clear();
    for (const topic of wanted) {
      this.#known.delete(topic);
      this.#unknownSinceMs.set(topic, this.now());
    }
    for (const description of found) {
      this.#known.set(description.topic, description);
      this.#unknownSinceMs.delete(description.topic);
    }
  }

  #isWorthAsking(topic: string): boolean {
    if (this.#known.has(topic)) return false;
    const since = this.#unknownSinceMs.get(topic);
    return since === undefined || this.now() - since >= UNKNOWN_REMEMBERED_MS;
  }
}
