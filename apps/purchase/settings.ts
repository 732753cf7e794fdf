import { readFileSync } from "node:fs";
import { type Setting, TOPICS } from "./setting-table.js";

/** One or more settings are wrong. The message has one line for each fault, and each line begins with its key. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";

  constructor(readonly faults: readonly string[]) {
    super(faults.join("\n"));
  }
}

export type Values<D> = { readonly [K in keyof D]: D[K] extends Setting<infer T> ? T : never };

/** What was typed and what is in the environment: everything a setting may come from. */
export interface Sources {
  /** By setting name, as commander gives them; `true` for a flag without a value. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly readFile?: (path: string) => string;
}

export function flagName(setting: string): string {
  return `--${setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/**
 * Flag, else environment, else default; an empty variable counts as not set.
 *
 * @throws SettingsError with every fault at once, one line each
 */
export function readSettings<D extends { readonly [K in keyof D]: Setting<unknown> }>(
  definitions: D,
  sources: Sources,
): Values<D> {
  const faults: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, definition] of Object.entries<Setting<unknown>>(definitions)) {
    values[name] = definition.default;
    const outcome = readSetting(name, definition, sources);
    if ("fault" in outcome) faults.push(outcome.fault);
    else if ("value" in outcome) values[name] = outcome.value;
  }
  faults.push(...contradictions(values));
  if (faults.length > 0) throw new SettingsError(faults);
  return values as Values<D>;
}

type Outcome = { readonly value: unknown } | { readonly fault: string } | { readonly isDefault: true };

function readSetting(name: string, definition: Setting<unknown>, sources: Sources): Outcome {
  const found = find(name, definition, sources);
  if (found === undefined) return { isDefault: true };
  if ("fault" in found) return found;
  const parsed = definition.schema.safeParse(found.text);
  const shown = definition.isSecret ? "its value" : JSON.stringify(found.text);
  if (!parsed.success) return { fault: `${found.from}: ${shown} ${parsed.error.issues[0]?.message ?? "is not valid"}` };
  return { value: parsed.data };
}

type Found = { readonly text: string; readonly from: string } | { readonly fault: string } | undefined;

function find(name: string, definition: Setting<unknown>, sources: Sources): Found {
  const flagged = findFlag(name, definition, sources);
  if (flagged !== undefined || definition.variable === undefined) return flagged;
  const plain = sources.environment[definition.variable] || undefined;
  const file = definition.isSecret ? sources.environment[`${definition.variable}_FILE`] || undefined : undefined;
  if (plain !== undefined && file !== undefined) {
    return { fault: `${definition.variable}: is set, and so is ${definition.variable}_FILE; set one of them` };
  }
  if (file !== undefined) return readSecret(`${definition.variable}_FILE`, file, sources);
  return plain === undefined ? undefined : { text: plain, from: definition.variable };
}

function findFlag(name: string, definition: Setting<unknown>, sources: Sources): Found {
  const key = (flagged: string): string =>
    definition.variable === undefined ? flagged : `${definition.variable} (${flagged})`;
  const given = sources.flags[name];
  if (given !== undefined) return { text: String(given), from: key(flagName(name)) };
  const file = definition.isSecret ? sources.flags[`${name}File`] : undefined;
  return file === undefined ? undefined : readSecret(key(flagName(`${name}File`)), String(file), sources);
}

