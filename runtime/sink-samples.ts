/** One output in this many is timed, the first of every commit among them: a clock for each would be felt. */
const EVERY = 16;
/** At most this many wait for one commit. */
const SAMPLES_MAX = 256;

/** The times of some of what a sink has been given since the last commit, until that commit is done. */
export class SinkSamples {
  #timesMs: number[] = [];
  #seen = 0;

  constructor(readonly node: string) {}

  add(recordTimestampMs: number): void {
    if (this.#seen++ % EVERY === 0 && this.#timesMs.length < SAMPLES_MAX) this.#timesMs.push(recordTimestampMs);
  }

  /** What has gathered; begins again. */
  take(): readonly number[] {
    const taken = this.#timesMs;
    this.#timesMs = [];
    this.#seen = 0;
    return taken;
  }
}
