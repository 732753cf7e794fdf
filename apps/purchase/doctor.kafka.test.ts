import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KafkaJsTransport, silentLogger } from "millrace";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type AclAdmin,
  aclText,
  documentedAcls,
  type GrantedAcl,
  startAuthorizingKafka,
} from "../../testing/kafka/acls.suite.js";
import type { SecuredKafka } from "../../testing/kafka/secured-kafka.js";
import { LogProbe } from "../../testing/log-probe.suite.js";
import { runCommand } from "./commands.js";

const DOCUMENTED = documentedAcls();
const OUTPUTS = ["purchase-aggregates", "late-purchases", "expired-purchases", "purchases-dead-letter"];

let kafka: SecuredKafka;
let acls: AclAdmin;
let probe: LogProbe;
let stateDir: string;

beforeAll(async () => {
  ({ kafka, acls } = await startAuthorizingKafka());
  probe = new LogProbe(new KafkaJsTransport({ client: { brokers: [...kafka.brokers] }, logger: silentLogger }));
  await probe.transport.connect();
  stateDir = await mkdtemp(join(tmpdir(), "millrace-doctor-"));
  await probe.createTopic("purchases", 3);
  await acls.grant(DOCUMENTED);
});

afterAll(async () => {
  await acls?.disconnect();
  await probe?.close();
  await kafka?.stop();
  await rm(stateDir, { recursive: true, force: true });
});

interface Finding {
  readonly check: string;
  readonly result: "ok" | "warning" | "failed";
  readonly detail: string;
}

async function doctor(): Promise<{ readonly code: number; readonly findings: readonly Finding[] }> {
  let output = "";
  const write = (text: string): boolean => {
    output += text;
    return true;
  };
  const stream = { write, isTTY: false } as unknown as NodeJS.WriteStream;
  const environment = {
    KAFKA_BROKERS: kafka.at.SASL,
    KAFKA_SASL_MECHANISM: "SCRAM-SHA-256",
    KAFKA_SASL_USERNAME: kafka.user.username,
    KAFKA_SASL_PASSWORD: kafka.user.password,
    STATE_DIR: stateDir,
    HTTP_PORT: "0",
  };
  const code = await runCommand(["doctor", "--json"], { stdout: stream, stderr: stream, environment });
  return { code, findings: JSON.parse(output) as Finding[] };
}

const aclFindings = ({ findings }: { readonly findings: readonly Finding[] }): Finding[] =>
  findings.filter(({ check }) => check === "acls");
const failures = (findings: readonly Finding[]): string[] =>
  findings.filter(({ result }) => result === "failed").map(({ check }) => check);

/** The arguments that docs/security.md grants it with. */
function grantOf({ operation, resource, name, isPrefix }: GrantedAcl): RegExp {
  const pattern = `--${resource.replace(" ", "-")} ${name}${isPrefix ? " --resource-pattern-type prefixed" : ""}$`;
  return new RegExp(
    `--allow-principal User:${kafka.user.username} .*--operation ${operation} (--operation .*)?${pattern}`,
  );
}

test("with exactly the documented ACLs, and before the outputs exist, nothing is missing", async () => {
  const { code, findings } = await doctor();
  expect(failures(findings)).toEqual([]);
  expect(code).toBe(0);
  expect(aclFindings({ findings })).toEqual([
    { check: "acls", result: "ok", detail: "`run` may do all that it needs" },
  ]);
});

test.each(DOCUMENTED.map((acl) => [aclText(acl), acl] as const))(
  "without %s it names it, with the command that grants it",
  async (_, acl) => {
    await acls.revoke([acl]);
    const { code, findings } = await doctor();
    await acls.grant([acl]);
    const said = aclFindings({ findings });
    expect(said.map(({ detail }) => detail)).not.toEqual([]);
    for (const { detail } of said) {
      expect(detail).toMatch(new RegExp(`^${acl.operation} on .* is not granted: kafka-acls\\.sh `));
      expect(detail.replace(/ \(without.*$/, "")).toMatch(grantOf(acl));
    }
    // Changelogs that are not cut are no reason not to start.
    const isMinor = acl.operation === "Delete";
    expect(said.map(({ result }) => result)).toEqual(said.map(() => (isMinor ? "warning" : "failed")));
    expect(code).toBe(isMinor ? 0 : 1);
    // What is not granted is said once, and not by each check that trips over it.
    expect(new Set(failures(findings))).toEqual(new Set(isMinor ? [] : ["acls"]));
  },
);

test("with none of them it names all of them at once", async () => {
  await acls.revoke(DOCUMENTED);
  const said = aclFindings(await doctor()).map(({ detail }) => detail);
  await acls.grant(DOCUMENTED);
  for (const acl of DOCUMENTED) expect(said).toContainEqual(expect.stringMatching(grantOf(acl)));
});

test("topics that are there need no Create, and doctor makes none", async () => {
  const created = DOCUMENTED.filter(({ operation }) => operation === "Create");
  expect(await probe.transport.topics.describe(OUTPUTS)).toEqual([]);
  for (const topic of [...OUTPUTS, "purchases-purchases-per-user-changelog"]) await probe.createTopic(topic, 3);
  await acls.revoke(created);
  const { findings } = await doctor();
  await acls.grant(created);
  expect(failures(findings)).toEqual([]);
});
