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
import type { Fetcher, FetcherOptions } from "./transport.js";

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
