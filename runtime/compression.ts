import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { gunzip, gzip } from "node:zlib";
import { StreamsError } from "../topology/errors.js";
import { COMPRESSIONS, type Compression } from "./codecs.js";
import { inflatedBound } from "./inflated-bound.js";
import { ATTRIBUTE, BATCH, type RecordBatch } from "./record-batch.js";
import type { FetchedPartition } from "./transport.js";

/** The bytes of a batch are not what they must be: damaged on the way, or written in a format that is not read here. */
export class CorruptBatchError extends StreamsError {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super("CORRUPT_BATCH", message, options);
  }
}

/** The most that one compressed batch may grow to: a bomb must not take the process down. */
export const INFLATED_BYTES_MAX = 256 * 1024 * 1024;
/** What one fetch unpacks before it hands over: the rest of what came is fetched again. The first batch always goes. */
const INFLATED_ROUND_BYTES_MAX = 64 * 1024 * 1024;

/** Of gzip's output: with zlib's own 16 KiB most of the time goes into handing chunks over. */
const CHUNK_BYTES = 256 * 1024;

export interface Codec {
  deflate(bytes: Buffer): Promise<Buffer>;
  /** Throws for what does not unpack, or would unpack to more than `INFLATED_BYTES_MAX`. */
  inflate(bytes: Buffer): Promise<Buffer>;
}

type Packed = Exclude<Compression, "none">;

const opened = new Map<Packed, Promise<Codec>>();

/**
 * The codec, loaded when it is first needed: gzip is Node's own, the others are packages that an application installs
 * when it uses them.
 *
 * @throws StreamsError CODEC_MISSING naming the package to install
 */
export function codecOf(name: Packed): Promise<Codec> {
  const known = opened.get(name);
  if (known !== undefined) return known;
  const codec = OPEN[name]();
  opened.set(name, codec);
  // A package that was missing may be installed while a long-lived process stays up.
  codec.catch(() => opened.delete(name));
  return codec;
}

const OPEN: Readonly<Record<Packed, () => Promise<Codec>>> = {
  gzip: async () => ({
    deflate: promisify(gzip) as (bytes: Buffer) => Promise<Buffer>,
    inflate: (bytes) =>
      new Promise((resolve, reject) => {
        gunzip(bytes, { chunkSize: CHUNK_BYTES, maxOutputLength: INFLATED_BYTES_MAX }, (error, inflated) =>
          error === null ? resolve(inflated) : reject(error),
        );
      }),
  }),
  snappy: async () => {
    const { default: open } = await optional("snappy", "kafkajs-snappy@1.1.0", () => import("kafkajs-snappy"));
    const { compress, decompress } = open();
    return {
      deflate: (bytes) => compress({ buffer: bytes }),
      inflate: async (bytes) => {
        bounded("snappy", bytes);
        const parts: Buffer[] = [];
        for (const part of snappyParts(bytes)) parts.push(await decompress(part));
        return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
      },
    };
  },
  lz4: async () => {
    const { compressFrame, decompressFrame } = await optional("lz4", "lz4-napi@2.10.0", () => import("lz4-napi"));
    return { deflate: compressFrame, inflate: async (bytes) => decompressFrame(bounded("lz4", bytes)) };
  },
  zstd: async () => {
    const { zstdCompress, zstdDecompress } = zlib as typeof zlib & Partial<NodeZstd>;
    if (zstdCompress !== undefined && zstdDecompress !== undefined) {
      const unpack = promisify(zstdDecompress);
      return {
        deflate: promisify(zstdCompress),
        inflate: async (bytes) => unpack(bounded("zstd", bytes), { maxOutputLength: INFLATED_BYTES_MAX }),
      };
    }
    const { compress, decompress } = await optional("zstd", "@mongodb-js/zstd@1.2.2", () => import("@mongodb-js/zstd"));
    return { deflate: (bytes) => compress(bytes), inflate: async (bytes) => decompress(bounded("zstd", bytes)) };
  },
};

type Done = (error: Error | null, bytes: Buffer) => void;

/** Node's own since 22.15; the types are those of Node 20. */
interface NodeZstd {
  zstdCompress(bytes: Buffer, done: Done): void;
  zstdDecompress(bytes: Buffer, options: { readonly maxOutputLength: number }, done: Done): void;
}

async function optional<T>(codec: Packed, what: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new StreamsError(
      "CODEC_MISSING",
      `${codec} needs a package that cannot be loaded: npm install ${what}, or use another compression`,
      { cause },
    );
  }
}

/** Refuses what might unpack to more than the maximum, before anything is allocated for it. */
function bounded(codec: "snappy" | "lz4" | "zstd", bytes: Buffer): Buffer {
  const bound = inflatedBound(codec, bytes);
  if (bound === Number.POSITIVE_INFINITY) throw new RangeError("its frames are not whole");
  if (bound > INFLATED_BYTES_MAX)
    throw new RangeError(`it unpacks to as much as ${bound} bytes, more than ${INFLATED_BYTES_MAX}`);
  return bytes;
}

