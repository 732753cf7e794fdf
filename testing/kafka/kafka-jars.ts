import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

export const KAFKA_VERSION = "4.1.0";

const run = promisify(execFile);

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>millrace</groupId><artifactId>test-broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
  </dependencies>
</project>
`;

/** The folder of Apache Kafka's jars: `$KAFKA_JARS`, or a cache in the home directory. */
function jarsDirectory(): string {
  return process.env.KAFKA_JARS ?? join(homedir(), ".cache", "millrace", `kafka-${KAFKA_VERSION}`);
}

function runs(command: string, ...parameters: string[]): Promise<boolean> {
  return run(command, parameters, { timeout: 20_000 }).then(
    () => true,
    () => false,
  );
}

/** Why a broker cannot be run from jars here, or undefined when it can. */
export async function missingForJars(): Promise<string | undefined> {
  if (!(await runs("java", "-version"))) return "Java 17 (`java`)";
  if (!hasBroker(jarsDirectory()) && !(await runs("mvn", "-version"))) return "Maven (`mvn`)";
  return undefined;
}

/** The class path of a whole Apache Kafka; fetched once with Maven (46 jars, 43 MB). */
export async function kafkaClassPath(): Promise<string> {
  const directory = jarsDirectory();
  if (!hasBroker(directory)) await download(directory);
  return join(directory, "*");
}

function hasBroker(directory: string): boolean {
  return existsSync(join(directory, `kafka_2.13-${KAFKA_VERSION}.jar`));
}

async function download(directory: string): Promise<void> {
  const project = await mkdtemp(join(tmpdir(), "millrace-kafka-jars-"));
  await mkdir(dirname(directory), { recursive: true });
  // Maven writes beside the final place, so that the folder appears whole or not at all: two test runs may start at once.
  const partial = await mkdtemp(`${directory}.partial-`);
  try {
    await writeFile(join(project, "pom.xml"), POM);
    await run(
      "mvn",
      ["-q", "-B", "-f", join(project, "pom.xml"), "dependency:copy-dependencies", `-DoutputDirectory=${partial}`],
      { timeout: 600_000 },
    );
    await rename(partial, directory);
  } catch (cause) {
    if (!hasBroker(directory)) {
      throw new Error(
        `Apache Kafka ${KAFKA_VERSION} could not be fetched with Maven; set KAFKA_JARS to a folder of its jars, or KAFKA_BROKERS to a running broker`,
        { cause },
      );
    }
  } finally {
    await rm(partial, { recursive: true, force: true });
    await rm(project, { recursive: true, force: true });
  }
}
