import { expect, test } from "vitest";
import { NotAuthorizedError } from "./errors.js";
import { TopicNames } from "./internal-topics.js";
import { silentLogger } from "./logger.js";
import { Maintenance } from "./maintenance.js";
import type { StreamTask } from "./task.js";
import type { TopicAdmin } from "./transport.js";

const CHANGELOG = "app-counts-changelog";

/** One task whose changelog may be cut at an offset, a clock in the test's hands, and what the log was told. */
class Fixture {
  cut = 0;
  refusal: Error | undefined;
  readonly deleted: number[] = [];
  readonly warnings: { readonly data: object; readonly message: string }[] = [];
  #nowMs = 0;
  readonly #maintenance: Maintenance;

  constructor() {
    const admin = {
      deleteRecords: async (upTo: readonly { readonly offset: number }[]): Promise<void> => {
        if (this.refusal !== undefined) throw this.refusal;
        this.deleted.push(...upTo.map(({ offset }) => offset));
      },
    } as unknown as TopicAdmin;
    const logger = {
      ...silentLogger,
      warn: (data: object, message: string) => void this.warnings.push({ data, message }),
    };
    this.#maintenance = new Maintenance(admin, new TopicNames("app"), logger, 0, () => this.#nowMs);
  }

  /** A tick, a second after the last one. */
  async tick(): Promise<void> {
    this.#nowMs += 1_000;
    const state = { changelogCuts: () => (this.cut === 0 ? {} : { counts: this.cut }), checkpoint: () => undefined };
    this.#maintenance.tick([{ partition: 0, queues: [], state } as unknown as StreamTask]);
    await this.#maintenance.settled();
  }
}

const forbidden = new NotAuthorizedError({ operation: "Delete", resource: "topic", name: CHANGELOG }, "delete records");

test("what is due is deleted once", async () => {
  const fixture = new Fixture();
  fixture.cut = 7;
  for (let turn = 0; turn < 3; turn++) await fixture.tick();
  expect(fixture.deleted).toEqual([7]);
});

test("a missing ACL is said once, with its name, however often it is tried again", async () => {
  const fixture = new Fixture();
  fixture.refusal = forbidden;
  for (let turn = 1; turn <= 5; turn++) {
    fixture.cut = turn;
    await fixture.tick();
  }
  expect(fixture.warnings).toHaveLength(1);
  expect(fixture.warnings[0]?.message).toContain(`grant it Delete on topic "${CHANGELOG}"`);
});

test("once it is granted the deletions are made up for, and a later refusal is said again", async () => {
  const fixture = new Fixture();
  fixture.refusal = forbidden;
  fixture.cut = 3;
  await fixture.tick();
  fixture.refusal = undefined;
  await fixture.tick();
  expect(fixture.deleted).toEqual([3]);
  fixture.refusal = forbidden;
  fixture.cut = 4;
  await fixture.tick();
  expect(fixture.warnings).toHaveLength(2);
});

test("any other failure is said each time", async () => {
  const fixture = new Fixture();
  fixture.refusal = new Error("no");
  fixture.cut = 3;
  for (let turn = 0; turn < 2; turn++) await fixture.tick();
  expect(fixture.warnings).toHaveLength(2);
});
