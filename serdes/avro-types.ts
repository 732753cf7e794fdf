import avsc from "avsc";
import { LOGICAL_TYPES } from "./avro-logical.js";
import { LONGS } from "./avro-long.js";
import type { LongType } from "./avro-schema.js";

/**
 * avsc's type of a schema, with our longs, logical types and unions.
 *
 * @throws Error saying what is wrong with the schema
 */
export function parseAvro(schema: unknown, long: LongType, references: readonly unknown[] = []): avsc.Type {
  const registry: Record<string, avsc.Type> = {};
  const parse = (one: unknown): avsc.Type =>
    avsc.Type.forSchema(one as avsc.Schema, {
      registry,
      logicalTypes: { ...LOGICAL_TYPES },
      assertLogicalTypes: true,
      omitRecordMethods: true,
      typeHook: (part, options) => ownType(part, options, long),
    });
  for (const reference of references) parse(reference);
  return parse(schema);
}

/** Where a reader's schema does not fit a writer's, by the path of the first field; undefined where it does. */
export function avroMismatch(reader: avsc.Type, writer: avsc.Type, depth = 0): string | undefined {
  if (reader instanceof avsc.types.RecordType && writer instanceof avsc.types.RecordType && depth < DEPTH_MAX) {
    for (const field of reader.fields) {
      const names = [field.name, ...(field.aliases ?? [])];
      const written = writer.fields.find(({ name }) => names.includes(name));
      if (written === undefined) {
        if (field.defaultValue() === undefined) return `field ${reader.name}.${field.name} is new and has no default`;
        continue;
      }
      const why = avroMismatch(field.type, written.type, depth + 1);
      if (why !== undefined) return why.startsWith("field ") ? why : `field ${reader.name}.${field.name}: ${why}`;
    }
  }
  // avsc looks for the fields of whatever it is given.
  const isRecordOfNone = reader instanceof avsc.types.RecordType && !(writer instanceof avsc.types.RecordType);
  if (isRecordOfNone && !writer.typeName.startsWith("union"))
    return `cannot read ${writer.typeName} as record ${reader.name}`;
  try {
    reader.createResolver(writer);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A recursive record comes back to itself. */
const DEPTH_MAX = 20;

function ownType(schema: unknown, options: unknown, long: LongType): avsc.Type | undefined {
  if (Array.isArray(schema)) return unionType(schema, options as avsc.ForSchemaOptions, long);
  if (schema === "long") return LONGS[long];
  const { type, logicalType } = schema as { readonly type?: unknown; readonly logicalType?: string };
  if (type !== "long" || (logicalType !== undefined && Object.hasOwn(LOGICAL_TYPES, logicalType))) return undefined;
  return LONGS[long];
}

/** Wrapped exactly where values would not tell the branches apart. */
function unionType(schema: readonly unknown[], options: avsc.ForSchemaOptions, long: LongType): avsc.Type {
  const types = schema.map((branch) => avsc.Type.forSchema(branch as avsc.Schema, options));
  const branches = types as unknown as avsc.Schema;
  const kinds = types.map(kindOf);
  if (new Set(kinds).size < kinds.length) return new avsc.types.WrappedUnionType(branches, options);
  const union = new avsc.types.UnwrappedUnionType(branches, options);
  // avsc finds a branch by the kind of the value, and does not know bigints.
  if (long === "bigint") {
    const { _bucketIndices: byKind } = union as unknown as { readonly _bucketIndices: Record<string, number> };
    const at = types.indexOf(LONGS.bigint);
    if (at >= 0) byKind.bigint = at;
  }
  return union;
}

/** The same table as `Kind` in `avro-schema.ts`. */
function kindOf(type: avsc.Type): string {
  switch (type.typeName) {
    case "int":
    case "long":
    case "float":
    case "double":
      return "number";
    case "enum":
    case "logical:decimal":
    case "logical:uuid":
      return "string";
    case "logical:date":
    case "logical:timestamp-millis":
      return "date";
    case "fixed":
      return "bytes";
    case "record":
    case "error":
    case "map":
      return "object";
    default:
      return type.typeName;
  }
}
