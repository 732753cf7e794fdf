import type { Serde } from "./serde.js";

/**
 * The same bytes, for a topic with tombstones or records without a key: the type then says that null can come.
 *
 * Only the type changes. Null is null on the wire and reaches no serde, with or without this; a stream whose serde
 * is not nullable still passes a null on that a producer wrote.
 */
export function nullable<T>(serde: Serde<T>): Serde<T | null> {
  return {
    name: serde.name,
    serialize: (value) => {
      if (value === null) throw new TypeError("null has no bytes: it is null on the wire");
      return serde.serialize(value);
    },
    deserialize: serde.deserialize,
    partitionBytes: serde.partitionBytes,
    prepare: serde.prepare,
  };
}
