import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { buildIfStale } from "../../bench/build-if-stale.js";
import { PipelineProcess } from "../../bench/pipeline-process.js";
import { string } from "../../serdes/serde.js";
import {
  type AclAdmin,
  aclText,
  documentedAcls,
  type GrantedAcl,
  startAuthorizingKafka,
} from "../../testing/kafka/acls.suite.js";
import type { SecuredKafka } from "../../testing/kafka/secured-kafka.js";
import { eventually, LogProbe, type ProbeRecord, unique } from "../../testing/log-probe.suite.js";
import { StreamsBuilder } from "../../topology/dsl.js";
import type { ProcessorTopology } from "../../topology/processor-topology.js";
import { tumbling } from "../../topology/windows.js";
import type { ProcessingGuarantee, StreamsConfig } from "../config.js";
import { Instance } from "../engine.suite.js";
import { NotAuthorizedError } from "../errors.js";
import { silentLogger } from "../logger.js";
import { KafkaJsTransport } from "./transport.js";

const CLI = fileURLToPath(new URL("../../dist/apps/purchase/cli.js", import.meta.url));
const DOCUMENTED = documentedAcls();
const MINUTE_MS = 60_000;
const ERROR_LEVEL = 50;

let kafka: SecuredKafka;
let acls: AclAdmin;
let probe: LogProbe;
let directory: string;

beforeAll(async () => {
  await buildIfStale();
  ({ kafka, acls } = await startAuthorizingKafka());
  probe = new LogProbe(new KafkaJsTransport({ client: { brokers: [...kafka.brokers] }, logger: silentLogger }));
  await probe.transport.connect();
  directory = await mkdtemp(join(tmpdir(), "millrace-acl-"));
});

afterAll(async () => {
  await acls?.disconnect();
  await probe?.close();
  await kafka?.stop();
  await rm(directory, { recursive: true, force: true });
});

