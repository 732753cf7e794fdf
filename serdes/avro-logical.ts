import avsc from "avsc";
import { readLong, type Tap, writeLong } from "./avro-long.js";

interface Resolver {
  _read: (tap: Tap) => unknown;
}

/** A logical type reads whatever its underlying type can be resolved from, and makes its value of that. */
abstract class Logical extends avsc.types.LogicalType {
  /** The value, or undefined when it is none of this type: avsc then says where it stands. */
  protected abstract override _toValue(value: unknown): unknown;
  protected abstract override _fromValue(value: unknown): unknown;

  protected _update(resolver: Resolver, writer: avsc.Type): void {
    const isLogical = writer instanceof avsc.types.LogicalType;
    if (isLogical) this.refuseUnlike(writer);
    const under = isLogical ? writer.underlyingType : writer;
    const inner = this.underlyingType.createResolver(under) as unknown as Resolver;
    resolver._read = (tap) => this._fromValue(inner._read(tap));
  }

  /** Throws when the underlying types fit but the values would mean something else. */
  protected refuseUnlike(writer: avsc.types.LogicalType): void {
    if (writer.typeName !== this.typeName) throw new TypeError(`cannot read ${writer.typeName} as ${this.typeName}`);
  }
}

function underlying(schema: unknown): unknown {
  return (schema as { readonly type?: unknown }).type;
}

const DAY_MS = 86_400_000;

function dateOf(timeMs: number): Date {
  const date = new Date(timeMs);
  if (Number.isNaN(date.getTime())) throw new RangeError(`${timeMs} ms are beyond what a Date holds`);
  return date;
}

class TimestampMillis extends Logical {
  constructor(schema: avsc.Schema, options: unknown) {
    super(schema, options);
    if (underlying(schema) !== "long") throw new TypeError("timestamp-millis is a long");
  }

  // Directly, not through the underlying type: that is avsc's own long here, and computes in doubles.
  _read(tap: Tap): Date {
    return dateOf(readLong(tap));
  }

  _write(tap: Tap, value: unknown): void {
    const timeMs = this._toValue(value);
    if (timeMs === undefined) throw new TypeError(`${String(value)} is no valid Date`);
    writeLong(tap, timeMs);
  }

  protected override _toValue(value: unknown): number | undefined {
    if (!(value instanceof Date)) return undefined;
    const timeMs = value.getTime();
    return Number.isNaN(timeMs) ? undefined : timeMs;
  }

  protected override _fromValue(value: unknown): Date {
    return dateOf(value as number);
  }

  protected override _update(resolver: Resolver, writer: avsc.Type): void {
    super._update(resolver, writer);
    const under = writer instanceof avsc.types.LogicalType ? writer.underlyingType : writer;
    if (under.typeName === "long") resolver._read = this._read;
  }
}

class AvroDate extends Logical {
  constructor(schema: avsc.Schema, options: unknown) {
    super(schema, options);
    if (underlying(schema) !== "int") throw new TypeError("date is an int");
  }

  /** A time of day would be lost, so it is refused. */
  protected override _toValue(value: unknown): number | undefined {
    if (!(value instanceof Date)) return undefined;
    const days = value.getTime() / DAY_MS;
    return Number.isInteger(days) ? days : undefined;
  }

  protected override _fromValue(value: unknown): Date {
    return dateOf((value as number) * DAY_MS);
  }
}

const UUID = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;

class Uuid extends Logical {
  constructor(schema: avsc.Schema, options: unknown) {
    super(schema, options);
    if (underlying(schema) !== "string") throw new TypeError("uuid is a string here");
  }

  protected override _toValue(value: unknown): string | undefined {
    return typeof value === "string" && UUID.test(value) ? value : undefined;
  }

  protected override _fromValue(value: unknown): string {
    if (typeof value !== "string" || !UUID.test(value)) throw new TypeError(`${JSON.stringify(value)} is no uuid`);
    return value;
  }
}

const DECIMAL = /^-?(0|[1-9]\d*)(\.\d+)?$/;

interface DecimalSchema {
  readonly type: unknown;
  readonly precision?: unknown;
  readonly scale?: unknown;
  readonly size?: number;
}

/** Two's complement, most significant byte first; as few bytes as it takes, or all of a fixed. */
class Decimal extends Logical {
  readonly precision: number;
  readonly scale: number;
  readonly #size: number | undefined;
  readonly #limit: bigint;