function readSecret(from: string, path: string, sources: Sources): Found {
  const readFile = sources.readFile ?? ((file: string): string => readFileSync(file, "utf8"));
  try {
    // Editors and `echo` end a file with a line break that is no part of the secret.
    return { text: readFile(path).replace(/\r?\n$/, ""), from };
  } catch (error) {
    return {
      fault: `${from}: cannot read ${JSON.stringify(path)}: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

export interface ExplainedSetting {
  /** The variable; the flag of what has none. */
  readonly variable: string;
  /** As text; a secret is masked. */
  readonly value: string;
  readonly from: string;
}

/** What each setting is, and where it comes from; what is wrong beside. */
export function explainSettings(
  definitions: Readonly<Record<string, Setting<unknown>>>,
  sources: Sources,
): { readonly settings: readonly ExplainedSetting[]; readonly faults: readonly string[] } {
  let faults: readonly string[] = [];
  try {
    readSettings(definitions, sources);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    faults = error.faults;
  }
  const settings = Object.entries(definitions).map(([name, definition]): ExplainedSetting => {
    const found = find(name, definition, sources);
    const variable = definition.variable ?? flagName(name);
    if (found === undefined) return { variable, value: defaultText(definition), from: "default" };
    if ("fault" in found) return { variable, value: "", from: "wrong" };
    const isFlag = found.from.includes("--");
    const isFile = found.from.endsWith("_FILE") || found.from.includes("-file");
    const value = definition.isSecret ? "********" : found.text;
    return { variable, value, from: isFlag ? "flag" : isFile ? "file" : "environment" };
  });
  return { settings, faults };
}

/** The default as people read it. */
export function defaultText(definition: Setting<unknown>): string {
  return definition.defaultText ?? (definition.default === undefined ? "none" : String(definition.default));
}

/** What no setting is wrong in by itself. A command that has not one of the settings has no fault in it. */
function contradictions(values: Readonly<Record<string, unknown>>): string[] {
  const faults: string[] = [];
  const { kafkaSsl, kafkaSslCa, kafkaSslCert, kafkaSslKey, kafkaSaslMechanism, kafkaSaslUsername, kafkaSaslPassword } =
    values;
  const isSet = (value: unknown): boolean => value !== undefined;
  if (kafkaSsl === false) {
    const files = { KAFKA_SSL_CA: kafkaSslCa, KAFKA_SSL_CERT: kafkaSslCert, KAFKA_SSL_KEY: kafkaSslKey };
    for (const [key, file] of Object.entries(files))
      if (isSet(file)) faults.push(`${key}: is set, but KAFKA_SSL is off; set KAFKA_SSL=true`);
  }
  if (isSet(kafkaSslCert) !== isSet(kafkaSslKey))
    faults.push("KAFKA_SSL_CERT: needs KAFKA_SSL_KEY beside it, and the other way round");
  if (isSet(kafkaSaslMechanism) && !(isSet(kafkaSaslUsername) && isSet(kafkaSaslPassword))) {
    faults.push("KAFKA_SASL_MECHANISM: needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD");
  }
  if (!isSet(kafkaSaslMechanism) && (isSet(kafkaSaslUsername) || isSet(kafkaSaslPassword))) {
    faults.push("KAFKA_SASL_MECHANISM: is not set, but a SASL user or password is");
  }
  const { transactionTimeoutMs, commitIntervalMs } = values;
  if (
    typeof transactionTimeoutMs === "number" &&
    typeof commitIntervalMs === "number" &&
    transactionTimeoutMs <= commitIntervalMs
  ) {
    faults.push(
      `TRANSACTION_TIMEOUT_MS: ${transactionTimeoutMs} must be more than COMMIT_INTERVAL_MS, which is ${commitIntervalMs}`,
    );
  }
  if (values.format === "avro" && !isSet(values.schemaRegistryUrl))
    faults.push("FORMAT: avro needs SCHEMA_REGISTRY_URL");
  if (isSet(values.schemaRegistryUsername) !== isSet(values.schemaRegistryPassword))
    faults.push("SCHEMA_REGISTRY_USERNAME: needs SCHEMA_REGISTRY_PASSWORD beside it, and the other way round");
  return [...faults, ...sharedTopics(values)];
}

function sharedTopics(values: Readonly<Record<string, unknown>>): string[] {
  const users = new Map<unknown, string>();
  const faults: string[] = [];
  for (const name of Object.keys(TOPICS) as (keyof typeof TOPICS)[]) {
    const topic = values[name];
    if (topic === undefined) continue;
    const key = TOPICS[name].variable as string;
    const other = users.get(topic);
    if (other !== undefined) faults.push(`${key}: is "${String(topic)}", as ${other} is; topics must differ`);
    users.set(topic, key);
  }
  return faults;
}
