import { WINDOW_MS } from "../apps/purchase/model.js";
import { RecordCursor } from "../runtime/record-cursor.js";
import { writeStartMs } from "../serdes/windowed.js";
import { Batches } from "./batches.js";
import { type Bench, endWell, RUNNING_TIMEOUT_MS, round2, shortName } from "./bench.js";
import { type Contender, type Guarantee, Job, kafkaStreams, millrace } from "./contenders.js";
import { NoiseMeter } from "./machine.js";
import { type AggregateRow, Oracle } from "./oracle.js";
import { makeTopic, send } from "./purchase-load.js";
import { type MadePurchase, PurchaseSource } from "./purchase-source.js";
import { quantile } from "./statistics.js";
import { verify } from "./verify.js";

const TICK_MS = 5;
/** After the last purchase, for what is still under way. */
const TAIL_MS = 15_000;
const START_BYTES = 8;

/** Without a cache rows are forwarded at once: the setting with which Kafka Streams' latency is best. */
const PEER_SETTINGS = { "statestore.cache.max.bytes": "0" };

interface Variant {
  readonly contender: Contender;
  readonly variant?: string;
  readonly settings?: Readonly<Record<string, string>>;
}

const VARIANTS: Readonly<Record<Guarantee, readonly Variant[]>> = {
  exactly_once: [{ contender: millrace }, { contender: kafkaStreams, settings: PEER_SETTINGS }],
  at_least_once: [
    { contender: millrace },
    { contender: kafkaStreams, settings: PEER_SETTINGS },
    { contender: kafkaStreams, variant: "linger.ms=0", settings: { ...PEER_SETTINGS, "producer.linger.ms": "0" } },
  ],
};

/** When each purchase of one user's window was made, in their order; an aggregate with count n covers the first n. */
interface Purchases {
  readonly madeMs: number[];
  covered: number;
}

/** What is under way, by the key of the output that will cover it. */
class Underway {
  readonly latencies: number[] = [];
  open = 0;
  readonly #byKey = new Map<string, Purchases>();

  /** @param madeMs NaN for one that is not measured */
  made({ key, eventMs }: MadePurchase, madeMs: number): void {
    const name = outputKey(key, eventMs - (eventMs % WINDOW_MS));
    const purchases = this.#byKey.get(name) ?? { madeMs: [], covered: 0 };
    this.#byKey.set(name, purchases);
    purchases.madeMs.push(madeMs);
    this.open++;
  }

  seen(key: Buffer, count: number, nowMs: number): void {
    const purchases = this.#byKey.get(key.toString("latin1"));
    if (purchases === undefined) throw new Error(`an output for nobody: ${key.toString("hex")}`);
    for (; purchases.covered < Math.min(count, purchases.madeMs.length); purchases.covered++) {
      this.open--;
      const latencyMs = nowMs - (purchases.madeMs[purchases.covered] as number);
      if (!Number.isNaN(latencyMs)) this.latencies.push(latencyMs);
    }
  }
}

