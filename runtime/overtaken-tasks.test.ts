import { expect, test } from "vitest";
import { encodeCommitMetadata } from "./commit-metadata.js";
import { overtakenTasks } from "./overtaken-tasks.js";
import type { StreamTask } from "./task.js";
import type { TopicAdmin } from "./transport.js";

const metadata = (commitNumber: number): string => encodeCommitMetadata({ commitNumber, owner: "app-1", clocks: {} });

/** A task on one partition, as its own last commit left it. */
function task(partition: number, position: number, commitNumber: number): StreamTask {
  const queues = [{ topic: "in", partition, position }];
  return { id: `0_${partition}`, partition, queues, commitNumber } as unknown as StreamTask;
}

test("a kept task is opened again when Kafka has another offset, another commit number, or nothing of it", async () => {
  const asked: boolean[] = [];
  const committed = [
    { topic: "in", partition: 0, offset: 100, metadata: metadata(7) },
    { topic: "in", partition: 1, offset: 101, metadata: metadata(7) },
    // Somebody went on from a wiped state, and came to the same offset.
    { topic: "in", partition: 2, offset: 100, metadata: metadata(8) },
    { topic: "in", partition: 3, offset: undefined, metadata: "" },
    { topic: "in", partition: 4, offset: 100, metadata: "written by a tool" },
  ];
  const admin = {
    committedOffsets: async (_group: string, _partitions: object, { requireStable }: { requireStable: boolean }) => {
      asked.push(requireStable);
      return committed;
    },
  } as unknown as TopicAdmin;
  const kept = [0, 1, 2, 3, 4].map((partition) => task(partition, 100, 7));
  const overtaken = await overtakenTasks(kept, admin, "app");
  expect(overtaken.map(({ id }) => id)).toEqual(["0_1", "0_2", "0_3", "0_4"]);
  // A transaction that is still open may be about to change them.
  expect(asked).toEqual([true]);
});
