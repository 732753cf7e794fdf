import { createHash } from "node:crypto";
import type avsc from "avsc";
import { type AvroScan, avroScan } from "./avro-scan.js";
import type { InferAvro, LongType } from "./avro-schema.js";
import { avroMismatch, parseAvro } from "./avro-types.js";
import type { Serde } from "./serde.js";

export interface AvroOptions<L extends LongType> {
  /** `number` (default): a long outside ±(2^53 - 1) is an error. `bigint`: every long, as a bigint. */
  readonly long?: L;
}

/**
 * Avro's binary form of one schema, without a header: reader and writer have the same. For topics that others read, use
 * the schema registry's form; for a store this will do, and a changed schema is noticed when the store is opened.
 *
 * Reading throws RangeError or TypeError for bytes that are not of this schema, and never makes values of more than
 * 16 MiB out of an input of up to 1 MiB. Writing throws TypeError naming the field.
 *
 * @throws Error saying what is wrong with the schema
 */
export function avro<const S, L extends LongType = "number">(
  schema: S,
  options: AvroOptions<L> = {},
): Serde<InferAvro<S, L>> {
  const format = new AvroFormat(schema, options.long ?? "number");
  const reader = format.readerOf(schema);
  return {
    name: `avro(${format.fingerprint})`,
    serialize: (value) => format.write(value, NO_HEADER),
    deserialize: (bytes) => reader(bytes, 0) as InferAvro<S, L>,
  };
}

const NO_HEADER = new Uint8Array(0);

/** Reads the value that begins at `start` and ends with the bytes. */
export type AvroReader = (bytes: Uint8Array, start: number) => unknown;

const SCRATCH_BYTES = 4_096;
const SCRATCH_BYTES_MAX = 1024 * 1024;

/** One reader's schema: writes with it, and makes readers of what other schemas wrote. */
export class AvroFormat {
  readonly #type: avsc.Type;
  readonly #schema: unknown;
  #scratch = Buffer.allocUnsafe(SCRATCH_BYTES);

  constructor(schema: unknown, long: LongType) {
    this.#schema = schema;
    this.#type = parseAvro(schema, long);
  }

  /** The record's, enum's or fixed's full name; undefined for other types. */
  get name(): string | undefined {
    return this.#type.name;
  }

  /** Of the schema as it was given: a changed default or logical type is another one. */
  get fingerprint(): string {
    return createHash("sha256").update(JSON.stringify(this.#schema)).digest("hex").slice(0, 16);
  }

  write(value: unknown, header: Uint8Array): Buffer {
    const start = header.length;
    let end = this.#encode(value, start);
    if (end < 0) {
      this.#scratch = Buffer.allocUnsafe(Math.max(this.#scratch.length * 2, this.#scratch.length - end));
      end = this.#encode(value, start);
    }
    const bytes = Buffer.allocUnsafe(end);
    this.#scratch.copy(bytes, start, start, end);
    bytes.set(header, 0);
    // One large value must not be kept for ever.
    if (this.#scratch.length > SCRATCH_BYTES_MAX) this.#scratch = Buffer.allocUnsafe(SCRATCH_BYTES);
    return bytes;
  }

  /**
   * A reader of what `writer` wrote, resolved to this schema. `references` are schemas that it names.
   *
   * @throws TypeError naming the field that cannot be resolved
   */
  readerOf(writer: unknown, references: readonly unknown[] = []): AvroReader {
    const type = this.#type;
    if (JSON.stringify(writer) === JSON.stringify(this.#schema)) return decoder(avroScan(type), type);
    // The writer's longs are numbers in either case: a reader's bigint reads the bytes by itself.
    const writerType = parseAvro(writer, "number", references);
    const mismatch = avroMismatch(type, writerType);
    if (mismatch !== undefined) throw new TypeError(mismatch);
    return decoder(avroScan(writerType, defaultBytes(this.#schema)), type, type.createResolver(writerType));
  }

  #encode(value: unknown, start: number): number {
    try {
      return this.#type.encode(value, this.#scratch, start);
    } catch (error) {
      throw new TypeError(describe(this.#type, value) ?? (error instanceof Error ? error.message : String(error)), {
        cause: error,
      });
    }
  }
}

function decoder(scan: AvroScan, type: avsc.Type, resolver?: ReturnType<avsc.Type["createResolver"]>): AvroReader {
  return (bytes, start) => {
    scan(bytes, start);
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return type.decode(buffer, start, resolver).value;
  };
}

function describe(type: avsc.Type, value: unknown): string | undefined {
  let first: string | undefined;
  type.isValid(value, {
    errorHook: (path, found, expected) => {
      first ??= `${path.length === 0 ? "the value" : path.join(".")} is ${shown(found)}, not ${expected.typeName}`;
    },
  });
  return first;
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value);
  return typeof value === "object" && value !== null ? (value.constructor?.name ?? "an object") : String(value);
}

/** What the defaults of a schema take in memory, for each record that lacks them; far too much rather than too little. */
function defaultBytes(schema: unknown): number {
  if (typeof schema !== "object" || schema === null) return 0;
  const { default: fallback, ...rest } = schema as { readonly default?: unknown };
  const own = fallback === undefined || fallback === null ? 0 : 32 * JSON.stringify(fallback).length;
  return Object.values(rest).reduce((sum: number, part) => sum + defaultBytes(part), own);
}
