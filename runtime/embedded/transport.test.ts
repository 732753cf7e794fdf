import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { transportSuite } from "../transport.suite.js";
import { EmbeddedLog } from "./embedded-log.js";
import { EmbeddedTransport } from "./transport.js";

async function connected(log: EmbeddedLog): Promise<EmbeddedTransport> {
  const transport = new EmbeddedTransport({ log });
  await transport.connect();
  return transport;
}

async function opened(file: string, cleanUp: () => void) {
  const log = new EmbeddedLog({ file });
  const transport = await connected(log);
  return {
    transport,
    another: () => connected(log),
    close: async () => {
      await transport.close();
      log.close();
      cleanUp();
    },
  };
}

transportSuite("the embedded transport in memory", () => opened(":memory:", () => {}), { sessionTimeoutMs: 300 });

transportSuite(
  "the embedded transport in a file",
  () => {
    const directory = mkdtempSync(join(tmpdir(), "embedded-log-"));
    return opened(join(directory, "log.db"), () => rmSync(directory, { recursive: true }));
  },
  { sessionTimeoutMs: 300 },
);
