import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface MavenFile {
  readonly group: string;
  readonly artifact: string;
  readonly version: string;
  readonly type?: string;
  readonly classifier?: string;
}

/** A file of Maven Central's, fetched once into a cache in the home directory. Throws where there is no Maven to fetch it. */
export async function mavenFile({ group, artifact, version, type = "jar", classifier }: MavenFile): Promise<string> {
  const directory = join(homedir(), ".cache", "millrace", `${artifact}-${version}`);
  const file = join(directory, `${artifact}-${version}${classifier === undefined ? "" : `-${classifier}`}.${type}`);
  if (existsSync(file)) return file;
  await mkdir(dirname(directory), { recursive: true });
  // Beside its final place, so that it appears whole or not at all: two test runs may start at once.
  const partial = await mkdtemp(`${directory}.partial-`);
  const coordinates = [group, artifact, version, type, ...(classifier === undefined ? [] : [classifier])].join(":");
  try {
    const parameters = ["-q", "-B", "dependency:copy", `-Dartifact=${coordinates}`, `-DoutputDirectory=${partial}`];
    await run("mvn", parameters, { timeout: 600_000 });
    await rename(partial, directory);
  } catch (cause) {
    if (!existsSync(file)) throw new Error(`${coordinates} could not be fetched with Maven (\`mvn\`)`, { cause });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return file;
}
