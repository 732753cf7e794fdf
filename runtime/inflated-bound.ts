/**
 * How large compressed bytes can get at most, read from their frames without unpacking anything. A codec's library
 * allocates what the bytes ask for; whoever wrote a few hundred of them must not be able to ask for gigabytes.
 *
 * Infinity where the frames are not whole: the library would refuse them as well, and says so later or not at all.
 */
export function inflatedBound(codec: "snappy" | "lz4" | "zstd", bytes: Buffer): number {
  switch (codec) {
    case "snappy":
      return snappyBound(bytes);
    case "lz4":
      return lz4Bound(bytes);
    case "zstd":
      return zstdBound(bytes);
  }
}

const NOT_WHOLE = Number.POSITIVE_INFINITY;

const XERIAL_MAGIC = 0x82534e41;
const XERIAL_PARTS_AT = 16;

/** Each part begins with its length as a varint. */
function snappyBound(bytes: Buffer): number {
  if (bytes.length < XERIAL_PARTS_AT || bytes.readUInt32BE(0) !== XERIAL_MAGIC) return snappyLength(bytes, 0);
  let bound = 0;
  let at = XERIAL_PARTS_AT;
  while (at < bytes.length) {
    if (at + 4 > bytes.length) return NOT_WHOLE;
    bound += snappyLength(bytes, at + 4);
    at += 4 + bytes.readUInt32BE(at);
  }
  return at === bytes.length ? bound : NOT_WHOLE;
}

function snappyLength(bytes: Buffer, start: number): number {
  let length = 0;
  for (let at = start, factor = 1; at < start + 5; at++, factor *= 128) {
    const byte = bytes[at];
    if (byte === undefined) return NOT_WHOLE;
    length += (byte & 0x7f) * factor;
    if (byte < 0x80) return length;
  }
  return NOT_WHOLE;
}

const LZ4_MAGIC = 0x184d2204;
const LZ4_FLAG = { blockChecksum: 0x10, contentSize: 0x08, contentChecksum: 0x04, dictionary: 0x01 } as const;
const LZ4_STORED = 0x80000000;

/** magic u32 | flags u8 | block size u8 | [content size u64] | [dictionary u32] | checksum u8 | blocks | 0 u32 | [checksum u32] */
function lz4Bound(bytes: Buffer): number {
  let bound = 0;
  let at = 0;
  while (at < bytes.length) {
    if (at + 7 > bytes.length || bytes.readUInt32LE(at) !== LZ4_MAGIC) return NOT_WHOLE;
    const flags = bytes[at + 4] as number;
    // 4: 64 KiB, 5: 256 KiB, 6: 1 MiB, 7: 4 MiB.
    const blockBytes = 1 << (8 + 2 * (((bytes[at + 5] as number) >> 4) & 0x07));
    at += 7 + (flags & LZ4_FLAG.contentSize ? 8 : 0) + (flags & LZ4_FLAG.dictionary ? 4 : 0);
    for (;;) {
      if (at + 4 > bytes.length) return NOT_WHOLE;
      const head = bytes.readUInt32LE(at);
      at += 4;
      if (head === 0) break;
      const size = head & ~LZ4_STORED;
      // A byte of a block stands for at most 255 of what it unpacks to.
      bound += head & LZ4_STORED ? size : Math.min(blockBytes, size * 255);
      at += size + (flags & LZ4_FLAG.blockChecksum ? 4 : 0);
    }
    if (flags & LZ4_FLAG.contentChecksum) at += 4;
  }
  return at === bytes.length ? bound : NOT_WHOLE;
}

const ZSTD_MAGIC = 0xfd2fb528;
const ZSTD_SKIPPABLE = 0x184d2a5;
const ZSTD_BLOCK_BYTES_MAX = 128 * 1024;
const ZSTD_BLOCK = { raw: 0, sameByte: 1, compressed: 2 } as const;
const ZSTD_DICTIONARY_BYTES = [0, 1, 2, 4] as const;

/** magic u32 | descriptor u8 | [window u8] | [dictionary] | [content size] | blocks, the last one marked | [checksum u32] */
function zstdBound(bytes: Buffer): number {
  let bound = 0;
  let at = 0;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) return NOT_WHOLE;
    const magic = bytes.readUInt32LE(at);
    if (magic >>> 4 === ZSTD_SKIPPABLE) {
      at += 8 + bytes.readUInt32LE(at + 4);
      continue;
    }
    if (magic !== ZSTD_MAGIC) return NOT_WHOLE;
    const descriptor = bytes[at + 4] as number;
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const contentSize = descriptor >> 6;
    at += 5 + (isSingleSegment ? 0 : 1) + (ZSTD_DICTIONARY_BYTES[descriptor & 0x03] as number);
    at += contentSize === 0 ? (isSingleSegment ? 1 : 0) : 1 << contentSize;
    for (let isLast = false; !isLast; ) {
      if (at + 3 > bytes.length) return NOT_WHOLE;
      const head = bytes.readUIntLE(at, 3);
      const size = head >>> 3;
      const type = (head >>> 1) & 0x03;
      isLast = (head & 1) !== 0;
      bound += type === ZSTD_BLOCK.compressed ? ZSTD_BLOCK_BYTES_MAX : size;
      at += 3 + (type === ZSTD_BLOCK.sameByte ? 1 : size);
    }
    if (descriptor & 0x04) at += 4;
  }
  return at === bytes.length ? bound : NOT_WHOLE;
}
