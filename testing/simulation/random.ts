/** A seeded generator of uniform numbers: the same seed gives the same run on every machine. */
export class Random {
  #state: number;

  constructor(seed: number) {
    // Seeds are small and similar: hashed, so that 1 and 2 do not give similar runs.
    this.#state = mix(Math.floor(seed / 0x1_0000_0000) ^ mix(seed >>> 0));
  }

  /** In [0, 1). */
  fraction(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    return (mix(this.#state) >>> 0) / 0x1_0000_0000;
  }

  /** A whole number in [from, to). */
  between(from: number, to: number): number {
    return from + Math.floor(this.fraction() * (to - from));
  }

  happens(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.between(0, choices.length)] as T;
  }

  /** A generator of its own: what is drawn from one does not shift what is drawn from the other. */
  fork(): Random {
    return new Random(this.between(0, 2 ** 32));
  }
}

/** Every bit of the input changes half of the output's bits: xor-shifts between odd multiplications. */
function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a2d97);
  return hash ^ (hash >>> 15);
}
