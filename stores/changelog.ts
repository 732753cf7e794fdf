import { readStartMs, writeStartMs } from "../serdes/windowed.js";
import type { StoreSpec } from "../topology/state-store.js";

// The keys of changelog records are Kafka Streams' bytes (protocol 22): a key-value store's is the row's key alone, a
// window store's the key, the window's start as int64 BE and a sequence number as int32 BE, which is always 0 because
// a row is never kept twice.

const START_BYTES = 8;
const SEQUENCE_BYTES = 4;

/** How many bytes of a changelog key follow the row's key. */
export function suffixBytes(kind: StoreSpec["kind"]): number {
  return kind === "window" ? START_BYTES + SEQUENCE_BYTES : 0;
}

export function windowChangelogKey(key: Uint8Array, startMs: number): Buffer {
  const out = Buffer.allocUnsafe(key.byteLength + START_BYTES + SEQUENCE_BYTES);
  out.set(key, 0);
  const at = writeStartMs(out, startMs, key.byteLength);
  out.writeInt32BE(0, at);
  return out;
}

/** The window start in a window store's changelog key, which must have at least `suffixBytes("window")` bytes. */
export function changelogStartMs(changelogKey: Buffer): number {
  return readStartMs(changelogKey, changelogKey.byteLength - START_BYTES - SEQUENCE_BYTES);
}