function outputKey(user: Buffer, startMs: number): string {
  const key = Buffer.alloc(user.byteLength + START_BYTES);
  user.copy(key);
  writeStartMs(key, startMs, user.byteLength);
  return key.toString("latin1");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Writes purchases at their rate and reads the results in the same process: one clock for both ends. */
class Client {
  readonly underway = new Underway();
  readonly oracle: Oracle;
  readonly #source: PurchaseSource;
  readonly #bench: Bench;
  readonly #job: Job;
  #isAllMade = false;
  behindMsMax = 0;

  constructor(bench: Bench, job: Job, seed: number) {
    const { users, partitions, late } = bench.options;
    this.#bench = bench;
    this.#job = job;
    this.#source = new PurchaseSource({ seed, users, partitions, late });
    this.oracle = new Oracle(users);
  }

  async run(onWarm: () => void): Promise<void> {
    await Promise.all([this.#write(onWarm), this.#read()]);
  }

  async #write(onWarm: () => void): Promise<void> {
    const { rate, warmUpSeconds, measuredSeconds } = this.#bench.options;
    const producer = this.#bench.transport.openProducer();
    const total = rate * (warmUpSeconds + measuredSeconds);
    const warm = rate * warmUpSeconds;
    const startedMs = performance.now();
    let lastIngestionMs = 0;
    for (let made = 0; made < total; ) {
      const nowMs = performance.now();
      const due = Math.min(total, Math.floor(((nowMs - startedMs) * rate) / 1_000));
      const batches = new Batches(this.#job.options.input);
      lastIngestionMs = Math.max(lastIngestionMs, Date.now());
      if (made < due && made > warm) {
        this.behindMsMax = Math.max(this.behindMsMax, nowMs - startedMs - (made * 1_000) / rate);
      }
      for (; made < due; made++) {
        if (made === warm) onWarm();
        const purchase = this.#source.next(lastIngestionMs);
        this.oracle.add(purchase);
        this.underway.made(purchase, made < warm ? Number.NaN : performance.now());
        batches.append(purchase.partition, lastIngestionMs, purchase.key, purchase.value);
      }
      if (batches.all.length > 0) await send(producer, batches.all);
      this.#bench.progress.at(made);
      await pause(Math.max(0, TICK_MS - (performance.now() - nowMs)));
    }
    this.#isAllMade = true;
    await producer.close();
  }

  async #read(): Promise<void> {
    const topic = this.#job.output;
    const fetcher = this.#bench.transport.openFetcher({ name: "latency", readCommitted: true });
    const positions = new Map(Array.from({ length: this.#job.options.partitions }, (_, partition) => [partition, 0]));
    let tailMs = 0;
    for (;;) {
      const fetched = await fetcher.fetch({
        positions: [...positions].map(([partition, offset]) => ({ topic, partition, offset })),
        ...{ maxWaitMs: 100, bytesMax: 4 << 20, partitionBytesMax: 1 << 20 },
      });
      const nowMs = performance.now();
      for (const one of fetched) {
        const cursor = new RecordCursor(one);
        while (cursor.next()) {
          const row = JSON.parse(String(cursor.value)) as AggregateRow;
          this.underway.seen(cursor.key as Buffer, row.transaction_count, nowMs);
        }
        positions.set(one.partition, cursor.nextOffset);
      }
      if (!this.#isAllMade) continue;
      if (tailMs === 0) tailMs = nowMs;
      if (this.underway.open === 0) break;
      if (nowMs - tailMs > TAIL_MS)
        throw new Error(`${this.underway.open} purchases have no result after ${TAIL_MS} ms`);
    }
    await fetcher.close();
  }
}

/** From when a purchase is made until the first committed result that covers it is read, at a steady rate. */
export async function latency(bench: Bench): Promise<void> {
  const { guarantees, latencyRounds } = bench.options;
  for (const guarantee of guarantees) {
    for (let round = 1; round <= latencyRounds; round++) {
      const variants = VARIANTS[guarantee];
      for (const one of round % 2 === 1 ? variants : [...variants].reverse()) {
        await latencyRun(bench, one, guarantee, round);
      }
    }
  }
}

async function latencyRun(
  bench: Bench,
  { contender, variant, settings = {} }: Variant,
  guarantee: Guarantee,
  round: number,
): Promise<void> {
  const { partitions, rate, warmUpSeconds, measuredSeconds, latencyRounds } = bench.options;
  const input = `bench-latency-${Date.now()}`;
  const threads = bench.threads[contender.name];
  await makeTopic(bench.transport, input, partitions);
  const job = await Job.open(bench, contender, { guarantee, input, partitions, threads, settings });
  const label = variant === undefined ? contender.label : `${contender.label} with ${variant}`;
  const total = rate * (warmUpSeconds + measuredSeconds);
  bench.progress.begin(`latency, ${shortName(guarantee)}, ${round} of ${latencyRounds}, ${label}`, total);
  const running = contender.start(job);
  try {
    await running.printed(contender.running, RUNNING_TIMEOUT_MS);
    const client = new Client(bench, job, round);
    let noise = new NoiseMeter();
    let warm = { cpuSeconds: 0, ms: 0 };
    await client.run(() => {
      noise = new NoiseMeter();
      warm = { cpuSeconds: running.use().cpuSeconds, ms: performance.now() };
    });
    const coreShare = (running.use().cpuSeconds - warm.cpuSeconds) / ((performance.now() - warm.ms) / 1_000);
    const { otherCpuSeconds, isNoisy } = noise.read();
    await endWell(running, label);
    const outputRecords = await verify(bench.transport, job, client.oracle);
    const sorted = client.underway.latencies.sort((a, b) => a - b);
    const figures = {
      ...{ p50Ms: round2(quantile(sorted, 0.5)), p90Ms: round2(quantile(sorted, 0.9)) },
      ...{ p99Ms: round2(quantile(sorted, 0.99)), p999Ms: round2(quantile(sorted, 0.999)) },
      ...{ maxMs: round2(sorted.at(-1) ?? Number.NaN), measured: sorted.length, outputRecords },
      ...{ cpuPercent: Math.round(coreShare * 1_000) / 10, producerBehindMsMax: round2(client.behindMsMax) },
      otherCpuSeconds: round2(otherCpuSeconds),
    };
    bench.progress.end(
      `p50 ${figures.p50Ms} ms, p99 ${figures.p99Ms} ms, ${figures.cpuPercent} % of a core, right${isNoisy ? ", NOISY" : ""}`,
    );
    const which = { part: "latency", guarantee, contender: contender.name, round, threads } as const;
    bench.results.add({ ...which, ...(variant === undefined ? {} : { variant }), figures, isNoisy });
  } finally {
    await running.end("SIGKILL");
    await job.close(bench.transport, contender);
    await bench.transport.topics.delete([input]);
  }
}
