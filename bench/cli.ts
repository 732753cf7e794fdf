// node --import tsx bench/cli.ts [--help]   as `make bench ARGS="..."`
import { KafkaJsTransport } from "../runtime/kafkajs/transport.js";
import { silentLogger } from "../runtime/logger.js";
import { startLocalKafka } from "../testing/kafka/local-kafka.js";
import type { Bench } from "./bench.js";
import { buildContenders } from "./built.js";
import { formatCosts } from "./format-costs.js";
import { formatRuns } from "./format-runs.js";
import { growthGrid } from "./growth-grid.js";
import { latency } from "./latency.js";
import { environment } from "./machine.js";
import { micro } from "./micro.js";
import { type BenchOptions, readOptions, USAGE, UsageError } from "./options.js";
import { Progress } from "./progress.js";
import { writeReport } from "./report.js";
import { restore } from "./restore.js";
import { Results } from "./results.js";
import { comparison, costs, noisyRuns, printed } from "./table.js";
import { bestPeerThreads, type Load, standardLoad, throughput } from "./throughput.js";

async function measure(bench: Bench): Promise<void> {
  const { parts, peerThreads } = bench.options;
  const wants = (...some: readonly string[]): boolean => parts.some((part) => some.includes(part));
  let load: Load | undefined;
  if (wants("throughput", "restore") || (wants("latency") && peerThreads === "auto")) load = await standardLoad(bench);
  if (load !== undefined && peerThreads === "auto") {
    bench.threads["kafka-streams"] = await bestPeerThreads(bench, load);
  }
  if (load !== undefined && wants("throughput")) await throughput(bench, load);
  if (wants("latency")) await latency(bench);
  if (load !== undefined && wants("restore")) await restore(bench, load);
  if (load !== undefined) await bench.transport.topics.delete([load.topic]);
  if (wants("growth")) await growthGrid(bench);
  if (wants("formats")) await formatRuns(bench);
  if (wants("micro")) {
    micro(bench);
    await formatCosts(bench);
  }
}

function printResults({ options, results }: Bench): void {
  const noisy = noisyRuns(results.runs);
  if (noisy !== undefined) console.log(noisy);
  const others = costs(results.runs);
  if (others !== "") console.log(others);
  for (const guarantee of options.guarantees) {
    const found = comparison(results.runs, guarantee);
    if (found !== undefined) console.log(printed(found));
  }
}

async function main(options: BenchOptions): Promise<void> {
  const progress = new Progress();
  progress.begin("build");
  await buildContenders();
  progress.end("done");
  const given = process.env.KAFKA_BROKERS ?? "";
  const kafka = given === "" ? await startLocalKafka() : undefined;
  const brokers = kafka?.brokers ?? given.split(",");
  const transport = new KafkaJsTransport({ client: { brokers: [...brokers] }, logger: silentLogger });
  try {
    await transport.connect();
    const command = `make bench${process.argv.length > 2 ? ` ARGS="${process.argv.slice(2).join(" ")}"` : ""}`;
    const session = { command, isQuick: options.isQuick, environment: await environment() };
    const threads = { millrace: options.threads[0], "kafka-streams": 1, "bare-loop": 1 };
    if (options.peerThreads !== "auto") threads["kafka-streams"] = options.peerThreads;
    const bench: Bench = {
      transport,
      brokers,
      options,
      progress,
      results: new Results(options.results, session),
      threads,
    };
    await measure(bench);
    printResults(bench);
    if (options.report) writeReport(options.results);
  } finally {
    progress.stop();
    await transport.close();
    await kafka?.stop();
  }
}

// The processes that are measured end with this one, and the broker sees to itself.
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.once(signal, () => process.exit(code));

try {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) console.log(USAGE);
  else if (options.isReportOnly) writeReport(options.results);
  else await main(options);
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