describe("the purchase app, with its default names", () => {
  const PURCHASES = { operation: "Write", resource: "topic", name: "purchases", isPrefix: false } as const;
  let made = 0;

  beforeAll(() => acls.grant(DOCUMENTED));
  afterAll(() => acls.revoke(DOCUMENTED));

  function start(command: string, flags: readonly string[] = []): PipelineProcess {
    const environment = {
      KAFKA_BROKERS: kafka.at.SASL,
      KAFKA_SASL_MECHANISM: "SCRAM-SHA-256",
      KAFKA_SASL_USERNAME: kafka.user.username,
      KAFKA_SASL_PASSWORD: kafka.user.password,
      STATE_DIR: join(directory, unique("state")),
      // One member that comes back, so that it never waits for the session of the one before.
      GROUP_INSTANCE_ID: "one",
      // And one that was refused in the middle of its work is out of its group soon.
      SESSION_TIMEOUT_MS: "6000",
    };
    const process = new PipelineProcess(command === "run" ? environment : { ...environment, STATE_DIR: "" }, [
      CLI,
      command,
      ...flags,
    ]);
    onTestFinished(async () => void (await process.end("SIGKILL")));
    return process;
  }

  function lines(process: PipelineProcess, levelMin: number): string[] {
    const found = process.output.split("\n").filter((line) => line.startsWith("{"));
    const parsed = found.map((line) => JSON.parse(line) as { readonly level: number; readonly msg: string });
    return parsed.filter(({ level }) => level >= levelMin).map(({ msg }) => msg);
  }

  /** Something to do for the next instance. */
  async function writePurchases(): Promise<void> {
    const records = Array.from({ length: 9 }, (): ProbeRecord => {
      const user = `user-${made++ % 3}`;
      const purchase = { transaction_id: `t${made}`, user_id: user, goods: "tea", quantity: 1, price: 2, amount: 2 };
      return { key: user, value: JSON.stringify({ ...purchase, timestamp: new Date().toISOString() }) };
    });
    await probe.write("purchases", records);
  }

  test("`produce` needs Write and Create on its topic", async () => {
    const own: GrantedAcl[] = [PURCHASES, { ...PURCHASES, operation: "Create" }];
    await acls.grant(own);
    const producer = start("produce", ["--count", "100", "--rate", "0", "--partitions", "3"]);
    expect(await producer.ended, producer.output).toBe(0);
    await acls.revoke([own[1] as GrantedAcl]);
    const again = start("produce", ["--count", "100", "--rate", "0", "--partitions", "3"]);
    expect(await again.ended, "Create is not needed where the topic exists").toBe(0);
    await acls.revoke([PURCHASES]);
    const forbidden = start("produce", ["--count", "100", "--partitions", "3"]);
    expect(await forbidden.ended).toBe(1);
    expect(forbidden.output).toMatch(/^purchase: .*grant it Write on topic "purchases" by an ACL\n$/m);
  });

  test("`run` works with exactly the documented ACLs, and warns of nothing", async () => {
    const instance = start("run");
    await eventually(
      () => `the instance is ready; it said:\n${instance.output}`,
      () => instance.isReady(),
    );
    await writePurchases();
    await probe.caughtUp("purchases", "purchases");
    expect((await probe.read("purchase-aggregates")).length).toBeGreaterThan(0);
    expect(await instance.end("SIGTERM")).toBe(0);
    expect(lines(instance, 40)).toEqual([]);
  });

  // What was deleted to be created stays missing until an instance runs: those come last.
  const isCreate = ({ operation }: GrantedAcl): boolean => operation === "Create";
  const checked = DOCUMENTED.filter((acl) => acl.operation !== "Delete" && !isCreate(acl));
  const needed = [...checked, ...DOCUMENTED.filter(isCreate)];
  test.each(needed.map((acl) => [aclText(acl), acl] as const))("`run` without %s says so and ends", async (_, acl) => {
    await writePurchases();
    if (acl.operation === "Create") {
      const topic = acl.isPrefix ? "purchases-purchases-per-user-changelog" : acl.name;
      // A changelog is made only for a group that has none yet: one that was deleted is refused.
      if (acl.isPrefix) {
        await eventually("the group is empty", async () => {
          return (await probe.transport.topics.members("purchases")).length === 0;
        });
        await probe.transport.topics.deleteGroup("purchases");
      }
      await probe.transport.topics.delete([topic]);
    }
    await acls.revoke([acl]);
    const instance = start("run");
    const code = await instance.ended;
    await acls.grant([acl]);
    expect(code, instance.output).toBe(1);
    const grant = `grant it ${acl.operation} on ${acl.resource} "${acl.name}${acl.isPrefix ? "" : '"'}`;
    expect(lines(instance, ERROR_LEVEL)).toEqual([expect.stringContaining(grant)]);
  });

  test("with the last one granted again it works again", async () => {
    const instance = start("run");
    await probe.caughtUp("purchases", "purchases");
    await eventually("it is ready", () => instance.isReady());
    expect(await instance.end("SIGTERM")).toBe(0);
  });
});

