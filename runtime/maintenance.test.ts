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

test("repartition topics are purged up to what is committed, at most every 30 s; source topics never", async () => {
  const deleted: object[] = [];
  const admin = {
    deleteRecords: async (upTo: readonly object[]) => void deleted.push(...upTo),
  } as unknown as TopicAdmin;
  let nowMs = 0;
  const maintenance = new Maintenance(admin, new TopicNames("app"), silentLogger, 0, () => nowMs);
  const queue = (topic: string, internal: boolean) => ({
    topic,
    partition: 0,
    position: 900,
    source: { topics: [{ internal }] },
  });
  // It has processed up to 900, and the last commit covers 70 and 50.
  const sourceOffsets = [
    { topic: "app-by-color-repartition", partition: 0, offset: 70 },
    { topic: "in", partition: 0, offset: 50 },
  ];
  const state = { changelogCuts: () => ({}), checkpoint: () => ({ sourceOffsets }) };
  const queues = [queue("app-by-color-repartition", true), queue("in", false)];
  const purged = { topic: "app-by-color-repartition", partition: 0, offset: 70 };
  for (; nowMs < 45_000; nowMs += 1_000) {
    maintenance.tick([{ partition: 0, queues, state } as unknown as StreamTask]);
    await maintenance.settled();
  }
  expect(deleted).toEqual([purged, purged]);
});

test("a session that ends before the purge interval has purged too: the interval begins with what is purged, not with the session", async () => {
  const deleted: object[] = [];
  const admin = {
    deleteRecords: async (upTo: readonly object[]) => void deleted.push(...upTo),
  } as unknown as TopicAdmin;
  let nowMs = 0;
  const maintenance = new Maintenance(admin, new TopicNames("app"), silentLogger, 0, () => nowMs);
  const tick = async (tasks: readonly object[]): Promise<void> => {
    maintenance.tick(tasks as readonly StreamTask[]);
    await maintenance.settled();
    nowMs += 1_000;
  };
  // Its tasks are not open yet.
  await tick([]);
  const purged = { topic: "app-by-color-repartition", partition: 0, offset: 70 };
  const state = { changelogCuts: () => ({}), checkpoint: () => ({ sourceOffsets: [purged] }) };
  const queues = [{ topic: purged.topic, partition: 0, source: { topics: [{ internal: true }] } }];
  await tick([{ partition: 0, queues, state }]);
  expect(deleted).toEqual([purged]);
});
