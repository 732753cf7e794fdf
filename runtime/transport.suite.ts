import { afterAll, beforeAll, describe } from "vitest";
import { type OpenedTransport, SuiteLog, type TransportSuiteOptions } from "./transport-suite/fixture.suite.js";
import { groupRules } from "./transport-suite/groups.suite.js";
import { committedOffsetRules, offsetFencingRules } from "./transport-suite/offsets.suite.js";
import { readingRules, writingRules } from "./transport-suite/records.suite.js";
import { topicRules } from "./transport-suite/topics.suite.js";
import { announcementRules, fencingRules, transactionRules } from "./transport-suite/transactions.suite.js";

export type { OpenedTransport, TransportSuiteOptions } from "./transport-suite/fixture.suite.js";

/**
 * What every transport does, whatever log is behind it (protocol 25). Topics, groups and ids are unique to a test and
 * waits end by conditions, so that it runs on a broker that others use as well.
 *
 * @param open called once; its log may hold anything
 */
export function transportSuite(
  name: string,
  open: () => Promise<OpenedTransport>,
  options: TransportSuiteOptions = {},
): void {
  describe(name, () => {
    const log = new SuiteLog(options);
    beforeAll(async () => {
      log.opened = await open();
    });
    afterAll(() => log.close());

    describe("topics", () => topicRules(log));
    describe("writing", () => writingRules(log));
    describe("reading", () => readingRules(log));
    describe("transactions", () => transactionRules(log));
    describe("announced transactions", () => announcementRules(log));
    describe("fencing", () => fencingRules(log));
    describe("committed offsets", () => committedOffsetRules(log));
    describe("who may commit offsets", () => offsetFencingRules(log));
    describe("groups", () => groupRules(log));
  });
}
