import { readStartMs, writeStartMs } from "../serdes/windowed.js";
import type { StoreSpec } from "../topology/state-store.js";

// The keys of changelog records are Kafka Streams' bytes (protocol 22): a key-value store's is the row's key alone, a
// window store's the key, the window's start as int64 BE and a sequence number as int32 BE, which is always 0 because
// a row is never kept twice.

const START_BYTES = 8;
const SEQUENCE_BYTES = 4;

const windowSuffixBytes = START_BYTES + SEQUENCE_BYTES;

/** How many bytes of a changelog key follow the row's key. */
export function suffixBytes(kind: StoreSpec["kind"]): number {
  return kind === "window" ? windowSuffixBytes : 0;
}

export function windowChangelogKey(key: Uint8Array, startMs: number): Buffer {
  const out = Buffer.allocUnsafe(key.byteLength + windowSuffixBytes);
  out.set(key, 0);
  writeWindowSuffix(out, startMs, key.byteLength);
  return out;
}

/** Writes what follows the row's key, and returns where that ends. */
export function writeWindowSuffix(out: Buffer, startMs: number, at: number): number {
  return out.writeInt32BE(0, writeStartMs(out, startMs, at));
}

/** The window start in a window store's changelog key, which must have at least `suffixBytes("window")` bytes. */
export function changelogStartMs(changelogKey: Buffer): number {
  return readStartMs(changelogKey, changelogKey.byteLength - windowSuffixBytes);
}