describe.each<ProcessingGuarantee>(["at_least_once", "exactly_once"])("a topology under %s", (guarantee) => {
  /** The documented ACLs, for another application. */
  function aclsOf(id: string): GrantedAcl[] {
    return DOCUMENTED.map((acl) => ({ ...acl, name: acl.name.replace(/^purchases(?=-$|$)/, id) }));
  }

  /** A repartition topic, a changelog that is cut as windows end, and a sink. */
  function topology(input: string, output: string): ProcessorTopology {
    const builder = new StreamsBuilder();
    builder
      .stream(input, { key: string, value: string, timestamp: (value) => Number(value) })
      .groupBy((value) => `half-${Number(value) % 2}`, { key: string })
      .windowedBy(tumbling({ sizeMs: MINUTE_MS, graceMs: 0 }))
      .count("per-half")
      .toStream()
      .to(output);
    return builder.build();
  }

  async function application(config: Partial<StreamsConfig> = {}) {
    const id = unique("acl");
    const granted = aclsOf(id);
    await acls.grant(granted);
    onTestFinished(() => acls.revoke(granted));
    await probe.createTopic(id, 2);
    await probe.createTopic("purchase-aggregates", 2);
    const client = { brokers: [kafka.at.SASL], sasl: { mechanism: "scram-sha-512", ...kafka.user } as const };
    const instance = new Instance(topology(id, "purchase-aggregates"), {
      applicationId: id,
      guarantee,
      transport: new KafkaJsTransport({ client, logger: silentLogger }),
      stateDir: join(directory, id),
      sessionTimeoutMs: 6_000,
      changelogDeleteDelayMs: 0,
      ...config,
    });
    onTestFinished(() => instance.streams.close());
    await instance.streams.start();
    await instance.running();
    return { id, granted, instance, changelog: `${id}-per-half-changelog` };
  }

  let nowMs = 0;

  /** An event time in the next window. */
  function next(): number {
    nowMs += 3 * MINUTE_MS;
    return nowMs;
  }

  /** Event time goes on by an hour, so that every window before it ends. */
  async function writeHour(id: string): Promise<void> {
    const records = Array.from(
      { length: 20 },
      (_, at): ProbeRecord => ({ key: String(at), value: String(next() + at) }),
    );
    await probe.write(id, records);
    await probe.caughtUp(id, id);
  }

  function one(granted: readonly GrantedAcl[], operation: string, isPrefix: boolean, name: string): GrantedAcl {
    const found = granted.find((acl) => acl.operation === operation && acl.isPrefix === isPrefix && acl.name === name);
    if (found === undefined) throw new Error(`docs/security.md grants no ${operation} on ${name}`);
    return found;
  }

  test("works with exactly the documented ACLs, and its changelog is cut", async () => {
    const { id, instance, changelog } = await application();
    await writeHour(id);
    await eventually("the changelog is cut", async () => {
      await writeHour(id);
      return (await probe.lows(changelog)).some((low) => low > 0);
    });
    expect((await probe.read("purchase-aggregates")).length).toBeGreaterThan(0);
    await instance.streams.close();
    expect(instance.streams.state).toBe("NOT_RUNNING");
    expect(instance.lines.filter(({ message }) => message.includes("ACL"))).toEqual([]);
  });

  test("without Delete on its changelogs it goes on, and says once for each topic what to grant", async () => {
    const { id, granted, instance, changelog } = await application();
    const deletion = one(granted, "Delete", true, `${id}-`);
    await acls.revoke([deletion]);
    const said = (): string[] => instance.lines.map(({ message }) => message).filter((line) => line.includes("ACL"));
    await eventually("it says so", async () => {
      await writeHour(id);
      return said().some((line) => line.includes(`grant it Delete on topic "${changelog}" by an ACL`));
    });
    // Several more tries: there is one a second.
    for (const endMs = performance.now() + 4_000; performance.now() < endMs; ) await writeHour(id);
    expect(new Set(said()).size).toBe(said().length);
    expect(instance.streams.state).toBe("RUNNING");
    expect((await probe.lows(changelog)).every((low) => low === 0)).toBe(true);

    await acls.grant([deletion]);
    await eventually("the changelog is cut after all", async () => {
      await writeHour(id);
      return (await probe.lows(changelog)).some((low) => low > 0);
    });
  });

  test.each([
    ["Read", false, (id: string) => id, (id: string) => id],
    ["Write", false, () => "purchase-aggregates", () => "purchase-aggregates"],
    ["Write", true, (id: string) => `${id}-`, (id: string) => `${id}-per-half-`],
  ] as const)(
    "an instance at work whose %s (prefixed: %s) is revoked ends with its name",
    async (operation, isPrefix, granting, naming) => {
      const { id, granted, instance } = await application();
      await writeHour(id);
      await acls.revoke([one(granted, operation, isPrefix, granting(id))]);
      // What makes it write; a repartition topic is written before the changelog.
      const values = Array.from({ length: 10 }, (_, at) => ({
        key: String(at),
        value: String(next() + at),
      }));
      await probe.write(id, values);
      const failure = await instance.failure();
      expect(failure.message).toContain(`grant it ${operation} on topic "${naming(id)}`);
      if (operation === "Read") expect(failure).toBeInstanceOf(NotAuthorizedError);
    },
  );

  test.each([
    ["Read", "group", (id: string) => id],
    ["Write", "transactional id", (id: string) => `${id}-`],
  ] as const)("%s on %s is revoked while it works: it ends with its name", async (operation, resource, naming) => {
    const { id, granted, instance } = await application();
    const found = granted.filter((acl) => acl.operation === operation && acl.resource === resource);
    await acls.revoke(found);
    await probe.write(id, [{ key: "k", value: String(next()) }]);
    expect((await instance.failure()).message).toContain(`grant it ${operation} on ${resource} "${naming(id)}`);
  });
});
