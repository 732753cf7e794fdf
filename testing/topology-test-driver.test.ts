import { describe, expect, test } from "vitest";
import { int64, string, unvalidatedJson, windowed } from "../serdes/index.js";
import { count, sum } from "../topology/aggregators.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { tumbling } from "../topology/windows.js";
import { TopologyTestDriver } from "./topology-test-driver.js";

const MINUTE_MS = 60_000;

interface Purchase {
  readonly cents: number;
}

function spendPerMinute(options: { readonly graceMs: number }) {
  const builder = new StreamsBuilder();
  const spend = builder
    .stream("purchases", { key: string, value: unvalidatedJson<Purchase>() })
    .groupByKey()
    .windowedBy(tumbling({ sizeMs: MINUTE_MS, graceMs: options.graceMs }))
    .aggregate("spend", { purchases: count(), cents: sum((purchase) => purchase.cents) });
  spend.toStream().to("totals", { value: unvalidatedJson() });
  spend.late.mapValues((late) => late.lateByMs, { value: int64 }).to("late");
  return builder.build();
}

function open(topology: ReturnType<typeof spendPerMinute>) {
  const driver = new TopologyTestDriver(topology);
  return {
    driver,
    purchases: driver.createInputTopic("purchases", string, unvalidatedJson<Purchase>()),
    totals: driver.createOutputTopic(
      "totals",
      windowed(string, { sizeMs: MINUTE_MS }),
      unvalidatedJson<{ purchases: number; cents: number }>(),
    ),
    late: driver.createOutputTopic("late", string, int64),
  };
}

describe("TopologyTestDriver", () => {
  test("a record inside the grace period updates its ended window", () => {
    const { driver, purchases, totals } = open(spendPerMinute({ graceMs: 30_000 }));
    purchases.pipeInput("ann", { cents: 250 }, { timestampMs: 10_000 });
    purchases.pipeInput("bob", { cents: 100 }, { timestampMs: 70_000 });
    purchases.pipeInput("ann", { cents: 50 }, { timestampMs: 59_999 });
    expect(totals.readKeyValuesToList().at(-1)).toEqual({
      key: { key: "ann", window: { startMs: 0, endMs: MINUTE_MS } },
      value: { purchases: 2, cents: 300 },
    });
    expect(driver.getWindowStore("spend").get("ann", 0)).toEqual({ purchases: 2, cents: 300 });
    driver.close();
  });

  test("a record behind the grace period comes out of the late side, once, with how late it was", async () => {
    const { driver, purchases, totals, late } = open(spendPerMinute({ graceMs: 30_000 }));
    purchases.pipeInput("ann", { cents: 250 }, { timestampMs: 10_000 });
    purchases.pipeInput("bob", { cents: 100 }, { timestampMs: 100_000 });
    totals.readRecordsToList();
    purchases.pipeInput("ann", { cents: 50 }, { timestampMs: 59_999 });
    expect(totals.isEmpty).toBe(true);
    expect(late.readKeyValuesToList()).toEqual([{ key: "ann", value: expect.any(Number) }]);
    expect(await driver.droppedRecords()).toBe(1);
    driver.close();
  });
});
