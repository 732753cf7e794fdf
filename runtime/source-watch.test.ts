import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FencedError, UnavailableError } from "./errors.js";
import { silentLogger } from "./logger.js";
import { SourceWatch } from "./source-watch.js";
import type { TopicAdmin } from "./transport.js";

const CHECK_MS = 10_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});

afterEach(() => {
  vi.useRealTimers();
});

/** Answers each question with the next of these partition counts, or fails with it. */
function watching(...answers: readonly (number | Error)[]): {
  readonly watch: SourceWatch;
  readonly asked: () => number;
} {
  let asked = 0;
  const describe = async () => {
    const answer = answers[Math.min(asked++, answers.length - 1)];
    if (answer instanceof Error) throw answer;
    return [{ topic: "in", topicId: "id", partitions: answer, configs: {} }];
  };
  const watch = new SourceWatch({ describe } as unknown as TopicAdmin, silentLogger);
  watch.begin(new Map([["in", 3]]));
  return { watch, asked: () => asked };
}

async function afterCheck(watch: SourceWatch): Promise<void> {
  vi.advanceTimersByTime(CHECK_MS);
  watch.tick();
  await new Promise((resolve) => setImmediate(resolve));
}

test("a topic that is as it was is asked about now and then, and nothing is said", async () => {
  const { watch, asked } = watching(3);
  for (let times = 0; times < 3; times++) await afterCheck(watch);
  for (let times = 0; times < 100; times++) watch.tick();
  expect(asked()).toBe(3);
});

test("a topic with partitions that no task reads ends the session, and both counts are named", async () => {
  const { watch } = watching(3, 5);
  await afterCheck(watch);
  await afterCheck(watch);
  expect(watch.tick()).toBeInstanceOf(FencedError);
  expect(watch.tick()?.message).toContain("topic in had 3 partitions and has 5");
});

test("brokers that are away are no answer", async () => {
  const { watch } = watching(new UnavailableError("nobody there"), 5);
  await afterCheck(watch);
  expect(watch.tick()).toBeUndefined();
  await afterCheck(watch);
  expect(watch.tick()).toBeInstanceOf(FencedError);
});
