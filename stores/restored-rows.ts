import { changelogStartMs, suffixBytes } from "./changelog.js";
import { UnusableStateError } from "./errors.js";
import type { SqliteKeyValueStore } from "./sqlite-key-value-store.js";
import type { SqliteWindowStore } from "./sqlite-window-store.js";
import type { ChangelogRecord } from "./task-state.js";

// Every record is written, also where a later one of the same slice replaces it: a set of all keys, to find those out, cost as much as it saved (452,056 records of
// purchases: 4.68 s from process start with it, 4.56 without). Sorting them first gained in the writes what it took itself.

/** Inside a transaction. */
export function restoreKeyValueRows(stored: SqliteKeyValueStore, records: readonly ChangelogRecord[]): void {
  for (const { key, value, timestampMs } of records) {
    if (key !== null) stored.write(viewOf(key), 0, value, timestampMs);
  }
}

/**
 * Inside a transaction.
 *
 * @throws UnusableStateError CHANGELOG_UNREADABLE for a key that no window store writes
 */
export function restoreWindowRows(
  stored: SqliteWindowStore,
  storeName: string,
  records: readonly ChangelogRecord[],
): void {
  for (const { key, value, timestampMs, offset } of records) {
    if (key === null) continue;
    const bytes = viewOf(key);
    const keyBytes = bytes.byteLength - suffixBytes("window");
    if (keyBytes < 0) throw unreadable(storeName, bytes, offset);
    stored.write(bytes.subarray(0, keyBytes), changelogStartMs(bytes), value, timestampMs, offset);
    // At once, not at the end: else a long changelog would fill tables only to drop them.
    stored.expireByNewest();
  }
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unreadable(storeName: string, key: Buffer, offset: number): UnusableStateError {
  const message =
    `the changelog of window store "${storeName}" has a key of ${key.byteLength} bytes at offset ${offset}, which no window ` +
    "store writes: does something else write to that topic, or was the store of another kind before?";
  return new UnusableStateError("CHANGELOG_UNREADABLE", message);
}
