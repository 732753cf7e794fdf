import { readFileSync } from "node:fs";
import {
  type AclEntry,
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  type Admin,
  Kafka,
  logLevel,
  ResourcePatternTypes,
} from "kafkajs";
import { eventually } from "../log-probe.suite.js";
import { type SecuredKafka, startSecuredKafka } from "./secured-kafka.js";

/** One operation on one resource, as docs/security.md grants it. */
export interface GrantedAcl {
  readonly operation: "Read" | "Write" | "Create" | "Delete" | "DescribeConfigs";
  readonly resource: "topic" | "group" | "transactional id";
  readonly name: string;
  readonly isPrefix: boolean;
}

const OPERATIONS = {
  Read: AclOperationTypes.READ,
  Write: AclOperationTypes.WRITE,
  Create: AclOperationTypes.CREATE,
  Delete: AclOperationTypes.DELETE,
  DescribeConfigs: AclOperationTypes.DESCRIBE_CONFIGS,
};
const RESOURCES = {
  topic: AclResourceTypes.TOPIC,
  group: AclResourceTypes.GROUP,
  "transactional id": AclResourceTypes.TRANSACTIONAL_ID,
};

/** What the commands of docs/security.md grant: the page is what the tests try. */
export function documentedAcls(): GrantedAcl[] {
  const page = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8");
  return [...page.matchAll(/^acl (--operation .*)$/gm)].flatMap(([, command = ""]) => {
    const [, kind = "", name = ""] = /--(topic|group|transactional-id) (\S+)/.exec(command) ?? [];
    return [...command.matchAll(/--operation (\S+)/g)].map(([, operation = ""]) => ({
      operation: operation as GrantedAcl["operation"],
      resource: kind.replace("-", " ") as GrantedAcl["resource"],
      name,
      isPrefix: command.includes("--resource-pattern-type prefixed"),
    }));
  });
}

export function aclText({ operation, resource, name, isPrefix }: GrantedAcl): string {
  return `${operation} on ${resource} ${name}${isPrefix ? "*" : ""}`;
}

/** A broker of its own that lets its user do nothing but what is granted. Without a login one may do all. */
export async function startAuthorizingKafka(): Promise<{ readonly kafka: SecuredKafka; readonly acls: AclAdmin }> {
  const kafka = await startSecuredKafka({
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
  });
  return { kafka, acls: await AclAdmin.connect(kafka.brokers, kafka.user.username) };
}

/** Grants and revokes for one user, and waits until the broker goes by it. */
export class AclAdmin {
  readonly #admin: Admin;
  readonly #principal: string;

  private constructor(admin: Admin, principal: string) {
    this.#admin = admin;
    this.#principal = principal;
  }

  static async connect(brokers: readonly string[], username: string): Promise<AclAdmin> {
    const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    return new AclAdmin(admin, `User:${username}`);
  }

  async grant(acls: readonly GrantedAcl[]): Promise<void> {
    await this.#admin.createAcls({ acl: acls.map((acl) => this.#entry(acl)) });
    for (const acl of acls) await eventually(`the broker grants ${acl.operation}`, () => this.#isGranted(acl));
  }

  async revoke(acls: readonly GrantedAcl[]): Promise<void> {
    await this.#admin.deleteAcls({ filters: acls.map((acl) => this.#entry(acl)) });
    for (const acl of acls) {
      await eventually(`the broker has revoked ${acl.operation}`, async () => !(await this.#isGranted(acl)));
    }
  }

  async disconnect(): Promise<void> {
    await this.#admin.disconnect();
  }

  async #isGranted(acl: GrantedAcl): Promise<boolean> {
    const { resources } = await this.#admin.describeAcls(this.#entry(acl));
    return resources.some(({ acls }) => acls.length > 0);
  }

  #entry({ operation, resource, name, isPrefix }: GrantedAcl): AclEntry {
    return {
      resourceType: RESOURCES[resource],
      resourceName: name,
      resourcePatternType: isPrefix ? ResourcePatternTypes.PREFIXED : ResourcePatternTypes.LITERAL,
      principal: this.#principal,
      host: "*",
      operation: OPERATIONS[operation],
      permissionType: AclPermissionTypes.ALLOW,
    };
  }
}
