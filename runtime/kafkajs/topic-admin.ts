import type { TopicPartition } from "../../topology/record.js";
import { type Acl, FatalError, NotAuthorizedError, UnavailableError, UnstableOffsetsError } from "../errors.js";
import type { AskableAcl, CommittedOffset, NewTopic, TopicAdmin, TopicDescription } from "../transport.js";
import { refusedAcls } from "./access.js";
import type { Cluster } from "./cluster.js";
import { kafkaJsRequest, type WireRequest } from "./kafkajs-internals.js";
import { CODE, codeName, isRetriableCode, ProtocolError, throwIfFailed } from "./protocol-errors.js";
import { byTopic, offsetFetchRequest, type PartitionOutcome } from "./requests.js";
import type { Deadline } from "./retry.js";

const EARLIEST = "-2";
const LATEST = "-1";
const TOPIC_RESOURCE = 2;
/** A topic that was made a moment ago may not have reached every broker. */
const UNKNOWN_TOPIC_PATIENCE_MS = 1_000;

interface TopicOutcome {
  readonly topic: string;
  readonly errorCode: number;
  readonly errorMessage?: string | null;
}

type Offset = TopicPartition & { readonly offset: number };

/** What is asked of each partition's leader, and how its answer reads. */
interface LeaderQuestion<P extends TopicPartition, R extends PartitionOutcome> {
  readonly what: string;
  /** What a client has to be granted for it. */
  readonly operation: Acl["operation"];
  readonly request: (partitions: readonly P[], timeoutMs: number) => WireRequest<readonly R[]>;
}

interface GroupDescription {
  readonly groups: readonly {
    readonly errorCode: number;
    readonly members: readonly { readonly memberId: string; readonly clientId: string; readonly clientHost: string }[];
  }[];
}

interface DeletedGroups {
  readonly results: readonly { readonly errorCode: number }[];
}

/** A group that was never there, or is gone, has no members and nothing to delete. */
function unlessMissing(errorCode: number = CODE.NONE): number {
  return errorCode === CODE.GROUP_ID_NOT_FOUND ? CODE.NONE : errorCode;
}

interface LeaveAnswer {
  readonly errorCode: number;
  readonly members: readonly { readonly errorCode: number }[];
}