const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_PARTS_AT = 16;

/** The Java client cuts what it compresses into parts, each with its length before it; others write one bare part. */
export function snappyParts(bytes: Buffer): Buffer[] {
  if (!bytes.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return [bytes];
  const parts: Buffer[] = [];
  for (let at = XERIAL_PARTS_AT; at < bytes.length; ) {
    const end = at + 4 + (at + 4 > bytes.length ? 0 : bytes.readUInt32BE(at));
    if (end > bytes.length) throw new RangeError("a snappy part reaches past the end of its batch");
    parts.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return parts;
}

// ---- batches ----

/** Compresses the records of each batch; what does not get smaller stays as it is. */
export async function compressBatches(batches: readonly RecordBatch[], compression: Compression): Promise<void> {
  if (compression === "none") return;
  const codec = await codecOf(compression);
  const number = COMPRESSIONS.indexOf(compression);
  const pack = async (batch: RecordBatch): Promise<void> => {
    if (!batch.isPacked) batch.pack(number, await codec.deflate(batch.body));
  };
  await Promise.all(batches.map(pack));
}

/**
 * Unpacks the compressed batches of what was fetched, off the event loop, so that a cursor reads them without waiting.
 * What exceeds the bound of a round is left out, from the first batch of its partition on: it is fetched again.
 *
 * @throws CorruptBatchError, StreamsError UNSUPPORTED_CODEC or CODEC_MISSING, each naming topic and partition
 */
export async function inflateFetched(fetched: readonly FetchedPartition[]): Promise<readonly FetchedPartition[]> {
  if (!fetched.some(({ records }) => hasCompressed(records))) return fetched;
  const round = { leftBytes: INFLATED_ROUND_BYTES_MAX };
  const answer: FetchedPartition[] = [];
  for (const partition of fetched) {
    const inflated = hasCompressed(partition.records) ? await inflatePartition(partition, round) : partition;
    if (inflated.records.length > 0 || inflated.fault !== undefined) answer.push(inflated);
  }
  return answer;
}

function hasCompressed(records: Buffer): boolean {
  for (const { attributes } of batchesOf(records)) if (attributes & ATTRIBUTE.codecMask) return true;
  return false;
}

async function inflatePartition(partition: FetchedPartition, round: { leftBytes: number }): Promise<FetchedPartition> {
  const { records, offset } = partition;
  const inflated = new Map<number, Buffer>();
  for (const { start, end, attributes, lastOffset } of batchesOf(records)) {
    const codec = attributes & ATTRIBUTE.codecMask;
    if (codec === 0 || attributes & ATTRIBUTE.control || lastOffset < offset) continue;
    if (round.leftBytes <= 0) return { ...partition, records: records.subarray(0, start), inflated };
    const body = await inflate(partition, codec, records.subarray(start + BATCH.records, end));
    round.leftBytes -= body.length;
    inflated.set(start, body);
  }
  return { ...partition, inflated };
}

async function inflate(at: FetchedPartition, codec: number, bytes: Buffer): Promise<Buffer> {
  const name = COMPRESSIONS[codec];
  const where = `a record batch of ${at.topic}-${at.partition}`;
  if (name === undefined || name === "none")
    throw new StreamsError("UNSUPPORTED_CODEC", `${where} is compressed with codec ${codec}, which is not read here`);
  const { inflate: unpack } = await codecOf(name);
  try {
    return await unpack(bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CorruptBatchError(`${where} does not unpack as ${name}: ${why}`, { cause });
  }
}

interface BatchHead {
  readonly start: number;
  readonly end: number;
  readonly attributes: number;
  readonly lastOffset: number;
}

/** The whole batches of a set, by their headers alone. */
function* batchesOf(records: Buffer): Generator<BatchHead> {
  for (let start = 0; start + BATCH.records <= records.length; ) {
    const end = start + BATCH.overhead + records.readInt32BE(start + BATCH.length);
    if (end > records.length || end < start + BATCH.records) return;
    const baseOffset = Number(records.readBigInt64BE(start + BATCH.baseOffset));
    const lastOffset = baseOffset + records.readInt32BE(start + BATCH.lastOffsetDelta);
    yield { start, end, attributes: records.readInt16BE(start + BATCH.attributes), lastOffset };
    start = end;
  }
}

/** What an answer holds in memory. */
export function fetchedBytes({ records, inflated }: Pick<FetchedPartition, "records" | "inflated">): number {
  let bytes = records.length;
  if (inflated !== undefined) for (const body of inflated.values()) bytes += body.length;
  return bytes;
}
