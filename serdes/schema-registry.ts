import { PrepareError } from "./serde.js";

export interface SchemaRegistryOptions {
  /** Of the Confluent API, as http://localhost:8081; with Apicurio it ends in /apis/ccompat/v7. */
  readonly url: string;
  readonly auth?: { readonly username: string; readonly password: string } | { readonly token: string };
  /** Of one request. Default 3,000. */
  readonly timeoutMs?: number;
  /** Requests before a registry that is away or overloaded is given up, for now. Default 4. */
  readonly attempts?: number;
}

export type SchemaType = "AVRO" | "JSON" | "PROTOBUF";

/** A schema as the registry has it: text, and the schemas that it names, those that others need first. */
export interface RegisteredSchema {
  readonly id: number;
  readonly type: SchemaType;
  readonly text: string;
  readonly references: readonly string[];
}

export interface NewSchema {
  readonly type: SchemaType;
  readonly text: string;
}

/** The registry has refused something, does not have it, or is away (`isRetriable`). */
export class SchemaRegistryError extends PrepareError {
  /** HTTP's; undefined where there was no answer. */
  readonly status: number | undefined;

  constructor(
    message: string,
    options: { readonly isRetriable: boolean; readonly status?: number; readonly cause?: unknown },
  ) {
    super(message, options);
    this.status = options.status;
  }
}

const CONTENT_TYPE = "application/vnd.schemaregistry.v1+json";
const TIMEOUT_MS = 3_000;
const ATTEMPTS = 4;
const BACKOFF_MS = 100;
const RESPONSE_BYTES_MAX = 4 * 1024 * 1024;
/** Ids are given one by one; whoever sends made-up ones must not fill the memory. */
const SCHEMAS_MAX = 10_000;
/** How long an id that could not be had is not asked for again: records with it would wait for the registry one by one. */
const FAILURE_KEPT_MS = 30_000;
const REFERENCES_MAX = 100;

interface Failure {
  readonly error: SchemaRegistryError;
  readonly untilMs: number;
}

/**
 * A client of a schema registry's Confluent API, with the schemas that it has seen: an id never changes its schema, so each
 * is asked for once. Every call is bounded by `attempts` and `timeoutMs`.
 */
export class SchemaRegistry {
  readonly #options: SchemaRegistryOptions;
  readonly #url: string;
  readonly #schemas = new Map<number, RegisteredSchema | Failure>();
  readonly #loading = new Map<number, Promise<void>>();

  /** @throws TypeError when the url is none */
  constructor(options: SchemaRegistryOptions) {
    this.#options = options;
    this.#url = new URL(options.url).href.replace(/\/+$/, "");
  }

  /** What is known of an id without asking: its schema, why it could not be had a moment ago, or undefined. */
  known(id: number): RegisteredSchema | SchemaRegistryError | undefined {
    const found = this.#schemas.get(id);
    if (found === undefined || !("untilMs" in found)) return found;
    return performance.now() < found.untilMs ? found.error : undefined;
  }

  /** Asks for an id, so that `known` knows it or why not. Never rejects. */
  load(id: number): Promise<void> {
    const known = this.known(id);
    if (known !== undefined) return Promise.resolve();
    let loading = this.#loading.get(id);
    if (loading === undefined) {
      loading = this.#load(id).finally(() => this.#loading.delete(id));
      this.#loading.set(id, loading);
    }
    return loading;
  }

  /** The id of a schema, which is registered where it is not yet. @throws SchemaRegistryError, status 409: incompatible */
  async register(subject: string, schema: NewSchema): Promise<number> {
    const { id } = (await this.#ask("POST", `/subjects/${encodeURIComponent(subject)}/versions`, bodyOf(schema))) as {
      id: number;
    };
    return id;
  }

  /** The id of a schema that must be registered already. @throws SchemaRegistryError, status 404: it is not */
  async lookUp(subject: string, schema: NewSchema): Promise<number> {
    const { id } = (await this.#ask("POST", `/subjects/${encodeURIComponent(subject)}`, bodyOf(schema))) as {
      id: number;
    };
    return id;
  }