/** Topics and offsets. KafkaJS's own admin is not used: it retries what is missing for seconds, and hides error codes. */
export class KafkaJsTopicAdmin implements TopicAdmin {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async describe(
    topics: readonly string[],
    purpose: "Read" | "Write" | "Describe" = "Describe",
  ): Promise<readonly TopicDescription[]> {
    if (topics.length === 0) return [];
    return this.#cluster.retrying(`describe topics ${topics.join(", ")}`, async () => {
      const answer = await this.#cluster.refresh(topics);
      const found: TopicDescription[] = [];
      for (const { topic, errorCode, topicId, leaders } of answer.topics) {
        if (errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION || errorCode === CODE.INVALID_TOPIC_EXCEPTION) continue;
        if (errorCode === CODE.TOPIC_AUTHORIZATION_FAILED) {
          throw mayNot(purpose, topic, "see whether there is");
        }
        throwIfFailed(errorCode, `describe topic "${topic}"`);
        found.push({ topic, topicId, partitions: leaders.length });
      }
      return found;
    });
  }

  async create(topics: readonly NewTopic[]): Promise<void> {
    if (topics.length === 0) return;
    const names = topics.map(({ topic }) => topic);
    await this.#onController(
      `create topics ${names.join(", ")}`,
      (timeoutMs) =>
        kafkaJsRequest<{ topicErrors: readonly TopicOutcome[] }>("CreateTopics", {
          topics: topics.map(({ topic, partitions, replicationFactor, configs }) => ({
            topic,
            numPartitions: partitions,
            replicationFactor,
            configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })),
          })),
          validateOnly: false,
          timeout: timeoutMs,
        }),
      { operation: "Create", fine: CODE.TOPIC_ALREADY_EXISTS },
    );
    await this.#cluster.retrying(`wait for the leaders of ${names.join(", ")}`, async () => {
      const answer = await this.#cluster.refresh(names);
      for (const { topic, errorCode, leaders } of answer.topics) {
        throwIfFailed(errorCode, `wait for topic "${topic}"`);
        if (leaders.some((leader) => leader < 0))
          throw new ProtocolError(CODE.LEADER_NOT_AVAILABLE, `wait for topic "${topic}"`);
      }
    });
  }

  async delete(topics: readonly string[]): Promise<void> {
    if (topics.length === 0) return;
    await this.#onController(
      `delete topics ${topics.join(", ")}`,
      (timeoutMs) =>
        kafkaJsRequest<{ topicErrors: readonly TopicOutcome[] }>("DeleteTopics", {
          topics: [...topics],
          timeout: timeoutMs,
        }),
      { operation: "Delete", fine: CODE.UNKNOWN_TOPIC_OR_PARTITION },
    );
    await this.#cluster.retrying(`wait until ${topics.join(", ")} are gone`, async () => {
      const answer = await this.#cluster.refresh(topics);
      const left = answer.topics.find(({ errorCode }) => errorCode !== CODE.UNKNOWN_TOPIC_OR_PARTITION);
      if (left !== undefined)
        throw new ProtocolError(CODE.REPLICA_NOT_AVAILABLE, `topic "${left.topic}" is still there`);
    });
  }

  async configs(topics: readonly string[]): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
    if (topics.length === 0) return new Map();
    return this.#cluster.retrying(`read the configs of ${topics.join(", ")}`, async () => {
      const { resources } = await this.#cluster.sendToAny(
        kafkaJsRequest<{
          resources: readonly {
            readonly errorCode: number;
            readonly errorMessage: string | null;
            readonly resourceName: string;
            readonly configEntries: readonly { readonly configName: string; readonly configValue: string | null }[];
          }[];
        }>("DescribeConfigs", {
          resources: topics.map((name) => ({ type: TOPIC_RESOURCE, name, configNames: [] })),
          includeSynonyms: false,
        }),
      );
      const found = new Map<string, Readonly<Record<string, string>>>();
      for (const { errorCode, errorMessage, resourceName, configEntries } of resources) {
        if (errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION) continue;
        if (errorCode === CODE.TOPIC_AUTHORIZATION_FAILED)
          throw mayNot("DescribeConfigs", resourceName, "read the configs of");
        throwIfFailed(errorCode, `read the configs of topic "${resourceName}"`, errorMessage);
        found.set(
          resourceName,
          Object.fromEntries(configEntries.map((entry) => [entry.configName, entry.configValue ?? ""])),
        );
      }
      return found;
    });
  }

  async offsets(partitions: readonly TopicPartition[], at: "earliest" | "latest"): Promise<readonly Offset[]> {
    const timestamp = at === "earliest" ? EARLIEST : LATEST;
    const found = await this.#askLeaders<TopicPartition, PartitionOutcome & { readonly offset: number }>(partitions, {
      what: `find the ${at} offsets`,
      operation: "Describe",
      request: (those) =>
        reading(
          kafkaJsRequest<{
            responses: { topic: string; partitions: { partition: number; errorCode: number; offset: string }[] }[];
          }>("ListOffsets", {
            isolationLevel: 0,
            topics: byTopic(those).map(([topic, ones]) => ({
              topic,
              partitions: ones.map(({ partition }) => ({ partition, timestamp })),
            })),
          }),
          ({ responses }) =>
            responses.flatMap(({ topic, partitions: ones }) =>
              ones.map((one) => ({
                topic,
                partition: one.partition,
                errorCode: one.errorCode,
                offset: Number(one.offset),
              })),
            ),
        ),
    });
    return found.map(({ topic, partition, offset }) => ({ topic, partition, offset }));
  }

  async deleteRecords(upTo: readonly Offset[]): Promise<void> {
    await this.#askLeaders<Offset, PartitionOutcome>(upTo, {
      what: "delete records",
      operation: "Delete",
      request: (those, timeout) =>
        reading(
          kafkaJsRequest<{ topics: { topic: string; partitions: { partition: number; errorCode: number }[] }[] }>(
            "DeleteRecords",
            {
              topics: byTopic(those).map(([topic, ones]) => ({
                topic,
                partitions: ones.map(({ partition, offset }) => ({ partition, offset: String(offset) })),
              })),
              timeout,
            },
          ),
          ({ topics }) =>
            topics.flatMap(({ topic, partitions }) =>
              partitions.map(({ partition, errorCode }) => ({ topic, partition, errorCode })),
            ),
        ),
    });
  }

  async committedOffsets(
    groupId: string,
    partitions: readonly TopicPartition[],
    { requireStable }: { readonly requireStable: boolean },
  ): Promise<readonly CommittedOffset[]> {
    if (partitions.length === 0) return [];
    return this.#cluster.retrying(`read the offsets of group ${groupId}`, async (deadline) => {
      const request = offsetFetchRequest({ groupId, requireStable, partitions });
      const timeoutMs = Math.max(1, deadline.leftMs);
      const answer = await this.#cluster
        .sendToCoordinator("group", groupId, request, { timeoutMs, errorCodeOf: ({ errorCode }) => errorCode })
        .catch((error: unknown) => {
          const isForbidden = error instanceof ProtocolError && error.errorCode === CODE.GROUP_AUTHORIZATION_FAILED;
          const acl: Acl = { operation: "Read", resource: "group", name: groupId };
          throw isForbidden ? new NotAuthorizedError(acl, "read the offsets of its group", { cause: error }) : error;
        });
      const unstable = answer.partitions.filter(({ errorCode }) => errorCode === CODE.UNSTABLE_OFFSET_COMMIT);
      if (unstable.length > 0)
        throw new UnstableOffsetsError(unstable.map(({ topic, partition }) => ({ topic, partition })));
      return answer.partitions.map(({ topic, partition, offset, metadata, errorCode }) => {
        if (errorCode === CODE.TOPIC_AUTHORIZATION_FAILED) throw mayNot("Describe", topic, "read the offsets of");
        if (errorCode !== CODE.UNKNOWN_TOPIC_OR_PARTITION) {
          throwIfFailed(errorCode, `read the offset of ${topic}-${partition} of group ${groupId}`);
        }
        return { topic, partition, offset: offset < 0 ? undefined : offset, metadata };
      });
    });
  }

  async members(groupId: string): Promise<readonly string[]> {
    const request = kafkaJsRequest<GroupDescription>("DescribeGroups", { groupIds: [groupId] });
    const errorCodeOf = ({ groups }: GroupDescription): number => unlessMissing(groups[0]?.errorCode);
    const { groups } = await this.#cluster.retrying(`describe group ${groupId}`, (deadline) =>
      this.#cluster.sendToCoordinator("group", groupId, request, {
        timeoutMs: Math.max(1, deadline.leftMs),
        errorCodeOf,
      }),
    );
    const members = groups[0]?.members ?? [];
    return members.map(
      ({ memberId, clientId, clientHost }) => `${memberId} on ${clientHost.replace(/^\//, "")} (client ${clientId})`,
    );
  }

  async deleteGroup(groupId: string): Promise<void> {
    const request = kafkaJsRequest<DeletedGroups>("DeleteGroups", [groupId]);
    const errorCodeOf = ({ results }: DeletedGroups): number => unlessMissing(results[0]?.errorCode);
    await this.#cluster.retrying(`delete group ${groupId}`, async (deadline) => {
      const timeoutMs = Math.max(1, deadline.leftMs);
      const { results } = await this.#cluster.sendToCoordinator("group", groupId, request, {
        timeoutMs,
        errorCodeOf: (answer) => (errorCodeOf(answer) === CODE.NON_EMPTY_GROUP ? CODE.NONE : errorCodeOf(answer)),
      });
      if (results[0]?.errorCode === CODE.NON_EMPTY_GROUP)
        throw new FatalError("GROUP_NOT_EMPTY", `group "${groupId}" has members: stop every instance first`);
    });
  }

  async removeMembers(groupId: string, groupInstanceIds: readonly string[]): Promise<void> {
    for (const groupInstanceId of groupInstanceIds) {
      // Without a member id whoever has this instance id is meant, as Kafka's own admin client does it.
      const request = kafkaJsRequest<LeaveAnswer>("LeaveGroup", { groupId, memberId: "", groupInstanceId });
      const errorCodeOf = ({ errorCode, members }: LeaveAnswer): number => {
        const code = errorCode === CODE.NONE ? (members[0]?.errorCode ?? CODE.NONE) : errorCode;
        return code === CODE.UNKNOWN_MEMBER_ID ? CODE.NONE : code;
      };
      await this.#cluster.retrying(`remove ${groupInstanceId} from group ${groupId}`, (deadline) =>
        this.#cluster.sendToCoordinator("group", groupId, request, {
          timeoutMs: Math.max(1, deadline.leftMs),
          errorCodeOf,
        }),
      );
    }
  }

  refused(acls: readonly AskableAcl[]): Promise<readonly AskableAcl[]> {
    return refusedAcls(this.#cluster, acls);
  }

  /** Tries until every topic has its outcome; `fine` is the error that says that there was nothing to do, `operation` what has to be granted. */
  async #onController(
    what: string,
    request: (timeoutMs: number) => WireRequest<{ readonly topicErrors: readonly TopicOutcome[] }>,
    { operation, fine }: { readonly operation: "Create" | "Delete"; readonly fine: number },
  ): Promise<void> {
    await this.#cluster.retrying(what, async (deadline) => {
      const timeoutMs = Math.ceil(Math.max(1, deadline.leftMs));
      const { topicErrors } = await this.#cluster.sendToController(request(timeoutMs), timeoutMs);
      let again: ProtocolError | undefined;
      for (const { topic, errorCode, errorMessage } of topicErrors) {
        if (errorCode === CODE.NONE || errorCode === fine) continue;
        if (errorCode === CODE.TOPIC_AUTHORIZATION_FAILED || errorCode === CODE.CLUSTER_AUTHORIZATION_FAILED) {
          throw mayNot(operation, topic, operation.toLowerCase());
        }
        const error = new ProtocolError(errorCode, `${what} ("${topic}")`, errorMessage ?? null);
        if (!isRetriableCode(errorCode)) throw new FatalError(error.code, error.message, { cause: error });
        again = error;
      }
      if (again === undefined) return;
      this.#cluster.forgetController();
      throw again;
    });
  }

  /** Asks each partition's leader, and asks again where a leader has moved. The outcomes stand in the order asked for. */
  async #askLeaders<P extends TopicPartition, R extends PartitionOutcome>(
    partitions: readonly P[],
    question: LeaderQuestion<P, R>,
  ): Promise<R[]> {
    const outcomes = new Map<string, R>();
    if (partitions.length > 0) {
      await this.#cluster.retrying(question.what, async (deadline) => {
        const left = partitions.filter((partition) => !outcomes.has(nameOf(partition)));
        const { answers, unasked } = await this.#askOnce(left, question, deadline);
        for (const answer of answers) if (answer.errorCode === CODE.NONE) outcomes.set(nameOf(answer), answer);
        let again: ProtocolError | undefined;
        for (const outcome of [...unasked, ...answers]) {
          if (outcome.errorCode === CODE.NONE) continue;
          this.#cluster.forgetLeaders([outcome]);
          if (!isRetriableCode(outcome.errorCode) || isGone(outcome, deadline)) {
            throw refused(question, outcome);
          }
          again = new ProtocolError(outcome.errorCode, `${question.what} of ${nameOf(outcome)}`);
        }
        if (again !== undefined) throw again;
      });
    }
    return partitions.map((partition) => outcomes.get(nameOf(partition)) as R);
  }

  async #askOnce<P extends TopicPartition, R extends PartitionOutcome>(
    partitions: readonly P[],
    question: LeaderQuestion<P, R>,
    deadline: Deadline,
  ): Promise<{ readonly answers: readonly R[]; readonly unasked: readonly PartitionOutcome[] }> {
    await this.#cluster.findLeaders(partitions);
    const unasked: PartitionOutcome[] = [];
    const byLeader = new Map<number, P[]>();
    for (const one of partitions) {
      const leader = this.#cluster.leaderOf(one);
      if (leader === undefined) {
        const known = this.#cluster.errorOf(one);
        const errorCode = known === CODE.NONE ? CODE.LEADER_NOT_AVAILABLE : known;
        unasked.push({ topic: one.topic, partition: one.partition, errorCode });
      } else {
        byLeader.set(leader, [...(byLeader.get(leader) ?? []), one]);
      }
    }
    const timeoutMs = Math.ceil(Math.max(1, deadline.leftMs));
    const answers = await Promise.all(
      [...byLeader].map(async ([leader, those]) => {
        try {
          return await this.#cluster.sendTo(leader, question.request(those, timeoutMs), timeoutMs);
        } catch (error) {
          this.#cluster.forgetLeaders(those);
          throw error;
        }
      }),
    );
    return { answers: answers.flat(), unasked };
  }
}

