/** Bits for each key that a level has room for: with six of them set by each key, a full level takes 1 of 1,000 others for one of its own. */
const BITS_PER_KEY = 16;
const PROBES = 6;
const KEYS_MIN = 64;

/** Tells keys that were surely never added: a Bloom filter that doubles by a further level when it is full. */
export class KeyFilter {
  /** The newest comes first: it takes what is added, and has half of all keys. */
  readonly #levels: Uint32Array[] = [];
  #room: number;
  #used = 0;

  /** @param keys about how many there will be; more or fewer cost a little room */
  constructor(keys: number) {
    this.#room = KEYS_MIN;
    while (this.#room < keys) this.#room *= 2;
    this.#levels.push(levelOf(this.#room));
  }

  get bytes(): number {
    return this.#levels.reduce((bytes, level) => bytes + level.byteLength, 0);
  }

  /** How many different keys were added, about: one that was taken for another is not counted. */
  get size(): number {
    return this.#used;
  }

  /** Answers by how many bytes it has grown. */
  add(key: Uint8Array): number {
    const hash = hashOf(key);
    const step = stepOf(hash);
    if (this.#finds(hash, step)) return 0;
    const isFull = this.#used === this.#room;
    if (isFull) {
      // As many bits as all levels so far have together.
      this.#levels.unshift(levelOf(this.#room));
      this.#room *= 2;
    }
    this.#used++;
    const level = this.#levels[0] as Uint32Array;
    const mask = level.length * 32 - 1;
    for (let probe = 0, bit = hash; probe < PROBES; probe++, bit += step) level[(bit & mask) >>> 5]! |= 1 << (bit & 31);
    return isFull ? level.byteLength : 0;
  }

  mayHold(key: Uint8Array): boolean {
    const hash = hashOf(key);
    return this.#finds(hash, stepOf(hash));
  }

  #finds(hash: number, step: number): boolean {
    for (const level of this.#levels) {
      const mask = level.length * 32 - 1;
      let probe = 0;
      for (let bit = hash; probe < PROBES; probe++, bit += step) {
        if ((level[(bit & mask) >>> 5]! & (1 << (bit & 31))) === 0) break;
      }
      if (probe === PROBES) return true;
    }
    return false;
  }
}

function levelOf(keys: number): Uint32Array {
  return new Uint32Array((keys * BITS_PER_KEY) / 32);
}

/** FNV-1a, its bits mixed once more: the low ones choose the place. */
function hashOf(key: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key[at]!, 0x01000193);
  return mixed(hash);
}

/** Odd, so that the probes of a key are different places. */
function stepOf(hash: number): number {
  return (mixed(hash ^ 0x9e3779b9) >>> 8) | 1;
}

function mixed(hash: number): number {
  let bits = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
  return (bits ^ (bits >>> 16)) >>> 0;
}
