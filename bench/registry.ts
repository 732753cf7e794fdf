import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** As much of a schema registry as the pipeline asks of one before its first record; it takes every schema. */
export interface LocalRegistry {
  readonly url: string;
  /** Ids are given from 1 on. */
  readonly schemas: readonly string[];
  close(): void;
}

export async function startRegistry(): Promise<LocalRegistry> {
  const schemas: string[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (part: string) => {
      body += part;
    });
    request.on("end", () => {
      const id = /^\/schemas\/ids\/(\d+)/.exec(request.url ?? "")?.[1];
      const answer = id === undefined ? registered(body) : { schema: schemas[Number(id) - 1] };
      response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
      response.end(JSON.stringify(answer ?? { message: "there is none" }));
    });
  });
  function registered(body: string): { readonly id: number } | undefined {
    if (body === "") return undefined;
    const { schema } = JSON.parse(body) as { readonly schema: string };
    if (!schemas.includes(schema)) schemas.push(schema);
    return { id: schemas.indexOf(schema) + 1 };
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, schemas, close };
}