  /** The ids of a subject's versions, oldest first; none where there is no such subject. */
  async idsOf(subject: string): Promise<readonly number[]> {
    const path = `/subjects/${encodeURIComponent(subject)}/versions`;
    try {
      const versions = (await this.#ask("GET", path)) as readonly number[];
      const ids: number[] = [];
      for (const version of versions) ids.push(((await this.#ask("GET", `${path}/${version}`)) as { id: number }).id);
      return ids;
    } catch (error) {
      if (error instanceof SchemaRegistryError && error.status === 404) return [];
      throw error;
    }
  }

  async #load(id: number): Promise<void> {
    try {
      this.#keep(id, await this.#fetch(id));
    } catch (error) {
      if (!(error instanceof SchemaRegistryError)) throw error;
      this.#keep(id, { error, untilMs: performance.now() + FAILURE_KEPT_MS });
    }
  }

  #keep(id: number, found: RegisteredSchema | Failure): void {
    this.#schemas.delete(id);
    this.#schemas.set(id, found);
    const oldest = this.#schemas.keys().next().value;
    if (this.#schemas.size > SCHEMAS_MAX && oldest !== undefined) this.#schemas.delete(oldest);
  }

  async #fetch(id: number): Promise<RegisteredSchema> {
    const found = (await this.#ask("GET", `/schemas/ids/${id}`)) as Answer;
    const references: string[] = [];
    await this.#refer(found, references, new Set());
    return { id, type: found.schemaType ?? "AVRO", text: found.schema, references };
  }

  /** Depth first, so that a schema stands behind those that it names. */
  async #refer({ references = [] }: Answer, into: string[], seen: Set<string>): Promise<void> {
    for (const { subject, version } of references) {
      const name = `${subject} ${version}`;
      if (seen.has(name)) continue;
      seen.add(name);
      if (seen.size > REFERENCES_MAX) {
        throw new SchemaRegistryError(`a schema names more than ${REFERENCES_MAX} others`, { isRetriable: false });
      }
      const path = `/subjects/${encodeURIComponent(subject)}/versions/${version}`;
      const found = (await this.#ask("GET", path)) as Answer;
      await this.#refer(found, into, seen);
      into.push(found.schema);
    }
  }

  async #ask(method: "GET" | "POST", path: string, body?: string): Promise<unknown> {
    const attempts = this.#options.attempts ?? ATTEMPTS;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#askOnce(method, path, body);
      } catch (error) {
        if (!(error instanceof SchemaRegistryError)) throw error;
        if (!error.isRetriable || attempt >= attempts) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, BACKOFF_MS * 2 ** (attempt - 1)));
    }
  }

  async #askOnce(method: "GET" | "POST", path: string, body: string | undefined): Promise<unknown> {
    const { timeoutMs = TIMEOUT_MS } = this.#options;
    const headers = { accept: CONTENT_TYPE, "content-type": CONTENT_TYPE, ...this.#authorization() };
    const what = `schema registry ${this.#url}: ${method} ${path}`;
    let status: number;
    let text: string;
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await fetch(`${this.#url}${path}`, { method, headers, signal, ...(body ? { body } : {}) });
      status = response.status;
      text = await textOf(response);
    } catch (cause) {
      throw new SchemaRegistryError(`${what}: no answer (${reasonOf(cause)})`, { isRetriable: true, cause });
    }
    if (status >= 200 && status < 300) return parsed(what, text);
    const isRetriable = status >= 500 || status === 429 || status === 408;
    throw new SchemaRegistryError(`${what}: ${explained(status, text)}`, { isRetriable, status });
  }

  #authorization(): Readonly<Record<string, string>> {
    const { auth } = this.#options;
    if (auth === undefined) return {};
    if ("token" in auth) return { authorization: `Bearer ${auth.token}` };
    return { authorization: `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString("base64")}` };
  }
}

interface Answer {
  readonly schema: string;
  readonly schemaType?: SchemaType;
  readonly references?: readonly { readonly subject: string; readonly version: number }[];
}

/** Avro is the default, and registries of before 5.5 know no other. */
function bodyOf({ type, text }: NewSchema): string {
  return JSON.stringify(type === "AVRO" ? { schema: text } : { schema: text, schemaType: type });
}

async function textOf(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += (part as Uint8Array).length;
    if (bytes > RESPONSE_BYTES_MAX) throw new RangeError(`an answer of more than ${RESPONSE_BYTES_MAX} bytes`);
    parts.push(part as Uint8Array);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parsed(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SchemaRegistryError(`${what}: the answer is no JSON; is this the url of a registry's Confluent API?`, {
      isRetriable: false,
      cause,
    });
  }
}

const TEXT_CHARACTERS_MAX = 1_000;

function explained(status: number, text: string): string {
  if (status === 401 || status === 403) return `${status}, the registry refuses these credentials`;
  let message = text;
  try {
    message = (JSON.parse(text) as { message?: string }).message ?? text;
  } catch {
    message = text === "" ? "without a word" : text;
  }
  return `${status}, ${message.slice(0, TEXT_CHARACTERS_MAX)}`;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message || error.message : error.message;
}
