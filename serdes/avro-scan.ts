import avsc from "avsc";

/** Walks bytes under a schema without making anything of them. */
export type AvroScan = (bytes: Uint8Array, start: number) => void;

/** What the values of one message may take in memory: for inputs of up to a megabyte, and per byte of larger ones. */
const MEMORY_BYTES_MAX = 12 * 1024 * 1024;
const MEMORY_PER_INPUT_BYTE = 12;
const DEPTH_MAX = 500;
const INT_LIMIT = 2 ** 31;
const VARINT_BYTES_MAX = 10;

// What a value takes on a 64-bit heap at most, its place in what holds it included; measured with some air.
const COST = {
  scalar: 16,
  text: 48,
  bytes: 224,
  record: 32,
  field: 8,
  container: 64,
  item: 16,
  entry: 144,
  date: 128,
} as const;

/**
 * Checks bytes before they are decoded: that every length and count, branch and symbol is what the schema allows, that
 * they end where the value ends, and that what they make is not out of all proportion to them. avsc believes a count: an
 * array of 2^40 nulls is seven bytes long.
 *
 * `readerBytes` is what a reader's own defaults add to each record.
 */
export function avroScan(writer: avsc.Type, readerBytes = 0): AvroScan {
  const state = new ScanState(readerBytes);
  const walk = state.walkOf(writer);
  return (bytes, start) => {
    state.begin(bytes, start);
    walk();
    state.expectEnd();
  };
}

type Walk = () => void;

class ScanState {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #memoryLeft = 0;
  #depth = 0;
  readonly #walks = new Map<avsc.Type, Walk>();
  readonly #readerBytes: number;

  constructor(readerBytes: number) {
    this.#readerBytes = readerBytes;
  }

