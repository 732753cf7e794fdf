import avsc from "avsc";
import type { LongType } from "./avro-schema.js";

/** Where avsc reads and writes. */
export interface Tap {
  readonly buf: Buffer;
  pos: number;
}

/**
 * `long` of our own: avsc computes it in doubles, where a number below -2^52 loses its last bit, and with it the sign
 * (seen: it writes -5,000,000,000,000,000 as +5,000,000,000,000,000).
 *
 * Zigzag, seven bits a byte, lowest first: the lowest bit is the sign, the rest the magnitude.
 */
export function readLong(tap: Tap): number {
  const { buf } = tap;
  let byte = buf[tap.pos++] ?? 0;
  const isNegative = (byte & 1) !== 0;
  let magnitude = (byte & 0x7e) / 2;
  for (let factor = 64; byte & 0x80; factor *= 128) {
    byte = buf[tap.pos++] ?? 0;
    magnitude += (byte & 0x7f) * factor;
  }
  // Sums of parts that are each exact: whatever comes out above 2^53 is refused, whether it was rounded or not.
  if (magnitude >= Number.MAX_SAFE_INTEGER + (isNegative ? 0 : 1))
    throw new RangeError("a long is outside the safe range of numbers, ±(2^53 - 1): read it as bigint");
  return isNegative ? -magnitude - 1 : magnitude;
}

export function writeLong(tap: Tap, value: number): void {
  const { buf } = tap;
  let rest = value < 0 ? -(value + 1) : value;
  let bits = ((rest % 64) << 1) | (value < 0 ? 1 : 0);
  for (rest = Math.floor(rest / 64); rest > 0; rest = Math.floor(rest / 128)) {
    buf[tap.pos++] = bits | 0x80;
    bits = rest % 128;
  }
  buf[tap.pos++] = bits;
}

function readBigLong(tap: Tap): bigint {
  const start = tap.pos;
  while ((tap.buf[tap.pos++] ?? 0) & 0x80);
  let value = 0n;
  for (let at = tap.pos - 1; at >= start; at--) value = (value << 7n) | BigInt((tap.buf[at] ?? 0) & 0x7f);
  return (value >> 1n) ^ -(value & 1n);
}

function writeBigLong(tap: Tap, value: bigint): void {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  for (; rest > 0x7fn; rest >>= 7n) tap.buf[tap.pos++] = Number(rest & 0x7fn) | 0x80;
  tap.buf[tap.pos++] = Number(rest);
}

type Hook = (value: unknown, type: avsc.Type) => void;

/** What a type of avsc's does inside; its public declarations leave it out. */
interface Resolver {
  _read: (tap: Tap) => unknown;
}

interface Methods<T> {
  readonly isLong: (value: unknown) => value is T;
  readonly read: (tap: Tap) => T;
  readonly write: (tap: Tap, value: T) => void;
  readonly fromInt: (value: number) => T;
}

/** avsc's long with reading and writing replaced: everything else, resolution by name above all, is as it was. */
function longType<T>({ isLong, read, write, fromInt }: Methods<T>): avsc.Type {
  const type: avsc.Type = Object.create(avsc.Type.forSchema("long"), {
    _read: { value: read },
    _write: {
      value: (tap: Tap, value: unknown) => {
        if (!isLong(value)) throw new TypeError(`${String(value)} is no long`);
        write(tap, value);
      },
    },
    _check: {
      value: (value: unknown, _flags: unknown, hook?: Hook) => {
        const isRight = isLong(value);
        if (!isRight && hook !== undefined) hook(value, type);
        return isRight;
      },
    },
    // Only a default comes here, and that is JSON's.
    _copy: { value: (value: unknown) => (typeof value === "number" ? fromInt(value) : value) },
    _update: {
      value: (resolver: Resolver, writer: avsc.Type & Resolver) => {
        if (writer.typeName === "int") resolver._read = (tap) => fromInt(writer._read(tap) as number);
        else if (writer.typeName === "long") resolver._read = read;
      },
    },
  });
  return type;
}

const LONG_MIN = -(2n ** 63n);
const LONG_MAX = 2n ** 63n - 1n;

export const LONGS: Readonly<Record<LongType, avsc.Type>> = {
  number: longType<number>({
    isLong: (value): value is number => Number.isSafeInteger(value),
    read: readLong,
    write: writeLong,
    fromInt: (value) => value,
  }),
  bigint: longType<bigint>({
    isLong: (value): value is bigint => typeof value === "bigint" && value >= LONG_MIN && value <= LONG_MAX,
    read: readBigLong,
    write: writeBigLong,
    fromInt: BigInt,
  }),
};
