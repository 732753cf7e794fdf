import { SchemaRegistry } from "millrace/serdes";
import type { FORMAT } from "./setting-table.js";
import type { Values } from "./settings.js";

export type FormatSettings = Values<typeof FORMAT>;

/** The schema registry of the settings; undefined where values are JSON. `readSettings` has seen to it that there is a url. */
export function connectRegistry(settings: FormatSettings): SchemaRegistry | undefined {
  const { format, schemaRegistryUrl: url, schemaRegistryUsername: username, schemaRegistryPassword } = settings;
  if (format === "json" || url === undefined) return undefined;
  const auth = username === undefined ? {} : { auth: { username, password: schemaRegistryPassword ?? "" } };
  return new SchemaRegistry({ url, ...auth });
}
