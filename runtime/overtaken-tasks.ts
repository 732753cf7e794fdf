import { decodeCommitMetadata } from "./commit-metadata.js";
import { stableOffsets } from "./stable-offsets.js";
import type { StreamTask } from "./task.js";
import type { TopicAdmin } from "./transport.js";

/**
 * Those of the tasks of which Kafka says something else than their own last commit said: they missed a generation, and
 * somebody else worked on them meanwhile (protocol 10).
 */
export async function overtakenTasks(
  tasks: readonly StreamTask[],
  admin: TopicAdmin,
  groupId: string,
): Promise<readonly StreamTask[]> {
  if (tasks.length === 0) return [];
  const partitions = tasks.flatMap(({ queues }) => queues.map(({ topic, partition }) => ({ topic, partition })));
  const committed = await stableOffsets(admin, groupId, partitions);
  return tasks.filter((task) =>
    task.queues.some((queue) => {
      const found = committed.find(({ topic, partition }) => topic === queue.topic && partition === queue.partition);
      const commitNumber = decodeCommitMetadata(found?.metadata ?? "", [])?.commitNumber;
      return found?.offset !== queue.position || commitNumber !== task.commitNumber;
    }),
  );
}
