import { avroFormat } from "../apps/purchase/avro-format.js";
import type { Purchase } from "../apps/purchase/model.js";
import type { Compression } from "../runtime/codecs.js";
import { SchemaRegistry } from "../serdes/schema-registry.js";
import type { Bench } from "./bench.js";
import { millrace } from "./contenders.js";
import type { AggregateRow } from "./oracle.js";
import { writeLoad } from "./purchase-load.js";
import { type LocalRegistry, startRegistry } from "./registry.js";
import { inWords, measureRun } from "./throughput.js";
import type { Readers } from "./verify.js";

interface FormatRun {
  readonly format: "json" | "avro";
  readonly compression: Compression;
}

const RUNS: readonly FormatRun[] = [
  { format: "json", compression: "none" },
  { format: "avro", compression: "none" },
  { format: "json", compression: "gzip" },
  { format: "json", compression: "snappy" },
  { format: "json", compression: "lz4" },
  { format: "json", compression: "zstd" },
];
/** CPU per record varies little: two rounds show whether they agree. */
const ROUNDS_MAX = 2;

/** The whole pipeline, exactly-once, in each format and with each codec: of what it reads and of what it writes. */
export async function formatRuns(bench: Bench): Promise<void> {
  const registry = await startRegistry();
  try {
    for (const run of bench.options.isQuick ? RUNS.slice(0, 2) : RUNS) await formatRun(bench, registry, run);
  } finally {
    registry.close();
  }
}

async function formatRun(bench: Bench, registry: LocalRegistry, { format, compression }: FormatRun): Promise<void> {
  const { records, users, partitions, late, seed, rounds } = bench.options;
  const topic = `bench-${format}-${compression}-${Date.now()}`;
  const variant = `${format}, ${compression}`;
  const own = format === "avro" ? await avro(registry, topic) : undefined;
  bench.progress.begin(`load as ${variant}`, records);
  const oracle = await writeLoad(bench.transport, {
    ...{ topic, records, users, partitions, late, seed, compression },
    ...(own === undefined ? {} : { encode: own.encode }),
    onProgress: (made) => bench.progress.at(made),
  });
  bench.progress.end("done");
  for (let round = 1; round <= Math.min(rounds, ROUNDS_MAX); round++) {
    bench.progress.begin(`pipeline, ${variant}, ${round}`, records);
    const { isNoisy, ...figures } = await measureRun(bench, millrace, {
      guarantee: "exactly_once",
      threads: bench.threads.millrace,
      load: { topic, partitions, oracle },
      settings: {
        ...{ FORMAT: format, COMPRESSION: compression },
        ...(format === "avro" ? { SCHEMA_REGISTRY_URL: registry.url } : {}),
      },
      ...(own === undefined ? {} : { readers: own.readers }),
    });
    bench.progress.end(inWords({ isNoisy, ...figures }));
    const which = { part: "formats", guarantee: "exactly_once", contender: "millrace", variant, round } as const;
    bench.results.add({ ...which, figures, isNoisy });
  }
  await bench.transport.topics.delete([topic]);
}

async function avro(
  registry: LocalRegistry,
  inputTopic: string,
): Promise<{ readonly encode: (json: Buffer) => Uint8Array; readonly readers: Readers }> {
  const client = new SchemaRegistry({ url: registry.url });
  const { readers } = avroFormat(client, { inputTopic, lateTopic: "", outputTopic: "" }, "");
  await readers.purchase.prepare?.("write");
  // What the pipeline has registered is known by its ids: reading asks nobody.
  let known = 0;
  const knowAll = async (): Promise<void> => {
    while (known < registry.schemas.length) await client.load(++known);
  };
  return {
    encode: (json) => readers.purchase.serialize(JSON.parse(json.toString("utf8")) as Purchase),
    readers: {
      prepare: knowAll,
      aggregate: (value) => readers.userWindow.deserialize(value) as AggregateRow,
      late: (value) => readers.late.deserialize(value) as { readonly transaction_id: string },
    },
  };
}
