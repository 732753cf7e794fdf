import type { AskableAcl, TopicAdmin } from "millrace";
import type { ConnectionSettings } from "./connection.js";
import type { TopicNames } from "./topics.js";
import { STORE } from "./topology.js";

export type AccessSettings = ConnectionSettings & TopicNames & { readonly applicationId: string };

/** What is not granted on one resource, and the command that grants it. */
export interface MissingAccess {
  readonly text: string;
  /** True where `run` goes on without it. */
  readonly isMinor: boolean;
}

/** One resource as an ACL names it, what `run` does there, and a name that stands for all with a prefix. */
interface Needed {
  readonly resource: AskableAcl["resource"];
  readonly pattern: string;
  readonly isPrefix: boolean;
  readonly asked: string;
  readonly operations: readonly AskableAcl["operation"][];
}

/** What the brokers' authorizer does not let `run` do, by the list of docs/security.md. Nothing is changed. */
export async function missingAccess(admin: TopicAdmin, settings: AccessSettings): Promise<readonly MissingAccess[]> {
  const needed = neededAccess(settings);
  const refused = await admin.refused(
    needed.flatMap((one) => one.operations.map((operation) => aclOf(one, operation))),
  );
  const missing = needed.map((one) => ({
    ...one,
    operations: one.operations.filter((operation) =>
      refused.some((acl) => acl.resource === one.resource && acl.name === one.asked && acl.operation === operation),
    ),
  }));
  const existing = await existingOf(
    admin,
    missing.filter(({ operations }) => operations.includes("Create")),
  );
  return missing
    .map((one) => ({
      ...one,
      operations: one.operations.filter((each) => each !== "Create" || !existing.has(one.asked)),
    }))
    .filter(({ operations }) => operations.length > 0)
    .map((one) => ({ text: textOf(one, settings), isMinor: one.operations.join() === "Delete" }));
}

function neededAccess({ applicationId, ...topics }: AccessSettings): readonly Needed[] {
  const own = `${applicationId}-`;
  const topic = (name: string, ...operations: Needed["operations"]): Needed => ({
    resource: "topic",
    // What the prefix covers is granted by it.
    ...(name.startsWith(own) ? { pattern: own, isPrefix: true } : { pattern: name, isPrefix: false }),
    asked: name,
    operations,
  });
  const outputs = [topics.outputTopic, topics.lateTopic, topics.expiredTopic, topics.deadLetterTopic];
  return [
    topic(topics.inputTopic, "Read", "DescribeConfigs"),
    ...outputs.map((name) => topic(name, "Write", "Create", "DescribeConfigs")),
    topic(`${own}${STORE}-changelog`, "Read", "Write", "Create", "DescribeConfigs", "Delete"),
    { resource: "group", pattern: applicationId, isPrefix: false, asked: applicationId, operations: ["Read"] },
    // Each thread commits under an id of its own; this one is nobody's.
    { resource: "transactional id", pattern: own, isPrefix: true, asked: `${own}doctor`, operations: ["Write"] },
  ];
}

function aclOf({ resource, asked }: Needed, operation: AskableAcl["operation"]): AskableAcl {
  return { operation, resource, name: asked };
}

/** Topics that are there need no Create. One that may not be seen is asked for by itself: it hides no other. */
async function existingOf(admin: TopicAdmin, needed: readonly Needed[]): Promise<ReadonlySet<string>> {
  const existing = new Set<string>();
  for (const { asked, operations } of needed) {
    const isHidden = operations.includes("Write");
    if (!isHidden && (await admin.describe([asked], "Write")).length > 0) existing.add(asked);
  }
  return existing;
}

function textOf({ resource, pattern, isPrefix, asked, operations }: Needed, settings: AccessSettings): string {
  const name = resource === "topic" ? asked : `${pattern}${isPrefix ? "*" : ""}`;
  const verb = operations.length === 1 ? "is" : "are";
  return `${operations.join(", ")} on ${resource} ${name} ${verb} not granted: ${commandOf({ resource, pattern, isPrefix, operations }, settings)}`;
}

function commandOf(
  { resource, pattern, isPrefix, operations }: Pick<Needed, "resource" | "pattern" | "isPrefix" | "operations">,
  { kafkaBrokers = [], kafkaSaslUsername }: AccessSettings,
): string {
  return [
    `kafka-acls.sh --bootstrap-server ${kafkaBrokers.join(",")} --command-config admin.properties --add`,
    `--allow-principal User:${kafkaSaslUsername ?? "NAME"}`,
    ...operations.map((operation) => `--operation ${operation}`),
    `--${resource.replace(" ", "-")} ${pattern}`,
    ...(isPrefix ? ["--resource-pattern-type prefixed"] : []),
  ].join(" ");
}
