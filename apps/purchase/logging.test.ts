import { expect, test } from "vitest";
import { openLogger } from "./logging.js";

function lines(options: { readonly format: "text" | "json" | undefined; readonly isTerminal: boolean }): {
  readonly logger: ReturnType<typeof openLogger>;
  readonly written: string[];
} {
  const written: string[] = [];
  return { logger: openLogger({ ...options, level: "info", write: (line) => written.push(line) }), written };
}

test("in a pipe a log line is JSON, with level, time, message and data", () => {
  const { logger, written } = lines({ format: undefined, isTerminal: false });
  logger.info({ state: "RUNNING" }, "ready");
  logger.debug({}, "not shown");
  expect(written).toHaveLength(1);
  expect(JSON.parse(written[0]!)).toMatchObject({
    level: 30,
    msg: "ready",
    state: "RUNNING",
    time: expect.any(Number),
  });
});

test("on a terminal it is text for people", () => {
  const { logger, written } = lines({ format: undefined, isTerminal: true });
  logger.warn({ task: "0_3", lag: [1, 2] }, "slow");
  expect(written[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}slow {2}task=0_3 {2}lag=\[1,2\]$/);
});

test("trouble that is only warned of is one line, an error has its stack", () => {
  const { logger, written } = lines({ format: "text", isTerminal: false });
  logger.error({ err: new Error("broken") }, "failed");
  logger.warn({ err: new Error("away") }, "trying on");
  expect(written[1]).toMatch(/ warn {2}trying on {2}error=away$/);
  expect(written[0]).toMatch(/ error failed\nError: broken\n +at /);
});
