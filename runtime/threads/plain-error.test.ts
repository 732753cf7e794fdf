import { expect, test } from "vitest";
import { UnusableStateError } from "../../stores/errors.js";
import { StreamsError } from "../../topology/errors.js";
import { ConfigError, NotAuthorizedError } from "../errors.js";
import { fromPlainError, toPlainError } from "./plain-error.js";

/** What becomes of an error on its way to another thread. */
const sent = (error: unknown): Error => fromPlainError(structuredClone(toPlainError(error)));

test("an error of ours keeps its class, code, message, fields and stack", () => {
  const config = sent(new ConfigError(["threads: 0 is wrong", "transport: is missing"]));
  expect(config).toBeInstanceOf(ConfigError);
  expect(config).toMatchObject({ code: "INVALID_CONFIG", faults: ["threads: 0 is wrong", "transport: is missing"] });
  const acl = { operation: "Read", resource: "group", name: "app" } as const;
  const refused = new NotAuthorizedError(acl, "join its group");
  expect(sent(refused)).toBeInstanceOf(NotAuthorizedError);
  expect(sent(refused)).toMatchObject({
    acl,
    code: "NOT_AUTHORIZED",
    name: "NotAuthorizedError",
    stack: refused.stack,
  });
  expect(sent(new UnusableStateError("STATE_DISK_FULL", "full"))).toBeInstanceOf(StreamsError);
});

test("its causes come with it, at most ten of them where they go in a circle", () => {
  const error = sent(new StreamsError("OUTER", "outer", { cause: new TypeError("inner") }));
  expect(error.cause).toBeInstanceOf(TypeError);
  expect((error.cause as Error).message).toBe("inner");
  const circle = new Error("round");
  circle.cause = circle;
  let causes = 0;
  for (let at: unknown = sent(circle); at instanceof Error; at = at.cause) causes++;
  expect(causes).toBe(11);
});

test("an error of somebody else's keeps its name and fields; what cannot be copied becomes text", () => {
  class TheirError extends Error {
    override readonly name = "TheirError";
    readonly retries = 3;
    readonly again = () => 1;
  }
  const error = sent(new TheirError("theirs"));
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({ name: "TheirError", message: "theirs", retries: 3, again: "() => 1" });
  expect(sent("only words")).toMatchObject({ name: "Error", message: "only words" });
});
