import { type Acl, NotAuthorizedError } from "../errors.js";
import type { AskableAcl } from "../transport.js";
import type { Cluster } from "./cluster.js";
import { kafkaJsRequest } from "./kafkajs-internals.js";
import { CODE, ProtocolError } from "./protocol-errors.js";
import { groupOperationsRequest, metadataRequest, OPERATIONS_UNKNOWN } from "./requests.js";

// Nothing here changes anything: each question is one that the brokers answer after they have asked their authorizer and
// before they do something. Only their own topics for offsets and transactions they may make, where nobody has asked for a coordinator before.

/** The bit of an operation in what the brokers say that a client may do. */
const BIT = { Read: 3, Write: 4, Delete: 6, Describe: 8 } as const;
const TOPIC_RESOURCE = 2;

/** Which of these ACLs the brokers refuse this client, in the order asked. */
export async function refusedAcls(cluster: Cluster, acls: readonly AskableAcl[]): Promise<readonly AskableAcl[]> {
  const refused = await cluster.retrying("ask what this client may do", async (deadline) => {
    const timeoutMs = Math.ceil(Math.max(1, deadline.leftMs));
    const topics = await topicAccess(cluster, acls, timeoutMs);
    const answers: boolean[] = [];
    for (const acl of acls) {
      if (acl.resource === "topic") answers.push(topics(acl));
      else if (acl.resource === "group") answers.push(await isGroupRefused(cluster, acl, timeoutMs));
      else answers.push(await isTransactionalIdRefused(cluster, acl, timeoutMs));
    }
    return answers;
  });
  return acls.filter((_, at) => refused[at]);
}

function isRefused(operations: number, operation: Acl["operation"]): boolean {
  if (operations === OPERATIONS_UNKNOWN || !(operation in BIT)) return false;
  return (operations & (1 << BIT[operation as keyof typeof BIT])) === 0;
}

async function topicAccess(
  cluster: Cluster,
  acls: readonly AskableAcl[],
  timeoutMs: number,
): Promise<(acl: Acl) => boolean> {
  const named = (which: (acl: Acl) => boolean): string[] => [
    ...new Set(acls.filter((acl) => acl.resource === "topic" && which(acl)).map(({ name }) => name)),
  ];
  const created = await uncreatable(
    cluster,
    named(({ operation }) => operation === "Create"),
    timeoutMs,
  );
  const configs = await withoutConfigs(
    cluster,
    named(({ operation }) => operation === "DescribeConfigs"),
  );
  const names = named(({ operation }) => operation in BIT);
  const answer =
    names.length === 0 ? [] : (await cluster.sendToAny(metadataRequest(names, { withOperations: true }))).topics;
  const operations = new Map(
    // One that may not be seen may not be read, written or deleted either: each of these includes Describe.
    answer.map(({ topic, errorCode, operations }) => [
      topic,
      errorCode === CODE.TOPIC_AUTHORIZATION_FAILED ? 0 : operations,
    ]),
  );
  return ({ operation, name }) => {
    if (operation === "Create") return created.has(name);
    if (operation === "DescribeConfigs") return configs.has(name);
    return isRefused(operations.get(name) ?? OPERATIONS_UNKNOWN, operation);
  };
}

/** Asks for the topics to be made, for validation only. The ACL may be one of the topic or one of the cluster. */
async function uncreatable(cluster: Cluster, topics: readonly string[], timeoutMs: number): Promise<Set<string>> {
  if (topics.length === 0) return new Set();
  const request = kafkaJsRequest<{ topicErrors: readonly { readonly topic: string; readonly errorCode: number }[] }>(
    "CreateTopics",
    {
      topics: topics.map((topic) => ({ topic, numPartitions: 1, replicationFactor: -1, configEntries: [] })),
      validateOnly: true,
      timeout: timeoutMs,
    },
  );
  const { topicErrors } = await cluster.sendToController(request, timeoutMs);
  const forbidden = topicErrors.filter(
    ({ errorCode }) => errorCode === CODE.TOPIC_AUTHORIZATION_FAILED || errorCode === CODE.CLUSTER_AUTHORIZATION_FAILED,
  );
  return new Set(forbidden.map(({ topic }) => topic));
}

/** Also of topics that are not there: the authorizer is asked first. */
async function withoutConfigs(cluster: Cluster, topics: readonly string[]): Promise<Set<string>> {
  if (topics.length === 0) return new Set();
  const { resources } = await cluster.sendToAny(
    kafkaJsRequest<{ resources: readonly { readonly errorCode: number; readonly resourceName: string }[] }>(
      "DescribeConfigs",
      { resources: topics.map((name) => ({ type: TOPIC_RESOURCE, name, configNames: [] })), includeSynonyms: false },
    ),
  );
  const forbidden = resources.filter(({ errorCode }) => errorCode === CODE.TOPIC_AUTHORIZATION_FAILED);
  return new Set(forbidden.map(({ resourceName }) => resourceName));
}

async function isGroupRefused(cluster: Cluster, { operation, name }: Acl, timeoutMs: number): Promise<boolean> {
  const operations = await unlessForbidden(CODE.GROUP_AUTHORIZATION_FAILED, async () => {
    const options = { timeoutMs, errorCodeOf: ({ errorCode }: { readonly errorCode: number }) => errorCode };
    return (await cluster.sendToCoordinator("group", name, groupOperationsRequest(name), options)).operations;
  });
  return operations === undefined || isRefused(operations, operation);
}

/** Ends a transaction that there cannot be: of a producer that no broker has ever given out, so that none is ended. */
async function isTransactionalIdRefused(cluster: Cluster, { name }: Acl, timeoutMs: number): Promise<boolean> {
  const request = kafkaJsRequest<{ errorCode: number }>("EndTxn", {
    transactionalId: name,
    producerId: "-1",
    producerEpoch: -1,
    transactionResult: false,
  });
  const answer = await unlessForbidden(CODE.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, () =>
    cluster.sendToCoordinator("transaction", name, request, {
      timeoutMs,
      errorCodeOf: ({ errorCode }) => (UNKNOWN_PRODUCER.has(errorCode) ? CODE.NONE : errorCode),
    }),
  );
  return answer === undefined;
}

const UNKNOWN_PRODUCER: ReadonlySet<number> = new Set([
  CODE.INVALID_PRODUCER_ID_MAPPING,
  CODE.INVALID_PRODUCER_EPOCH,
  CODE.PRODUCER_FENCED,
  CODE.INVALID_TXN_STATE,
]);

/** Undefined where the authorizer says no. */
async function unlessForbidden<T>(code: number, ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof NotAuthorizedError || (error instanceof ProtocolError && error.errorCode === code))
      return undefined;
    throw error;
  }
}
