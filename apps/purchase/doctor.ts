import { createServer } from "node:net";
import { describeState, NotAuthorizedError, RecordCursor, type Transport } from "millrace";
import { type ConnectionSettings, connectKafka } from "./connection.js";
import { missingAccess } from "./doctor-access.js";
import type { CommandIo } from "./io.js";
import type { DOCTOR, HTTP, INSTANCE } from "./setting-table.js";
import type { Values } from "./settings.js";
import { colorsFor } from "./terminal.js";
import { formatBytes } from "./text.js";
import { type TopicNames, topicWarnings } from "./topics.js";

export type DoctorSettings = ConnectionSettings &
  TopicNames &
  Values<
    Pick<typeof INSTANCE, "applicationId" | "stateDir"> &
      Pick<typeof HTTP, "httpHost" | "httpPort" | "httpToken"> &
      typeof DOCTOR
  >;

/** One thing looked at: fine, or what is wrong with it and the way out. */
interface Finding {
  readonly check: string;
  readonly result: "ok" | "warning" | "failed";
  readonly detail: string;
}

const NODE_MIN = [20, 19] as const;
const CLOCK_SKEW_MS_MAX = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;

/** The `doctor` command: looks at everything that `run` needs, changes nothing, and says what is wrong. */
export async function doctor(settings: DoctorSettings, io: CommandIo): Promise<number> {
  const findings = [nodeVersion(), stateDirectory(settings), await httpPort(settings), ...(await kafka(settings, io))];
  if (settings.json) io.stdout.write(`${JSON.stringify(findings)}\n`);
  else io.stdout.write(findings.map((finding) => line(finding, io)).join(""));
  return findings.some(({ result }) => result === "failed") ? 1 : 0;
}

function line({ check, result, detail }: Finding, io: CommandIo): string {
  const colors = colorsFor(io.stdout, io.environment);
  const mark = { ok: colors.green("ok     "), warning: colors.yellow("warning"), failed: colors.red("failed ") }[
    result
  ];
  return `${mark}  ${check.padEnd(16)}${detail}\n`;
}

const ok = (check: string, detail: string): Finding => ({ check, result: "ok", detail });
const failed = (check: string, detail: string): Finding => ({ check, result: "failed", detail });
const warning = (check: string, detail: string): Finding => ({ check, result: "warning", detail });

/** @param isNamed what is not granted has a finding already */
async function checked(
  check: string,
  work: () => Promise<Finding | readonly Finding[]>,
  { isNamed = false }: { readonly isNamed?: boolean } = {},
): Promise<readonly Finding[]> {
  try {
    return [await work()].flat();
  } catch (error) {
    if (isNamed && error instanceof NotAuthorizedError) return [];
    return [failed(check, error instanceof Error ? error.message : String(error))];
  }
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const isNew = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
  const detail = `Node.js ${process.versions.node}`;
  return isNew ? ok("node", detail) : failed("node", `${detail} is too old: install ${NODE_MIN.join(".")} or newer`);
}

/** Opening the module shows that better-sqlite3 was built for this Node and machine. */
function stateDirectory({ stateDir, applicationId }: DoctorSettings): Finding {
  try {
    const { path, isLocked, files, bytes } = describeState({ stateDir, applicationId });
    const size = files === 0 ? "empty" : `${files} files, ${formatBytes(bytes)}`;
    return isLocked
      ? warning(
          "state directory",
          `${path}: ${size}; an instance is running on it, another one needs its own STATE_DIR`,
        )
      : ok("state directory", `${path}: ${size}, can be written`);
  } catch (error) {
    return failed("state directory", error instanceof Error ? error.message : String(error));
  }
}

async function httpPort({ httpHost, httpPort: port, httpToken }: DoctorSettings): Promise<Finding> {
  const where = `${httpHost}:${port}`;
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    const server = createServer();
    server.once("error", resolve).listen(port, httpHost, () => server.close(() => resolve(undefined)));
  });
  if (error?.code === "EADDRINUSE")
    return warning("http port", `${where} is in use, by an instance or another program: set HTTP_PORT (0 = any)`);
  if (error !== undefined)
    return failed("http port", `cannot listen on ${where} (${error.code}): set HTTP_HOST and HTTP_PORT`);
  const isOpen = !/^(127\.|localhost$|::1$)/.test(httpHost) && httpToken === undefined;
  return isOpen
    ? warning("http port", `${where} is free, and whoever reaches it may read it: set HTTP_TOKEN`)
    : ok("http port", `${where} is free`);
}