  begin(bytes: Uint8Array, start: number): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#depth = 0;
    this.#memoryLeft = Math.max(MEMORY_BYTES_MAX, bytes.length * MEMORY_PER_INPUT_BYTE);
  }

  expectEnd(): void {
    const left = this.#bytes.length - this.#at;
    this.#bytes = NOTHING;
    if (left > 0) throw new RangeError(`${left} bytes are left behind the value: it was written with another schema`);
  }

  walkOf(type: avsc.Type): Walk {
    const known = this.#walks.get(type);
    if (known !== undefined) return known;
    // A recursive type comes back to itself before its walk is made.
    this.#walks.set(type, () => (this.#walks.get(type) as Walk)());
    const walk = this.#make(type);
    this.#walks.set(type, walk);
    return walk;
  }

  #make(type: avsc.Type): Walk {
    if (type instanceof avsc.types.LogicalType) return this.#logical(type);
    if (type instanceof avsc.types.UnwrappedUnionType || type instanceof avsc.types.WrappedUnionType)
      return this.#union(type.types);
    switch (type.typeName) {
      case "null":
        return () => undefined;
      case "boolean":
        return () => this.#boolean();
      case "int":
        return () => this.#int();
      case "long":
        return () => this.#long();
      case "float":
        return () => this.#take(4, COST.scalar);
      case "double":
        return () => this.#take(8, COST.scalar);
      case "bytes":
        return () => this.#sized(COST.bytes, 1);
      case "string":
        return () => this.#sized(COST.text, 2);
      case "fixed":
        return this.#fixed((type as avsc.types.FixedType).size);
      case "enum":
        return this.#enum((type as avsc.types.EnumType).symbols.length);
      case "array":
        return this.#blocks(this.walkOf((type as avsc.types.ArrayType).itemsType), COST.item);
      case "map":
        return this.#map(this.walkOf((type as avsc.types.MapType).valuesType));
      case "record":
      case "error":
        return this.#record((type as avsc.types.RecordType).fields);
      default:
        throw new TypeError(`an Avro type that is not known: ${type.typeName}`);
    }
  }

  #record(fields: readonly avsc.types.Field[]): Walk {
    const walks = fields.map((field) => this.walkOf(field.type));
    const cost = COST.record + COST.field * fields.length + this.#readerBytes;
    return () => {
      this.#charge(cost);
      this.#enter();
      for (let at = 0; at < walks.length; at++) (walks[at] as Walk)();
      this.#depth--;
    };
  }

  #logical(type: avsc.types.LogicalType): Walk {
    const walk = this.walkOf(type.underlyingType);
    return () => {
      this.#charge(COST.date);
      walk();
    };
  }

  #union(types: readonly avsc.Type[]): Walk {
    const walks = types.map((type) => this.walkOf(type));
    return () => {
      const branch = this.#number();
      const walk = walks[branch];
      if (walk === undefined) throw new RangeError(`a union has no branch ${branch}`);
      this.#charge(COST.scalar);
      walk();
    };
  }

  #enum(symbols: number): Walk {
    return () => {
      const symbol = this.#number();
      if (symbol < 0 || symbol >= symbols) throw new RangeError(`an enum has no symbol ${symbol}`);
    };
  }

  #fixed(size: number): Walk {
    return () => this.#take(size, COST.bytes + size);
  }

  #map(value: Walk): Walk {
    return this.#blocks(() => {
      const length = this.#length();
      if (length === PROTO.length && PROTO.equals(this.#bytes.subarray(this.#at, this.#at + length)))
        throw new TypeError('a map has the key "__proto__", which no plain object holds');
      this.#take(length, COST.entry + 2 * length);
      value();
    }, 0);
  }

  /** Blocks of a count and as many items, up to a count of 0; a negative count has the block's size behind it. */
  #blocks(item: Walk, itemCost: number): Walk {
    return () => {
      this.#charge(COST.container);
      this.#enter();
      for (;;) {
        const count = this.#number();
        if (count === 0) break;
        const size = count < 0 ? this.#length() : -1;
        const start = this.#at;
        for (let left = Math.abs(count); left > 0; left--) {
          this.#charge(itemCost);
          item();
        }
        if (size >= 0 && this.#at !== start + size) throw new RangeError("a block is not as long as it says");
      }
      this.#depth--;
    };
  }

  #boolean(): void {
    const byte = this.#bytes[this.#at];
    this.#take(1, 0);
    if (byte !== 0 && byte !== 1) throw new RangeError(`a boolean is 0 or 1, not ${byte}`);
  }

  #int(): void {
    const value = this.#number();
    if (value < -INT_LIMIT || value >= INT_LIMIT) throw new RangeError("an int has more than 32 bits");
  }

  #long(): void {
    this.#number();
    this.#charge(COST.scalar);
  }

  #sized(cost: number, perByte: number): void {
    const length = this.#length();
    this.#take(length, cost + perByte * length);
  }

  #length(): number {
    const length = this.#number();
    if (length < 0 || length > this.#bytes.length - this.#at)
      throw new RangeError(`a length of ${length} reaches past the end`);
    return length;
  }

  #take(bytes: number, cost: number): void {
    this.#at += bytes;
    if (this.#at > this.#bytes.length) throw new RangeError("the bytes end before the value does");
    this.#charge(cost);
  }

  #charge(cost: number): void {
    this.#memoryLeft -= cost;
    if (this.#memoryLeft < 0)
      throw new RangeError(`its ${this.#bytes.length} bytes make values of more than ${MEMORY_BYTES_MAX >> 20} MiB`);
  }

  #enter(): void {
    if (++this.#depth > DEPTH_MAX) throw new RangeError(`its values are nested more than ${DEPTH_MAX} deep`);
  }

  /** A varint; what is exact is all that is used, and a long's own range is checked where it is read. */
  #number(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.#at++];
    if (byte === undefined) throw new RangeError("the bytes end before the value does");
    const sign = byte & 1;
    let magnitude = (byte & 0x7e) >> 1;
    let length = 1;
    for (let factor = 64; byte & 0x80; factor *= 128) {
      byte = bytes[this.#at++];
      if (byte === undefined) throw new RangeError("the bytes end before the value does");
      if (++length > VARINT_BYTES_MAX || (length === VARINT_BYTES_MAX && byte > 1))
        throw new RangeError("a number has more than 64 bits");
      magnitude += (byte & 0x7f) * factor;
    }
    return sign === 0 ? magnitude : -magnitude - 1;
  }
}

const NOTHING = new Uint8Array(0);
const PROTO = Buffer.from("__proto__");
