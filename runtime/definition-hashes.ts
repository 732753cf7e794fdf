import { createHash } from "node:crypto";
import type { SubTopology } from "../topology/processor-topology.js";
import type { StoreSpec } from "../topology/state-store.js";
import { definitionOf, type StoreDefinition } from "../topology/store-definition.js";
import { pushVarint, readVarint, type VarintReader } from "./varint.js";

/** The stores of a task as its commits tell of them. */
export interface CommittedStores {
  /** Of the task's sub-topology; 0 where it has no stores. */
  readonly partitions: number;
  /** A name that nobody here knows is told by its hash. */
  readonly stores: ReadonlyMap<string, StoreDefinition>;
}

/** Words by their hash. */
type Words = ReadonlyMap<string, string>;

const KINDS: readonly StoreSpec["kind"][] = ["key-value", "window"];
const REPLICATED = 2;
const HAS_FIELDS = 4;
const HASH_BYTES = 4;

/**
 * What stands in the metadata of each commit about the stores of its task, so that an instance without their files sees
 * as well that they have changed: about 20 bytes for a store and 8 for each field of an aggregate, since names are hashed.
 */
export function encodeStores({ stores }: SubTopology, partitions: number): Buffer {
  if (stores.length === 0) return Buffer.alloc(0);
  const bytes: number[] = [];
  pushVarint(bytes, partitions);
  for (const spec of stores) {
    const { kind, key, value, changelog, sizeMs, retentionMs, fields } = definitionOf(spec);
    bytes.push(...hashOf(spec.name));
    bytes.push(KINDS.indexOf(kind) | (changelog ? REPLICATED : 0) | (fields === null ? 0 : HAS_FIELDS));
    bytes.push(...hashOf(key), ...hashOf(value));
    if (kind === "window") {
      pushVarint(bytes, sizeMs ?? 0);
      pushVarint(bytes, retentionMs ?? 0);
    }
    if (fields === null || fields === undefined) continue;
    pushVarint(bytes, Object.keys(fields).length);
    for (const [field, aggregator] of Object.entries(fields)) bytes.push(...hashOf(field), ...hashOf(aggregator));
  }
  return Buffer.from(bytes);
}

/** Undefined where the bytes are torn. `words` are the names that may stand in them: see `wordsOf`. */
export function decodeStores(bytes: Buffer, words: Words): CommittedStores | undefined {
  if (bytes.length === 0) return { partitions: 0, stores: new Map() };
  const reader: VarintReader = { bytes, at: 0 };
  const partitions = readVarint(reader);
  const stores = new Map<string, StoreDefinition>();
  while (reader.at < bytes.length) {
    const name = readWord(reader, words);
    const definition = readDefinition(reader, words);
    if (name === undefined || definition === undefined) return undefined;
    stores.set(name, definition);
  }
  return partitions === undefined ? undefined : { partitions, stores };
}

function readDefinition(reader: VarintReader, words: Words): StoreDefinition | undefined {
  const flags = reader.bytes[reader.at++] ?? 0;
  const kind = KINDS[flags & 1] as StoreSpec["kind"];
  const key = readWord(reader, words);
  const value = readWord(reader, words);
  const sizeMs = kind === "window" ? readVarint(reader) : undefined;
  const retentionMs = kind === "window" ? readVarint(reader) : undefined;
  const fields = (flags & HAS_FIELDS) === 0 ? null : readFields(reader, words);
  if (key === undefined || value === undefined || fields === undefined) return undefined;
  const common = { kind, key, value, changelog: (flags & REPLICATED) !== 0, fields };
  if (kind === "key-value") return common;
  return sizeMs === undefined || retentionMs === undefined ? undefined : { ...common, sizeMs, retentionMs };
}

function readFields(reader: VarintReader, words: Words): Readonly<Record<string, string>> | undefined {
  const count = readVarint(reader);
  if (count === undefined) return undefined;
  const fields: [string, string][] = [];
  for (let at = 0; at < count; at++) {
    const field = readWord(reader, words);
    const aggregator = readWord(reader, words);
    if (field === undefined || aggregator === undefined) return undefined;
    fields.push([field, aggregator]);
  }
  return Object.fromEntries(fields);
}

/** A word that is not known is told by its hash, so that two of them stay two. */
function readWord(reader: VarintReader, words: Words): string | undefined {
  if (reader.at + HASH_BYTES > reader.bytes.length) return undefined;
  const hash = reader.bytes.toString("hex", reader.at, reader.at + HASH_BYTES);
  reader.at += HASH_BYTES;
  return words.get(hash) ?? `#${hash}`;
}

const AGGREGATORS = ["count", "countIf", "sum", "mean", "min", "max", "first", "last", "custom"];
const SERDES = ["string", "int64", "float64", "bytes", "json"];
const COMMON_WORDS = [...AGGREGATORS, ...SERDES].map(withHash);

/** By hash: the names of these stores, and those that every application has. */
export function wordsOf(stores: Iterable<readonly [name: string, definition: StoreDefinition]>): Words {
  const own = [...stores].flatMap(([name, { key, value, fields }]) => [
    name,
    key,
    value,
    ...Object.entries(fields ?? {}).flat(),
  ]);
  return new Map([...COMMON_WORDS, ...own.map(withHash)]);
}

function withHash(word: string): readonly [hash: string, word: string] {
  return [hashOf(word).toString("hex"), word];
}

function hashOf(word: string): Buffer {
  return createHash("sha256").update(word).digest().subarray(0, HASH_BYTES);
}
