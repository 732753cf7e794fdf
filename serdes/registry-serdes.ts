import type { StandardSchemaV1 } from "@standard-schema/spec";
import { AvroFormat, type AvroOptions } from "./avro.js";
import type { InferAvro, LongType } from "./avro-schema.js";
import { json } from "./json.js";
import { type RegisteredSchema, type SchemaRegistry, SchemaRegistryError, type SchemaType } from "./schema-registry.js";
import { NotLoadedError, PrepareError, type Serde, type SerdeUse } from "./serde.js";

/** Under which name a schema is registered: given, or made of the schema's own name. */
export type Subject = string | ((schemaName: string) => string);

/** TopicNameStrategy, the usual one: a topic's keys and values have a schema each. */
export function topicSubject(topic: string, part: "key" | "value" = "value"): Subject {
  return `${topic}-${part}`;
}

/** RecordNameStrategy: a type has one schema, in whatever topic. */
export const recordSubject: Subject = (schemaName) => schemaName;

/** TopicRecordNameStrategy: a topic holds several types. */
export function topicRecordSubject(topic: string): Subject {
  return (schemaName) => `${topic}-${schemaName}`;
}

export interface RegistryOptions {
  readonly subject: Subject;
  /** True (default): a schema that is written with is registered. False: it must be registered already. */
  readonly register?: boolean;
}

/**
 * Avro in the Confluent wire format: 0, the writer's schema id as int32 BE, then the body. What others wrote with other
 * versions is resolved to `schema`; for a store, what earlier versions of the application wrote.
 *
 * Neither reading nor writing makes a request. The engine awaits `prepare` before it writes, and where a record names an
 * id that was not seen yet, its partition waits until the registry has told of it.
 *
 * @throws Error saying what is wrong with the schema
 */
export function registryAvro<const S, L extends LongType = "number">(
  registry: SchemaRegistry,
  schema: S,
  options: RegistryOptions & AvroOptions<L>,
): Serde<InferAvro<S, L>> {
  const format = new AvroFormat(schema, options.long ?? "number");
  return new WireFormat<InferAvro<S, L>>(registry, {
    name: "registry-avro",
    type: "AVRO",
    text: JSON.stringify(schema),
    subject: subjectName(options.subject, format.name),
    register: options.register ?? true,
    write: (value, header) => format.write(value, header),
    readerOf: ({ text, references }) => {
      const reader = format.readerOf(
        JSON.parse(text),
        references.map((one) => JSON.parse(one)),
      );
      return (bytes, start) => reader(bytes, start) as InferAvro<S, L>;
    },
  }).serde;
}

/**
 * JSON with its JSON Schema in the registry, in the same wire format. The registry and other languages go by `schema`;
 * here `validator`, a Standard Schema, says what is read (with zod: `z.toJSONSchema(validator)`).
 */
export function registryJson<Input, Output extends Input & NonNullable<unknown>>(
  registry: SchemaRegistry,
  schema: { readonly title?: string },
  validator: StandardSchemaV1<Input, Output>,
  options: RegistryOptions,
): Serde<Output> {
  const text = json(validator);
  return new WireFormat<Output>(registry, {
    name: "registry-json",
    type: "JSON",
    text: JSON.stringify(schema),
    subject: subjectName(options.subject, schema.title),
    register: options.register ?? true,
    write: (value, header) => Buffer.concat([header, text.serialize(value)]),
    readerOf: () => (bytes, start) => text.deserialize(bytes.subarray(start)),
  }).serde;
}

function subjectName(subject: Subject, schemaName: string | undefined): string {
  if (typeof subject === "string") return subject;
  if (schemaName === undefined)
    throw new TypeError(
      "the subject is made of the schema's name, and the schema has none: name it, or use topicSubject",
    );
  return subject(schemaName);
}

type Reader<T> = (bytes: Uint8Array, start: number) => T;

interface Format<T> {
  readonly name: string;
  readonly type: SchemaType;
  readonly text: string;
  readonly subject: string;
  readonly register: boolean;
  readonly write: (value: T, header: Uint8Array) => Uint8Array;
  /** @throws Error when what was written with that schema cannot be read with this one */
  readonly readerOf: (writer: RegisteredSchema) => Reader<T>;
}

const MAGIC = 0;
const HEADER_BYTES = 5;
/** Readers hold code that was made for them; more versions than this of one subject take turns. */
const READERS_MAX = 1_000;

class WireFormat<T> {
  readonly #registry: SchemaRegistry;
  readonly #format: Format<T>;
  readonly #readers = new Map<number, Reader<T>>();
  #header: Buffer | undefined;

  constructor(registry: SchemaRegistry, format: Format<T>) {
    this.#registry = registry;
    this.#format = format;
  }

