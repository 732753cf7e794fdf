// Of commit metadata: whole numbers from 0, seven bits a byte, the lowest first.

export interface VarintReader {
  readonly bytes: Buffer;
  at: number;
}

export function pushVarint(bytes: number[], value: number): void {
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
}

/** Undefined where the bytes end within the number, or it is too large to be one of ours. */
export function readVarint(reader: VarintReader): number | undefined {
  let value = 0;
  for (let factor = 1; reader.at < reader.bytes.length && factor < 2 ** 53; factor *= 128) {
    const byte = reader.bytes[reader.at++] as number;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return value;
  }
  return undefined;
}
