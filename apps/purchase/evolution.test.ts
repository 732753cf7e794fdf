import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EmbeddedLog, EmbeddedTransport } from "millrace";
import { onTestFinished } from "vitest";
import { evolutionSuite } from "./evolution.suite.js";

evolutionSuite("the embedded log", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-evolution-"));
  const log = new EmbeddedLog({ file: ":memory:" });
  onTestFinished(async () => {
    log.close();
    await rm(stateDir, { recursive: true, force: true });
  });
  return { stateDir, transport: () => new EmbeddedTransport({ log }) };
});
