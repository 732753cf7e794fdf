export { type AvroOptions, avro } from "./avro.js";
export type { InferAvro, LongType } from "./avro-schema.js";
export { json, jsonReader, SchemaError, unvalidatedJson } from "./json.js";
export { nullable } from "./nullable.js";
export {
  deserializeLoaded,
  type RegistryOptions,
  recordSubject,
  registryAvro,
  registryJson,
  type Subject,
  topicRecordSubject,
  topicSubject,
} from "./registry-serdes.js";
export { SchemaRegistry, SchemaRegistryError, type SchemaRegistryOptions } from "./schema-registry.js";
export {
  bytes,
  float64,
  fromText,
  type InferSerde,
  int64,
  NotLoadedError,
  PrepareError,
  type Serde,
  type SerdeUse,
  type Serializer,
  string,
  toText,
  type WithBytes,
  withBytes,
} from "./serde.js";
export { type Window, type Windowed, windowed } from "./windowed.js";
