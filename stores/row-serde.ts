import { type BytesOrText, bytesOrText, string } from "../serdes/serde.js";
import type { Row, StoreSpec } from "../topology/state-store.js";
import { UnusableStateError } from "./errors.js";
import type { EncodedRow } from "./sqlite-rows.js";

/** The keys and values of one store as bytes, as text where that is enough, and back; what its serdes refuse is said with store, key and serde. */
export class RowSerde {
  /** Only this serde is known to give different bytes to different strings; behind any other the bytes are the identity. */
  readonly hasTextKeys: boolean;
  readonly #spec: StoreSpec;
  readonly #writeValue: (value: unknown) => BytesOrText;

  constructor(spec: StoreSpec) {
    this.#spec = spec;
    this.hasTextKeys = spec.key === string;
    this.#writeValue = bytesOrText(spec.value.serialize);
  }

  encodeKey(key: unknown): Uint8Array {
    return this.#spec.key.serialize(key);
  }

  /** As `encodeKey`, with a Buffer's methods. */
  keyBytes(key: unknown): Buffer {
    const bytes = this.encodeKey(key);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** As `encodeKey`, or the text of which those are the UTF-8. */
  keyPart(key: unknown): BytesOrText {
    return this.hasTextKeys && typeof key === "string" ? key : this.encodeKey(key);
  }

  /** The same for keys of the same bytes, once it is well-formed. */
  nameOf(key: unknown): string {
    return this.hasTextKeys && typeof key === "string" ? key : this.keyBytes(key).toString("latin1");
  }

  /** UTF-8 has one replacement for every lone surrogate, so strings that differ in nothing else are one key. */
  wellFormed(name: string): string {
    return this.hasTextKeys ? name.toWellFormed() : name;
  }

  decodeKey(bytes: Uint8Array): unknown {
    return this.#spec.key.deserialize(bytes);
  }

  valueSizeBytes(value: unknown): number {
    return this.#spec.value.serialize(value).byteLength;
  }

  /** @throws UnusableStateError when the serde refuses what an operator put */
  encodeValue(key: unknown, value: unknown): BytesOrText {
    try {
      return this.#writeValue(value);
    } catch (error) {
      const message =
        `store "${this.#spec.name}", key ${JSON.stringify(key)}: serde "${this.#spec.value.name}" refuses the value ` +
        `that an operator put (${messageOf(error)}): fix the operator or the serde`;
      throw new UnusableStateError("STATE_ROW_REFUSED", message, { cause: error });
    }
  }

  /** @throws UnusableStateError when the serde does not read what it wrote */
  decode(key: unknown, encoded: EncodedRow & { readonly value: Uint8Array }): Row<unknown> {
    try {
      return { value: this.#spec.value.deserialize(encoded.value), timestampMs: encoded.timestampMs };
    } catch (error) {
      const { name, value } = this.#spec;
      const message =
        `store "${name}", key ${JSON.stringify(key)}: serde "${value.name}" cannot read the stored value ` +
        `(${messageOf(error)}): did the serde change without its name? ` +
        "Bring the old one back, or give the store a new name";
      throw new UnusableStateError("STATE_ROW_UNREADABLE", message, { cause: error });
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
