import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FencedError, UnavailableError } from "./errors.js";
import { silentLogger } from "./logger.js";
import { refuseMadeAnew, SourceWatch } from "./source-watch.js";
import type { TopicAdmin, TopicDescription } from "./transport.js";

const CHECK_MS = 10_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});

afterEach(() => {
  vi.useRealTimers();
});

const topicOf = (partitions: number, topicId = "id") => ({ topic: "in", topicId, partitions });

/** Answers each question with the next of these partition counts or topics, or fails with it. */
function watching(...answers: readonly (number | Error | TopicDescription)[]): {
  readonly watch: SourceWatch;
  readonly asked: () => number;
} {
  let asked = 0;
  const describe = async () => {
    const answer = answers[Math.min(asked++, answers.length - 1)];
    if (answer instanceof Error) throw answer;
    return [typeof answer === "number" ? topicOf(answer) : answer];
  };
  const watch = new SourceWatch({ describe } as unknown as TopicAdmin, silentLogger);
  watch.begin([topicOf(3)]);
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
  expect(watch.tick()).toMatchObject({ isMadeAnew: false });
  expect(watch.tick()?.error).toBeInstanceOf(FencedError);
  expect(watch.tick()?.error.message).toContain("topic in had 3 partitions and has 5");
});

test("a topic that was made anew between two fetches ends the session, whatever its partitions are", async () => {
  for (const partitions of [3, 5]) {
    const { watch } = watching(topicOf(partitions, "another"));
    await afterCheck(watch);
    expect(watch.tick()).toMatchObject({ isMadeAnew: true });
    expect(watch.tick()?.error.message).toContain("topic in was deleted and made again");
  }
});

describe("of topics that were read before,", () => {
  const seenOnce = (): Map<string, string> => {
    const seen = new Map<string, string>();
    refuseMadeAnew([topicOf(3)], seen, { onOffsetOutOfRange: "fail", logger: silentLogger });
    return seen;
  };

  test("one that is as it was is read on, with more partitions too", () => {
    refuseMadeAnew([topicOf(5)], seenOnce(), { onOffsetOutOfRange: "fail", logger: silentLogger });
  });

  test("one that was made anew is refused, every time", () => {
    const seen = seenOnce();
    const anew = { code: "SOURCE_TOPIC_MADE_ANEW", message: expect.stringContaining("topic in was deleted and made") };
    for (let times = 0; times < 2; times++) {
      expect(() =>
        refuseMadeAnew([topicOf(3, "another")], seen, { onOffsetOutOfRange: "fail", logger: silentLogger }),
      ).toThrow(expect.objectContaining(anew));
    }
  });

  test("one that was made anew is read on where onOffsetOutOfRange says so, and said once", () => {
    const seen = seenOnce();
    const said: string[] = [];
    const logger = { ...silentLogger, warn: (_: object, message: string) => void said.push(message) };
    for (let times = 0; times < 2; times++)
      refuseMadeAnew([topicOf(3, "another")], seen, { onOffsetOutOfRange: "earliest", logger });
    expect(said).toEqual(["topic in was deleted and made again; it is read on"]);
  });
});

test("brokers that are away are no answer", async () => {
  const { watch } = watching(new UnavailableError("nobody there"), 5);
  await afterCheck(watch);
  expect(watch.tick()).toBeUndefined();
  await afterCheck(watch);
  expect(watch.tick()?.error).toBeInstanceOf(FencedError);
});
