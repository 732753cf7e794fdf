const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 10_000;
/** Failures one after the other without a single commit between them: more of the same would abort for ever (protocol 7). */
const FRUITLESS_MAX = 5;

/** When something that failed is tried again: after a growing pause, until it has failed too often without getting anywhere. */
export class Attempts {
  #fruitless = 0;
  #backoffMs = BACKOFF_MIN_MS;

  /**
   * @param isPatient it does not count, because what it failed of is waited for as long as it takes
   * @returns how long to wait before the next one; undefined when there is to be none
   */
  afterFailure({ hasCommitted, isPatient }: { readonly hasCommitted: boolean; readonly isPatient: boolean }) {
    if (hasCommitted) {
      this.#fruitless = 0;
      this.#backoffMs = BACKOFF_MIN_MS;
    }
    if (!isPatient) this.#fruitless++;
    if (this.#fruitless >= FRUITLESS_MAX) return undefined;
    const backoffMs = this.#backoffMs;
    this.#backoffMs = Math.min(2 * backoffMs, BACKOFF_MAX_MS);
    return backoffMs;
  }
}