  get serde(): Serde<T> {
    return {
      name: `${this.#format.name}(${this.#format.subject})`,
      serialize: (value) => this.#serialize(value),
      deserialize: (bytes) => this.#deserialize(bytes),
      prepare: (use) => this.#prepare(use),
    };
  }

  #serialize(value: T): Uint8Array {
    if (this.#header === undefined)
      throw new TypeError(`the schema of "${this.#format.subject}" has no id yet: await prepare("write") first`);
    return this.#format.write(value, this.#header);
  }

  #deserialize(bytes: Uint8Array): T {
    const [magic, a = 0, b = 0, c = 0, d = 0] = bytes;
    if (magic !== MAGIC || bytes.length < HEADER_BYTES) {
      const why = bytes.length < HEADER_BYTES ? `it has ${bytes.length} bytes` : `its first byte is ${magic}`;
      throw new TypeError(`no schema id: ${why}, where 0 and four bytes of an id begin a value of a schema registry`);
    }
    const id = a * 0x1_00_00_00 + ((b << 16) | (c << 8) | d);
    const reader = this.#readers.get(id) ?? this.#openReader(id);
    return reader(bytes, HEADER_BYTES);
  }

  #openReader(id: number): Reader<T> {
    const schema = this.#registry.known(id);
    if (schema === undefined)
      throw new NotLoadedError(`schema id ${id} was not asked for yet`, () => this.#registry.load(id));
    if (schema instanceof SchemaRegistryError) throw new TypeError(`schema id ${id}: ${schema.message}`);
    if (schema.type !== this.#format.type)
      throw new TypeError(`schema id ${id} is a schema of type ${schema.type}, not ${this.#format.type}`);
    let reader: Reader<T>;
    try {
      reader = this.#format.readerOf(schema);
    } catch (cause) {
      // Kept as well: each record that was written with it would build the reader anew, to fail again.
      const message = `schema id ${id} cannot be read with the schema of "${this.#format.subject}": ${messageOf(cause)}`;
      reader = () => {
        throw new TypeError(message, { cause });
      };
    }
    if (this.#readers.size >= READERS_MAX) this.#readers.clear();
    this.#readers.set(id, reader);
    return reader;
  }

  async #prepare(use: SerdeUse): Promise<void> {
    if (use === "read") return;
    if (use === "store") await this.#expectReadable();
    if (this.#header !== undefined) return;
    const id = await this.#register(use);
    // What is written from now on can be read: a store reads its own rows.
    const { type, text } = this.#format;
    this.#readers.set(id, this.#format.readerOf({ id, type, text, references: [] }));
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(id, 1);
    this.#header = header;
  }

  async #register(use: SerdeUse): Promise<number> {
    const { subject, type, text, register } = this.#format;
    try {
      return await (register
        ? this.#registry.register(subject, { type, text })
        : this.#registry.lookUp(subject, { type, text }));
    } catch (error) {
      if (!(error instanceof SchemaRegistryError) || error.isRetriable) throw error;
      if (error.status === 404 && !register)
        throw refused(`the schema is not registered under "${subject}": register it, or let register be true`, error);
      if (error.status !== 409) throw error;
      const why = (await this.#mismatch()) ?? error.message;
      throw refused(`the schema does not fit what is registered under "${subject}": ${why}; ${wayOut(use)}`, error);
    }
  }

  /** Every version that rows of this store may have been written with. */
  async #expectReadable(): Promise<void> {
    const why = await this.#mismatch();
    if (why !== undefined)
      throw refused(`rows of this store cannot be read with its new schema: ${why}; ${wayOut("store")}`);
  }

  /** Why one of the subject's versions cannot be read with this schema, the newest first; undefined when all can. */
  async #mismatch(): Promise<string | undefined> {
    const { subject, readerOf } = this.#format;
    for (const id of [...(await this.#registry.idsOf(subject))].reverse()) {
      await this.#registry.load(id);
      const schema = this.#registry.known(id);
      if (schema instanceof SchemaRegistryError) throw schema;
      if (schema === undefined) continue;
      try {
        readerOf(schema);
      } catch (error) {
        return `${messageOf(error)} (schema id ${id})`;
      }
    }
    return undefined;
  }
}

function wayOut(use: SerdeUse): string {
  return use === "store"
    ? "give a new field a default, the store a new name, or reset the application (its state directory and its changelog)"
    : "give a new field a default, or write to another subject";
}

function refused(message: string, cause?: unknown): PrepareError {
  return new PrepareError(message, { isRetriable: false, cause });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** For readers outside of the engine: loads what the bytes name, where that is needed. */
export async function deserializeLoaded<T>(serde: Pick<Serde<T>, "deserialize">, bytes: Uint8Array): Promise<T> {
  try {
    return serde.deserialize(bytes);
  } catch (error) {
    if (!(error instanceof NotLoadedError)) throw error;
    await error.load();
    return serde.deserialize(bytes);
  }
}
