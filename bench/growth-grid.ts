import type { Bench } from "./bench.js";
import { millrace } from "./contenders.js";
import type { GrowthPoint } from "./options.js";
import { writeLoad } from "./purchase-load.js";
import { inWords, measureRun } from "./throughput.js";

/** What a record costs as records, users and partitions grow: one run of each point, exactly-once, in the same two hours of event time. */
export async function growthGrid(bench: Bench): Promise<void> {
  for (const point of bench.options.growth) await growthRun(bench, point);
}

export function pointName({ records, users, partitions }: GrowthPoint): string {
  const text = (value: number): string => value.toLocaleString("en");
  return `${text(records)} records, ${text(users)} users, ${partitions} partition${partitions === 1 ? "" : "s"}`;
}

async function growthRun(bench: Bench, point: GrowthPoint): Promise<void> {
  const { records, users, partitions } = point;
  const { late, seed } = bench.options;
  const threads = bench.threads.millrace;
  const topic = `bench-growth-${Date.now()}`;
  bench.progress.begin(`load of ${pointName(point)}`, records);
  const onProgress = (made: number): void => bench.progress.at(made);
  const oracle = await writeLoad(bench.transport, { topic, records, users, partitions, late, seed, onProgress });
  bench.progress.end(`${oracle.rows.toLocaleString("en")} rows to be found`);
  bench.progress.begin(`growth, ${pointName(point)}`, records);
  const { isNoisy, ...figures } = await measureRun(bench, millrace, {
    guarantee: "exactly_once",
    threads,
    load: { topic, partitions, oracle },
  });
  bench.progress.end(inWords({ isNoisy, ...figures }));
  const which = { part: "growth", guarantee: "exactly_once", contender: "millrace", round: 1, threads } as const;
  const size = { records, users, partitions, rows: oracle.rows };
  bench.results.add({ ...which, variant: pointName(point), figures: { ...size, ...figures }, isNoisy });
  await bench.transport.topics.delete([topic]);
}
