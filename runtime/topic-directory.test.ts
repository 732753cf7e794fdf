import { expect, test } from "vitest";
import { NotAuthorizedError } from "./errors.js";
import { TopicDirectory } from "./topic-directory.js";
import type { TopicAdmin } from "./transport.js";

/** A log with one topic, `open`, where this client may not see what is called `secret…`. */
function directory() {
  const asked: string[][] = [];
  const admin = {
    describe: async (topics: readonly string[]) => {
      asked.push([...topics]);
      const secret = topics.find((topic) => topic.startsWith("secret"));
      if (secret !== undefined) {
        throw new NotAuthorizedError({ operation: "Write", resource: "topic", name: secret }, "see it");
      }
      return topics.includes("open") ? [{ topic: "open", topicId: "1", partitions: 3 }] : [];
    },
  } as unknown as TopicAdmin;
  let nowMs = 0;
  const found = new TopicDirectory(admin, () => nowMs);
  return {
    found,
    asked,
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

test("a forbidden topic among those that records name is an error of its own, the others are found", async () => {
  const { found } = directory();
  await found.lookUpNamed(["secret-1", "open", "secret-2", "missing"]);
  expect(found.partitionCount("open")).toBe(3);
  expect(found.refusalOf("secret-1")?.acl.name).toBe("secret-1");
  expect(found.refusalOf("secret-2")?.acl.name).toBe("secret-2");
  expect(found.refusalOf("missing")).toBeUndefined();
});

test("a forbidden topic is not asked for again for 30 s, as an unknown one is not", async () => {
  const { found, asked, pass } = directory();
  await found.lookUpNamed(["secret"]);
  pass(29_999);
  await found.lookUpNamed(["secret"]);
  expect(asked).toHaveLength(1);
  pass(1);
  await found.lookUpNamed(["secret"]);
  expect(asked).toHaveLength(2);
});

test("a forbidden topic that the topology names is no error of a record", async () => {
  await expect(directory().found.lookUp(["open", "secret"], { purpose: "Read" })).rejects.toThrow(NotAuthorizedError);
});
