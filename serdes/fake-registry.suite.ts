import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** The part of a registry's Confluent API that a client uses, in this process; it takes every schema. */
export class FakeRegistry {
  /** Every request, as "GET /schemas/ids/1". */
  readonly requests: string[] = [];
  readonly authorizations: (string | undefined)[] = [];
  readonly schemas: { readonly schema: string; readonly schemaType?: string; readonly references?: unknown }[] = [];
  readonly subjects = new Map<string, number[]>();
  /** Answers are these, one after the other, before any real one; "hang" never comes. */
  readonly failures: (number | "hang")[] = [];
  /** True: the next new version of a subject that has one is incompatible. */
  refuses = false;
  url = "";
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  static async start(): Promise<FakeRegistry> {
    const fake = new FakeRegistry();
    await new Promise<void>((resolve) => fake.#server.listen(0, "127.0.0.1", resolve));
    fake.url = `http://127.0.0.1:${(fake.#server.address() as AddressInfo).port}`;
    return fake;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Registers beside the API; returns the id. */
  add(subject: string, schema: unknown, more: { schemaType?: string; references?: unknown } = {}): number {
    this.schemas.push({ schema: JSON.stringify(schema), ...more });
    this.subjects.set(subject, [...(this.subjects.get(subject) ?? []), this.schemas.length]);
    return this.schemas.length;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    this.requests.push(`${request.method} ${request.url}`);
    this.authorizations.push(request.headers.authorization);
    const failure = this.failures.shift();
    if (failure === "hang") return;
    const [status, body] = failure === undefined ? this.#route(request, Buffer.concat(parts)) : [failure, {}];
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  #route({ method, url = "" }: IncomingMessage, sent: Buffer): [number, unknown] {
    const path = url.split("/").slice(1).map(decodeURIComponent);
    if (path[0] === "schemas") {
      const found = this.schemas[Number(path[2]) - 1];
      return found === undefined ? [404, { message: "Schema not found" }] : [200, found];
    }
    const ids = this.subjects.get(path[1] ?? "");
    if (method === "GET") {
      if (ids === undefined) return [404, { message: "Subject not found" }];
      if (path.length === 3) return [200, ids.map((_, at) => at + 1)];
      const id = ids[Number(path[3]) - 1] ?? 0;
      return [200, { id, ...this.schemas[id - 1] }];
    }
    const { schema, schemaType } = JSON.parse(sent.toString("utf8")) as { schema: string; schemaType?: string };
    const known = ids?.find((id) => this.schemas[id - 1]?.schema === schema);
    if (known !== undefined) return [200, { id: known }];
    if (path.length === 2) return [404, { message: "Schema not found" }];
    if (this.refuses && ids !== undefined) return [409, { message: "Schema is not compatible" }];
    return [200, { id: this.add(path[1] ?? "", JSON.parse(schema), schemaType === undefined ? {} : { schemaType }) }];
  }
}
