/** Lets the first few of each second through and counts the rest, so that what is shown can say what it leaves out. */
export class Sampler {
  readonly #perSecond: number;
  #second = -1;
  #shown = 0;
  #skipped = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** True when this one is to be shown. */
  take(wallClockMs: number): boolean {
    const second = Math.floor(wallClockMs / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#shown = 0;
    }
    if (this.#shown < this.#perSecond) {
      this.#shown++;
      return true;
    }
    this.#skipped++;
    return false;
  }

  /** How many were left out since this was asked last. */
  takeSkipped(): number {
    const skipped = this.#skipped;
    this.#skipped = 0;
    return skipped;
  }
}