function reading<A, B>(request: WireRequest<A>, read: (answer: A) => B): WireRequest<B> {
  return { ...request, decode: async (payload) => read(await request.decode(payload)) };
}

function isGone({ errorCode }: PartitionOutcome, deadline: Deadline): boolean {
  const waitedMs = deadline.budgetMs - deadline.leftMs;
  return (
    errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION &&
    waitedMs > Math.min(UNKNOWN_TOPIC_PATIENCE_MS, deadline.budgetMs / 2)
  );
}

function refused(
  { what, operation }: { readonly what: string; readonly operation: Acl["operation"] },
  { topic, partition, errorCode }: PartitionOutcome,
): Error {
  if (errorCode === CODE.UNKNOWN_TOPIC_OR_PARTITION) {
    return new UnavailableError(`${what}: there is no partition ${topic}-${partition}`);
  }
  if (errorCode === CODE.TOPIC_AUTHORIZATION_FAILED) return mayNot(operation, topic, `${what} of`);
  return new FatalError(codeName(errorCode), `${what} of ${topic}-${partition}: ${codeName(errorCode)}`);
}

function mayNot(operation: Acl["operation"], topic: string, doing: string): NotAuthorizedError {
  return new NotAuthorizedError({ operation, resource: "topic", name: topic }, `${doing} topic "${topic}"`);
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`;
}
