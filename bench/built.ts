import { execFile } from "node:child_process";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { buildIfStale, changedMs } from "./build-if-stale.js";

const run = promisify(execFile);

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const PEER = join(ROOT, "bench/peer");
const PEER_BUILD = join(ROOT, ".cache/bench-peer");

export const PEER_CLASSES = join(PEER_BUILD, "classes");
export const PEER_JARS = join(PEER_BUILD, "lib");
const BARE_LOOP_SOURCES = ["bench/bare-loop.ts", "bench/batches.ts"];
export const BARE_LOOP = join(ROOT, ".cache/bench/bench/bare-loop.js");

/** Compiles what is measured, where it is not compiled or has changed since: the app, the bare loop and the peer. */
export async function buildContenders(): Promise<void> {
  await buildIfStale();
  const own = await Promise.all(BARE_LOOP_SOURCES.map((name) => modifiedMs(join(ROOT, name))));
  if (Math.max(await changedMs(), ...own) >= (await modifiedMs(BARE_LOOP))) {
    await run("npx", ["tsc", "-p", "bench/tsconfig.json"], { cwd: ROOT });
  }
  await buildPeer();
}

/** @throws when there is no Java 17 or no Maven */
async function buildPeer(): Promise<void> {
  const names = await readdir(PEER, { recursive: true });
  const changes = await Promise.all(names.map(async (name) => (await stat(join(PEER, name))).mtimeMs));
  if (Math.max(...changes) < (await modifiedMs(join(PEER_CLASSES, "millrace/bench/Peer.class")))) return;
  try {
    await run("mvn", ["-q", "-B", "-f", join(PEER, "pom.xml"), "clean", "compile"], { timeout: 600_000 });
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the Kafka Streams peer is not built; it needs a JDK 17 and Maven: ${said}`, { cause });
  }
}

/** Before all times for a file that is not there. */
function modifiedMs(file: string): Promise<number> {
  return stat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}
