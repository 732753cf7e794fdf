import { NotAuthorizedError } from "./errors.js";
import type { TopicAdmin, TopicDescription } from "./transport.js";

/** An unknown topic is not asked for again within this time (protocol 5): a wrong name in every record must not become a request each. */
const UNKNOWN_REMEMBERED_MS = 30_000;
/** A topic extractor may name any number of topics. */
const TOPICS_MAX = 10_000;

/** What is known of topics: partition counts for placing records, ids for recognising a topic that was made anew. */
export class TopicDirectory {
  readonly #known = new Map<string, TopicDescription>();
  readonly #unknownSinceMs = new Map<string, number>();
  readonly #forbidden = new Map<string, NotAuthorizedError>();

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

  /** Why this client may not see a topic that a record has named; undefined for any other. */
  refusalOf(topic: string): NotAuthorizedError | undefined {
    return this.#forbidden.get(topic);
  }

  /**
   * Asks the broker about those not known yet, or about all of them with `again`.
   *
   * @throws NotAuthorizedError when this client may not see one of them
   */
  async lookUp(
    topics: Iterable<string>,
    options: { readonly again?: boolean; readonly purpose: "Read" | "Write" },
  ): Promise<void> {
    const wanted = [...new Set(topics)].filter((topic) => options.again === true || this.#isWorthAsking(topic));
    if (wanted.length === 0) return;
    const found = await this.admin.describe(wanted, options.purpose);
    if (this.#known.size + this.#unknownSinceMs.size > TOPICS_MAX) {
      this.#unknownSinceMs.clear();
      this.#forbidden.clear();
    }
    for (const topic of wanted) {
      this.#known.delete(topic);
      this.#unknownSinceMs.set(topic, this.now());
    }
    for (const description of found) {
      this.#known.set(description.topic, description);
      this.#unknownSinceMs.delete(description.topic);
      this.#forbidden.delete(description.topic);
    }
  }

  /** As `lookUp`, for topics that records name: one that is forbidden is the error of its records (protocol 5), and the others go on. */
  async lookUpNamed(topics: Iterable<string>): Promise<void> {
    let left = new Set(topics);
    for (;;) {
      try {
        await this.lookUp(left, { purpose: "Write" });
        return;
      } catch (error) {
        if (!(error instanceof NotAuthorizedError) || !left.has(error.acl.name)) throw error;
        const { name } = error.acl;
        this.#forbidden.set(name, error);
        this.#unknownSinceMs.set(name, this.now());
        left = new Set([...left].filter((topic) => topic !== name));
      }
    }
  }

  #isWorthAsking(topic: string): boolean {
    if (this.#known.has(topic)) return false;
    const since = this.#unknownSinceMs.get(topic);
    return since === undefined || this.now() - since >= UNKNOWN_REMEMBERED_MS;
  }
}
