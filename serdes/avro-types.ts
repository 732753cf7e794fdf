import avsc from "avsc";
import { LOGICAL_TYPES } from "./avro-logical.js";
import { LONGS } from "./avro-long.js";
import type { LongType } from "./avro-schema.js";

/**
 * avsc's type of a schema, with our longs, logical types and unions.
 *
 * @throws Error saying what is wrong with the schema
 */
export function parseAvro(schema: unknown, long: LongType): avsc.Type {
  return avsc.Type.forSchema(schema as avsc.Schema, {
    logicalTypes: { ...LOGICAL_TYPES },
    assertLogicalTypes: true,
    omitRecordMethods: true,
    typeHook: (one, options) => ownType(one, options, long),
  });
}

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
