import { expect, test } from "vitest";
import { connectPatiently } from "./connect.js";
import { FatalError, UnavailableError } from "./errors.js";
import { silentLogger } from "./logger.js";
import type { Transport } from "./transport.js";

/** Each try takes 20 ms and ends as told; the last one again and again. */
function transportThat(...ends: readonly (Error | "connected")[]): Transport & { tries: number } {
  const transport = {
    tries: 0,
    connect: async () => {
      const end = ends[Math.min(transport.tries++, ends.length - 1)];
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (end instanceof Error) throw end;
    },
  };
  return transport as unknown as Transport & { tries: number };
}

const away = new UnavailableError("cannot connect to kafka:9092");
const options = { logger: silentLogger, isClosing: () => false };

test("brokers that come later are waited for", async () => {
  const transport = transportThat(away, away, "connected");
  expect(await connectPatiently(transport, options)).toBe(true);
  expect(transport.tries).toBe(3);
});

test("brokers that do not come are given up, with how long they were waited for and what was wrong last", async () => {
  const failing = connectPatiently(transportThat(away), { ...options, patienceMs: 50 });
  await expect(failing).rejects.toThrow(/^no broker has answered for 0 s: cannot connect to kafka:9092$/);
  await expect(failing).rejects.toBeInstanceOf(UnavailableError);
});

test("what no waiting mends is thrown at once", async () => {
  const refused = new FatalError("AUTHENTICATION_FAILED", "wrong password");
  const transport = transportThat(refused);
  await expect(connectPatiently(transport, options)).rejects.toBe(refused);
  expect(transport.tries).toBe(1);
});

test("whoever closes is not held up: nothing is tried again", async () => {
  const transport = transportThat(away);
  expect(await connectPatiently(transport, { ...options, isClosing: () => transport.tries >= 2 })).toBe(false);
  expect(transport.tries).toBe(2);
});