  constructor(schema: avsc.Schema, options: unknown) {
    super(schema, options);
    const { type, precision, scale = 0, size } = schema as unknown as DecimalSchema;
    if (type !== "bytes" && type !== "fixed") throw new TypeError("decimal is bytes or a fixed");
    const isRight = Number.isInteger(precision) && Number.isInteger(scale);
    this.precision = precision as number;
    this.scale = scale as number;
    if (!isRight || this.precision < 1 || this.scale < 0 || this.scale > this.precision)
      throw new TypeError(`decimal has a precision >= 1 and a scale from 0 to it, not ${precision} and ${scale}`);
    this.#size = type === "fixed" ? size : undefined;
    this.#limit = 10n ** BigInt(this.precision);
  }

  protected override _toValue(value: unknown): Buffer | undefined {
    if (typeof value !== "string" || !DECIMAL.test(value)) return undefined;
    const dot = value.indexOf(".");
    const whole = dot < 0 ? value : value.slice(0, dot);
    const digits = dot < 0 ? "" : value.slice(dot + 1);
    // More digits than the scale has would be rounded away: an error, unless they are zeros.
    if (digits.length > this.scale && /[1-9]/.test(digits.slice(this.scale))) return undefined;
    const text = whole + digits.slice(0, this.scale).padEnd(this.scale, "0");
    if (text.length <= SMALL_DIGITS && text.length <= this.precision && this.#size === undefined)
      return smallTwosComplement(Number(text));
    const unscaled = BigInt(text);
    if (unscaled >= this.#limit || unscaled <= -this.#limit) return undefined;
    return twosComplement(unscaled, this.#size);
  }

  protected override _fromValue(value: unknown): string {
    const bytes = value as Buffer;
    if (bytes.length > DECIMAL_BYTES_MAX) throw new RangeError(`a decimal has ${bytes.length} bytes`);
    if (bytes.length === 0) throw new RangeError("a decimal has no bytes");
    if (bytes.length <= SMALL_BYTES) return this.#textOfSmall(bytes.readIntBE(0, bytes.length));
    const unscaled = fromTwosComplement(bytes);
    if (unscaled >= this.#limit || unscaled <= -this.#limit)
      throw new RangeError(`a decimal has more than its ${this.precision} digits`);
    return this.#text((unscaled < 0 ? -unscaled : unscaled).toString(), unscaled < 0);
  }

  #textOfSmall(unscaled: number): string {
    const digits = String(Math.abs(unscaled));
    if (digits.length > this.precision) throw new RangeError(`a decimal has more than its ${this.precision} digits`);
    return this.#text(digits, unscaled < 0);
  }

  #text(unscaled: string, isNegative: boolean): string {
    const digits = unscaled.padStart(this.scale + 1, "0");
    const at = digits.length - this.scale;
    const text = this.scale === 0 ? digits : `${digits.slice(0, at)}.${digits.slice(at)}`;
    return isNegative ? `-${text}` : text;
  }

  protected override refuseUnlike(writer: avsc.types.LogicalType): void {
    super.refuseUnlike(writer);
    const { scale, precision } = writer as Decimal;
    if (scale !== this.scale || precision > this.precision)
      throw new TypeError(`cannot read decimal(${precision}, ${scale}) as decimal(${this.precision}, ${this.scale})`);
  }
}

/** A bigint is printed in quadratic time: a megabyte of it would hold the process for minutes. */
const DECIMAL_BYTES_MAX = 1_024;

/** Amounts of money and the like: without bigints, which cost ten times as much. */
const SMALL_DIGITS = 14;
const SMALL_BYTES = 6;

function smallTwosComplement(value: number): Buffer {
  let length = 1;
  for (let limit = 128; value >= limit || value < -limit; limit *= 256) length++;
  const bytes = Buffer.allocUnsafe(length);
  bytes.writeIntBE(value, 0, length);
  return bytes;
}

function twosComplement(value: bigint, size: number | undefined): Buffer | undefined {
  let length = 1;
  while (BigInt.asIntN(length * 8, value) !== value) length++;
  if (size !== undefined && length > size) return undefined;
  const bytes = Buffer.alloc(size ?? length, value < 0 ? 0xff : 0);
  const hex = BigInt.asUintN(length * 8, value)
    .toString(16)
    .padStart(length * 2, "0");
  bytes.write(hex, bytes.length - length, "hex");
  return bytes;
}

function fromTwosComplement(bytes: Buffer): bigint {
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString("hex")}`));
}

type LogicalConstructor = new (schema: avsc.Schema, options?: unknown) => avsc.types.LogicalType;

export const LOGICAL_TYPES = {
  date: AvroDate,
  decimal: Decimal,
  "timestamp-millis": TimestampMillis,
  uuid: Uuid,
} as unknown as Readonly<Record<string, LogicalConstructor>>;
