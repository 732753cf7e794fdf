import { execFile } from "node:child_process";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const CLI = join(ROOT, "dist/apps/purchase/cli.js");
const NO_SOURCES = /^(node_modules|dist|bench|examples|\.git|\.cache)(\/|$)|\.(test|test-d|suite)\.ts$/;

/** When the newest source of the app changed. */
export async function changedMs(): Promise<number> {
  const names = await readdir(ROOT, { recursive: true });
  const sources = names.filter(
    (name) => /\.(ts|mjs|html|css)$/.test(name) && !NO_SOURCES.test(name.replaceAll("\\", "/")),
  );
  return Math.max(...(await Promise.all(sources.map(async (name) => (await stat(join(ROOT, name))).mtimeMs))));
}

/** Compiles the app if it is not compiled, or its sources have changed since: what runs is what a user runs. */
export async function buildIfStale(): Promise<void> {
  const builtMs = await stat(CLI).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
  if (builtMs > (await changedMs())) return;
  await promisify(execFile)("npm", ["run", "build"], { cwd: ROOT });
}