async function kafka(settings: DoctorSettings, io: CommandIo): Promise<readonly Finding[]> {
  if (settings.kafkaBrokers === undefined)
    return [failed("brokers", "KAFKA_BROKERS is not set: `run` needs it; `demo` does without")];
  const transport = connectKafka("doctor", settings, io.logger, { requestTimeout: CONNECT_TIMEOUT_MS });
  try {
    const reached = await checked("brokers", async () => {
      await transport.connect();
      return ok("brokers", `${settings.kafkaBrokers?.join(", ")} answer, in versions that are supported`);
    });
    if (reached.some(({ result }) => result === "failed")) return reached;
    const acls = await checked("acls", () => access(transport, settings));
    const named = { isNamed: acls.some(({ result }) => result === "failed") };
    return [
      ...reached,
      ...acls,
      ...(await checked("input topic", () => inputTopic(transport, settings), named)),
      ...(await checked("output topics", () => outputTopics(transport, settings), named)),
      ...(await checked("group", () => group(transport, settings), named)),
      ...(await checked("clock", () => clock(transport, settings), named)),
    ];
  } finally {
    await transport.close();
  }
}

async function access(transport: Transport, settings: DoctorSettings): Promise<readonly Finding[]> {
  const missing = await missingAccess(transport.topics, settings);
  if (missing.length === 0) return [ok("acls", "`run` may do all that it needs")];
  return missing.map(({ text, isMinor }) =>
    isMinor ? warning("acls", `${text} (without it changelogs grow for ever)`) : failed("acls", text),
  );
}

async function inputTopic(transport: Transport, { inputTopic: topic }: DoctorSettings): Promise<Finding> {
  const [found] = await transport.topics.describe([topic], "Read");
  if (found === undefined)
    return warning("input topic", `there is no topic "${topic}": \`run\` waits for it, \`produce\` makes it`);
  return ok("input topic", `${topic}, ${found.partitions} partitions`);
}

async function outputTopics(transport: Transport, settings: DoctorSettings): Promise<readonly Finding[]> {
  const { outputTopic, lateTopic, expiredTopic, deadLetterTopic } = settings;
  const outputs = [outputTopic, lateTopic, expiredTopic, deadLetterTopic];
  const existing = (await transport.topics.describe(outputs, "Write")).map(({ topic }) => topic);
  const warnings = await topicWarnings(transport.topics, settings, existing);
  const missing = outputs.filter((topic) => !existing.includes(topic));
  const state = missing.length === 0 ? "all there" : `\`run\` will make ${missing.join(", ")}`;
  return warnings.length > 0 ? warnings.map((text) => warning("output topics", text)) : [ok("output topics", state)];
}

/** Members and offsets, as joining sees them. */
async function group(transport: Transport, { applicationId, inputTopic: topic }: DoctorSettings): Promise<Finding> {
  const members = await transport.topics.members(applicationId);
  const partitions = [{ topic, partition: 0 }];
  await transport.topics.committedOffsets(applicationId, partitions, { requireStable: false });
  return ok("group", `"${applicationId}" can be read, ${members.length} live members`);
}

/** Against the newest purchase: a clock that is behind what producers write makes every purchase come from the future. */
async function clock(transport: Transport, { inputTopic: topic }: DoctorSettings): Promise<Finding> {
  const newestMs = await newestTimestampMs(transport, topic);
  if (newestMs === undefined) return ok("clock", "nothing to compare with: the input topic has no records");
  const aheadMs = newestMs - Date.now();
  return aheadMs > CLOCK_SKEW_MS_MAX
    ? warning(
        "clock",
        `the newest record is ${Math.round(aheadMs / 1_000)} s ahead of this machine's clock: check it (timedatectl), or the producers'`,
      )
    : ok("clock", "not behind the newest record");
}

async function newestTimestampMs(transport: Transport, topic: string): Promise<number | undefined> {
  const [found] = await transport.topics.describe([topic], "Read");
  const partitions = Array.from({ length: found?.partitions ?? 0 }, (_, partition) => ({ topic, partition }));
  const ends = await transport.topics.offsets(partitions, "latest");
  const fetcher = transport.openFetcher({ name: "doctor", readCommitted: true });
  try {
    const positions = ends
      .filter(({ offset }) => offset > 0)
      .map(({ offset, ...at }) => ({ ...at, offset: offset - 1 }));
    if (positions.length === 0) return undefined;
    const answers = await fetcher.fetch({ positions, maxWaitMs: 500, bytesMax: 1 << 20, partitionBytesMax: 1 << 16 });
    const times = answers.flatMap((answer) => lastTimestampsMs(answer));
    return times.length === 0 ? undefined : Math.max(...times);
  } finally {
    await fetcher.close();
  }
}

function lastTimestampsMs(fetched: ConstructorParameters<typeof RecordCursor>[0]): number[] {
  const cursor = new RecordCursor(fetched);
  const times: number[] = [];
  while (cursor.next()) times.push(cursor.timestampMs);
  return times;
}
