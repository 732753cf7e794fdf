import { createHash } from "node:crypto";
import type { Clock } from "../topology/processor.js";
import { pushVarint, readVarint } from "./varint.js";

/**
 * What a commit writes beside each source offset (protocol 10, 13, 17, 19): a commit number, who made it, and the clocks
 * of the task's operators. It outlives the state directory, so lateness and final results do not depend on it.
 */
export interface CommitMetadata {
  readonly commitNumber: number;
  /** The transactional id of whoever committed: a new owner can settle what it left open. */
  readonly owner: string;
  readonly clocks: Readonly<Record<string, Clock>>;
  /** The task's stores, as `encodeStores` tells them, empty where it has none; undefined where an older release committed. */
  readonly stores?: Buffer | undefined;
}

const VERSION = 2;
/** Without the stores. */
const VERSION_1 = 1;
/** Offsets that a tool committed may have any text beside them; only these first bytes can be a later release's. */
const VERSION_MAX = 15;
/** A broker refuses more than 4,096 bytes (seen on Kafka 4.1); the rest is room for longer times and ids. */
export const METADATA_BYTES_MAX = 3_500;
/** Worst case of one operator: 4 bytes of name hash and two times of up to 8 bytes each. */
const CLOCK_BYTES_MAX = 20;
const FIXED_BYTES_MAX = 128;

/** How long the metadata of a task with that many clocks may become, as base64; `storesBytes` is the length of its stores' part. */
export function metadataBytesMax(clocks: number, storesBytes = 0): number {
  return Math.ceil(((FIXED_BYTES_MAX + clocks * CLOCK_BYTES_MAX + storesBytes) * 4) / 3);
}

export function encodeCommitMetadata(metadata: CommitMetadata): string {
  const bytes: number[] = [VERSION];
  pushVarint(bytes, metadata.commitNumber);
  const owner = Buffer.from(metadata.owner, "utf8");
  pushVarint(bytes, owner.length);
  bytes.push(...owner);
  const stores = metadata.stores ?? Buffer.alloc(0);
  pushVarint(bytes, stores.length);
  bytes.push(...stores);
  for (const [node, clock] of Object.entries(metadata.clocks)) {
    bytes.push(...nameHash(node));
    pushVarint(bytes, clock.streamTimeMs + 1);
    pushVarint(bytes, clock.emittedUpToMs + 1);
  }
  return Buffer.from(bytes).toString("base64");
}

/**
 * Undefined when the text is not ours: nothing committed, or offsets set by a tool. Names are hashed in the text, so the
 * caller says which nodes it has; clocks of others are left out.
 */
export function decodeCommitMetadata(text: string, nodes: readonly string[]): CommitMetadata | undefined {
  const bytes = Buffer.from(text, "base64");
  const version = bytes[0];
  if (version !== VERSION && version !== VERSION_1) return undefined;
  const reader = { bytes, at: 1 };
  const commitNumber = readVarint(reader);
  const ownerLength = readVarint(reader);
  if (commitNumber === undefined || ownerLength === undefined || reader.at + ownerLength > bytes.length)
    return undefined;
  const owner = bytes.toString("utf8", reader.at, reader.at + ownerLength);
  reader.at += ownerLength;
  const storesLength = version === VERSION_1 ? 0 : readVarint(reader);
  if (storesLength === undefined || reader.at + storesLength > bytes.length) return undefined;
  const stores = version === VERSION_1 ? undefined : bytes.subarray(reader.at, reader.at + storesLength);
  reader.at += storesLength;
  const byHash = new Map(nodes.map((node) => [nameHash(node).toString("hex"), node]));
  const clocks: Record<string, Clock> = {};
  while (reader.at + 4 <= bytes.length) {
    const node = byHash.get(bytes.toString("hex", reader.at, reader.at + 4));
    reader.at += 4;
    const streamTime = readVarint(reader);
    const emittedUpTo = readVarint(reader);
    if (streamTime === undefined || emittedUpTo === undefined) return undefined;
    if (node !== undefined) clocks[node] = { streamTimeMs: streamTime - 1, emittedUpToMs: emittedUpTo - 1 };
  }
  return { commitNumber, owner, clocks, stores };
}

/** The format of what a later release committed; undefined for ours, and for what is of no release. */
export function newerMetadataVersion(text: string): number | undefined {
  const version = Buffer.from(text, "base64")[0];
  return version !== undefined && version > VERSION && version <= VERSION_MAX ? version : undefined;
}

function nameHash(name: string): Buffer {
  return createHash("sha256").update(name).digest().subarray(0, 4);
}
