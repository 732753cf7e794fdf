/** Kafka's murmur2, so that a key lands in the partition where the Java clients put it. */
export function murmur2(key: Uint8Array): number {
  const multiplier = 0x5bd1e995;
  const length = key.length;
  let hash = 0x9747b28c ^ length;
  const whole = length & ~3;
  for (let at = 0; at < whole; at += 4) {
    let word = key[at]! | (key[at + 1]! << 8) | (key[at + 2]! << 16) | (key[at + 3]! << 24);
    word = Math.imul(word, multiplier);
    word ^= word >>> 24;
    hash = Math.imul(hash, multiplier) ^ Math.imul(word, multiplier);
  }
  const left = length - whole;
  if (left >= 3) hash ^= key[whole + 2]! << 16;
  if (left >= 2) hash ^= key[whole + 1]! << 8;
  if (left >= 1) hash = Math.imul(hash ^ key[whole]!, multiplier);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, multiplier);
  return hash ^ (hash >>> 15);
}

/** The partition of a key, as the Java producer's default partitioner chooses it. */
export function partitionOf(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}
