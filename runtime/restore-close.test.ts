import { EventEmitter, once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { string } from "../serdes/index.js";
import { eventually, LogProbe } from "../testing/log-probe.suite.js";
import { StreamsBuilder } from "../topology/dsl.js";
import { EmbeddedLog } from "./embedded/embedded-log.js";
import { EmbeddedTransport } from "./embedded/transport.js";
import { KafkaStreams } from "./streams.js";
import type { Fetcher, FetcherOptions, GroupMember, GroupMemberOptions, Producer } from "./transport.js";

/** A restore from brokers that take the question and never answer: a fetch ends when its fetcher closes, and not before. */
class DeafTransport extends EmbeddedTransport {
  asked = 0;

  override openFetcher(options: FetcherOptions): Fetcher {
    if (options.name !== "restore") return super.openFetcher(options);
    let end = (): void => undefined;
    const closed = new Promise<readonly []>((resolve) => {
      end = () => resolve([]);
    });
    return {
      fetch: () => {
        this.asked++;
        return closed;
      },
      close: async () => end(),
    };
  }
}

test("a close in the middle of a restore whose brokers do not answer does not wait for them", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-restore-close-"));
  const log = new EmbeddedLog({ file: ":memory:" });
  const probe = new LogProbe(new EmbeddedTransport({ log }));
  const builder = new StreamsBuilder();
  builder.stream("in", { key: string, value: string }).groupByKey().count("counts");
  const topology = builder.build();
  const start = async (transport: EmbeddedTransport, dir: string): Promise<KafkaStreams> => {
    const streams = new KafkaStreams(topology, { applicationId: "app", transport, stateDir: join(stateDir, dir) });
    await streams.start();
    return streams;
  };
  await probe.transport.connect();
  await probe.createTopic("in", 1);
  await probe.write("in", [{ key: "ann", value: "x" }]);
  const first = await start(new EmbeddedTransport({ log }), "1");
  await probe.caughtUp("app", "in");
  await first.close();

  const deaf = new DeafTransport({ log });
  const second = await start(deaf, "2");
  await eventually("it asks for its changelog", () => deaf.asked > 0);
  const beganMs = performance.now();
  await second.close();
  expect(performance.now() - beganMs).toBeLessThan(5_000);
  expect(second.state).toBe("NOT_RUNNING");
  await probe.close();
  log.close();
  await rm(stateDir, { recursive: true, force: true });
});

/** From the first question about offsets on, its cable is pulled: that has no answer until the test ends it, and the session is over. */
class CutTransport extends EmbeddedTransport {
  readonly #steps = new EventEmitter();
  readonly #cut = once(this.#steps, "cut");
  readonly #mended = once(this.#steps, "mended");
  isCut = false;
  outputsClosed = 0;

  constructor(log: EmbeddedLog) {
    super({ log });
    const ask = this.topics.offsets.bind(this.topics);
    this.topics.offsets = async (partitions, which) => {
      this.isCut = true;
      this.#steps.emit("cut");
      await this.#mended;
      return ask(partitions, which);
    };
  }

  mend(): void {
    this.isCut = false;
    this.#steps.emit("mended");
  }

  override openGroupMember(options: GroupMemberOptions): GroupMember {
    const inner = super.openGroupMember(options);
    const status = () => (this.isCut ? "unavailable" : inner.status);
    return {
      get status() {
        return status();
      },
      join: (request) => inner.join(request),
      changed: async () => void (await Promise.race([inner.changed(), this.#cut])),
      rival: () => inner.rival(),
      leave: () => inner.leave(),
      close: () => inner.close(),
    };
  }

  override openProducer(): Producer {
    const inner = super.openProducer();
    return {
      produce: (batches) => inner.produce(batches),
      close: async () => {
        this.outputsClosed++;
        await inner.close();
      },
    };
  }
}

test("outputs are closed when the session is over, though a task is opening and has no answer", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "millrace-restore-close-"));
  const log = new EmbeddedLog({ file: ":memory:" });
  const probe = new LogProbe(new EmbeddedTransport({ log }));
  const builder = new StreamsBuilder();
  builder.stream("in", { key: string, value: string }).groupByKey().count("counts");
  await probe.transport.connect();
  await probe.createTopic("in", 1);
  const transport = new CutTransport(log);
  const streams = new KafkaStreams(builder.build(), { applicationId: "app", transport, stateDir });
  await streams.start();
  await eventually("its outputs are closed", () => transport.outputsClosed === 1);
  expect(transport.isCut).toBe(true);
  transport.mend();
  await streams.close();
  await probe.close();
  log.close();
  await rm(stateDir, { recursive: true, force: true });
});
