import { bytesOrText, type Serde, writeShortAscii } from "./serde.js";

/** Half open: `[startMs, endMs)`, milliseconds since the epoch. */
export interface Window {
  readonly startMs: number;
  readonly endMs: number;
}

/** A key within one window: the key of a windowed aggregate. */
export interface Windowed<K> {
  readonly key: K;
  readonly window: Window;
}

const START_BYTES = 8;

/** Key bytes, then the window's start as int64 BE: Kafka Streams' TimeWindowedSerializer. */
export function windowedKeyBytes(key: Uint8Array, startMs: number): Buffer {
  const out = Buffer.allocUnsafe(key.length + START_BYTES);
  out.set(key, 0);
  writeStartMs(out, startMs, key.length);
  return out;
}

/** As `windowedKeyBytes` of the text's UTF-8, mostly without a Buffer of its own for that. */
function windowedTextBytes(text: string, startMs: number): Buffer {
  const out = Buffer.allocUnsafe(text.length + START_BYTES);
  if (!writeShortAscii(out, text, 0)) return windowedKeyBytes(Buffer.from(text, "utf8"), startMs);
  writeStartMs(out, startMs, text.length);
  return out;
}

/** Writes a time as int64 BE without a BigInt, which costs an allocation per record. */
export function writeStartMs(out: Buffer, startMs: number, at: number): number {
  out.writeInt32BE(Math.floor(startMs / 0x1_0000_0000), at);
  return out.writeUInt32BE(startMs >>> 0, at + 4);
}

export function readStartMs(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
}

/**
 * The serde of a windowed key. All windows of a key lie in the key's own partition (Kafka Streams' WindowedStreamPartitioner). The window's size is not in the bytes, as in Kafka Streams (`window.size.ms`), so a reader says it.
 *
 * @throws RangeError when the bytes are shorter than a window start
 */
export function windowed<K>(key: Serde<K>, window: { readonly sizeMs: number }): Serde<Windowed<K>> {
  const writeKey = bytesOrText(key.serialize);
  return {
    name: `windowed(${key.name}, ${window.sizeMs})`,
    prepare: key.prepare,
    serialize: ({ key, window: { startMs } }) => {
      const part = writeKey(key);
      return typeof part === "string" ? windowedTextBytes(part, startMs) : windowedKeyBytes(part, startMs);
    },
    partitionBytes: (bytes) => bytes.subarray(0, bytes.length - START_BYTES),
    deserialize: (value) => {
      const view = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      const at = view.byteLength - START_BYTES;
      if (at < 0) throw new RangeError(`a windowed key has at least ${START_BYTES} bytes, not ${view.byteLength}`);
      const startMs = readStartMs(view, at);
      return { key: key.deserialize(view.subarray(0, at)), window: { startMs, endMs: startMs + window.sizeMs } };
    },
  };
}
