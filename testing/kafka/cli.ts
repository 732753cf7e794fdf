import { parseArgs } from "node:util";
import { findLocalKafka, startLocalKafka } from "./local-kafka.js";

const USAGE = `usage: cli.ts start [--port 9092] [--dir DIR]   runs a local Kafka until Ctrl-C
       cli.ts check                             fails when there is no Kafka for the tests
`;

interface Flags {
  readonly port: string;
  readonly dir?: string | undefined;
}

/** Runs a local Kafka in the foreground until a signal: `make kafka` where there is no Docker engine. */
async function start(flags: Flags): Promise<number> {
  const port = Number(flags.port);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return misused();
  const signalled = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  const kafka = await startLocalKafka({ port, ...(flags.dir === undefined ? {} : { directory: flags.dir }) });
  process.stdout.write(`Kafka is up: KAFKA_BROKERS=${kafka.brokers.join(",")} (Ctrl-C stops it)\n`);
  await signalled;
  await kafka.stop();
  return 0;
}

/** Before the first test of `make test`: a missing broker must not be found out after the tests that need none. */
async function check(): Promise<number> {
  const given = process.env.KAFKA_BROKERS ?? "";
  process.stdout.write(
    `Kafka for the tests: ${given === "" ? `one of their own, from ${await findLocalKafka()}` : given}\n`,
  );
  return 0;
}

function misused(): number {
  process.stderr.write(USAGE);
  return 2;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { port: { type: "string", default: "9092" }, dir: { type: "string" } },
  });
  switch (positionals.join(" ")) {
    case "start":
      return start(values);
    case "check":
      return check();
    default:
      return misused();
  }
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});
