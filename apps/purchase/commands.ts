import { Command, CommanderError, Option } from "commander";
import { ConfigError, type DescribeFormat, describe, StreamsError, VERSION } from "millrace";
import type { Logger } from "pino";
import { addCompletion, addConfig, addTools } from "./commands-tools.js";
import type { CommandIo } from "./io.js";
import { openLogger } from "./logging.js";
import { RestoreBar } from "./restore-bar.js";
import { SendError } from "./sender.js";
import {
  COMPRESSION,
  CONNECTION,
  EMISSION,
  ENGINE,
  EXPECTED,
  FORMAT,
  HTTP,
  INPUT,
  INSTANCE,
  JSON_OUTPUT,
  LOGGING,
  QUIET_LOGGING,
  REPLICATION,
  type Setting,
  SIMULATOR,
  TOPICS,
} from "./setting-table.js";
import { defaultText, flagName, readSettings, SettingsError, type Values } from "./settings.js";
import { listenForStop } from "./signals.js";
import { isTerminal } from "./terminal.js";

/** What the process is made of; a test brings its own. */
export interface Process {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const OK = 0;
const FAILED = 1;
const USAGE = 2;

// Windows close every few seconds, and every output shows.
const DEMO_SIMULATOR = {
  ...SIMULATOR,
  rate: { ...SIMULATOR.rate, default: 1_000 },
  timeScale: { ...SIMULATOR.timeScale, default: 60 },
  expired: { ...SIMULATOR.expired, default: 0.01 },
  invalid: { ...SIMULATOR.invalid, default: 0.01 },
};
/** The demo's log lines would scroll its console away. */
const DEMO_LOGGING = { ...LOGGING, logLevel: { ...LOGGING.logLevel, default: "warn" as const } };

const RUN = {
  ...CONNECTION,
  ...INSTANCE,
  ...ENGINE,
  ...COMPRESSION,
  ...TOPICS,
  ...EMISSION,
  ...FORMAT,
  ...REPLICATION,
  ...EXPECTED,
  ...HTTP,
  ...LOGGING,
};
const PRODUCE = {
  ...SIMULATOR,
  ...CONNECTION,
  ...INPUT,
  ...REPLICATION,
  ...COMPRESSION,
  ...FORMAT,
  ...LOGGING,
  ...JSON_OUTPUT,
};
const DEMO = { ...DEMO_SIMULATOR, ...ENGINE, ...TOPICS, ...HTTP, ...DEMO_LOGGING, ...JSON_OUTPUT };
const LIVE = { ...CONNECTION, ...TOPICS, ...FORMAT, ...QUIET_LOGGING, ...JSON_OUTPUT };
const TOPOLOGY = { applicationId: INSTANCE.applicationId, ...TOPICS, ...EMISSION };

const FORMATS: readonly DescribeFormat[] = ["text", "json", "mermaid", "dot"];

/** Parses the arguments, runs the command, and gives the exit code: 0 closed, 1 failed, 2 usage or setting. */
export async function runCommand(args: readonly string[], process: Process): Promise<number> {
  let exitCode = OK;
  const program = commandLine(process, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    return report(error, process.stderr);
  }
}

function commandLine(process: Process, exitWith: (code: number) => void): Command {
  const program = new Command("purchase")
    .description("Purchases in, five-minute aggregates per user out: a pipeline on Millrace.")
    .version(VERSION, "--version", "the version of Millrace")
    .exitOverride()
    .configureOutput({ writeOut: (text) => process.stdout.write(text), writeErr: (text) => process.stderr.write(text) })
    .showHelpAfterError("(--help lists what there is)")
    .addHelpText("after", EXAMPLES.program);
  const add = <D extends { readonly [K in keyof D]: Setting<unknown> } & typeof LOGGING>(
    name: string,
    definitions: D,
    action: (settings: Values<D>, run: CommandRun, argument: string | undefined) => Promise<number>,
  ): Command => {
    const command = program.command(name).option("--no-color", "no colours, as NO_COLOR=1");
    for (const [setting, definition] of Object.entries<Setting<unknown>>(definitions))
      addOptions(command, setting, definition);
    return command.action(async (...given: unknown[]) => {
      // The command's arguments, its flags, itself.
      const flags = given.at(-2) as Record<string, unknown>;
      const argument = given.length > 2 ? (given[0] as string | undefined) : undefined;
      const environment = flags.color === false ? { ...process.environment, NO_COLOR: "1" } : process.environment;
      const settings = readSettings(definitions, { flags, environment });
      exitWith(await action(settings, new CommandRun({ ...process, environment }, settings), argument));
    });
  };
  // Each loads what it needs when it is chosen: all together are 0.2 s of CPU at every start.
  add("run", { ...RUN, ...JSON_OUTPUT }, async (settings, run) => {
    const { runPipeline } = await import("./run.js");
    return runPipeline(settings, run.io, run.bar);
  })
    .description("one instance of the pipeline, on a Kafka broker")
    .addHelpText("after", EXAMPLES.run);
  add("produce", PRODUCE, async (settings, run) => {
    const { produce } = await import("./produce.js");
    return run.until((io) => produce(settings, io));
  })
    .description("simulated purchases into a Kafka broker")
    .addHelpText("after", EXAMPLES.produce);
  add("demo", DEMO, async (settings, run) => {
    const { demo } = await import("./demo.js");
    return run.until((io) => demo(settings, io));
  })
    .description("producer, pipeline and live console in one process, without a broker")
    .addHelpText("after", EXAMPLES.demo);
  add("live", LIVE, async (settings, run) => {
    const { live } = await import("./live.js");
    return run.until((io) => live(settings, io));
  })
    .description("live console: transactions, late events, open windows")
    .addHelpText("after", EXAMPLES.live);
  addTopology(program, process, exitWith);
  addTools(add);
  const config = program.command("config");
  for (const [setting, definition] of Object.entries<Setting<unknown>>(RUN)) addOptions(config, setting, definition);
  addConfig(config, RUN, process, exitWith);
  addCompletion(program, (text) => void process.stdout.write(text));
  return program;
}

function addTopology(program: Command, process: Process, exitWith: (code: number) => void): void {
  const command = program
    .command("topology")
    .description("prints the pipeline's topology, or how it differs from its state; needs no broker")
    .addOption(new Option("--format <format>", "how").choices(FORMATS).default("text"))
    .option("--json", "as JSON, for programs: with --diff as well")
    .option(
      "--diff <state-dir>",
      "instead, how its stores differ from the state there; exit code 1 where `run` would refuse",
    )
    .addHelpText("after", EXAMPLES.topology);
  for (const [setting, definition] of Object.entries(TOPOLOGY)) addOptions(command, setting, definition);
  command.action(async ({ format, json = false, diff, ...flags }: Record<string, unknown> & TopologyFlags) => {
    const { purchaseTopology } = await import("./topology.js");
    const settings = readSettings(TOPOLOGY, { flags, environment: process.environment });
    const topology = purchaseTopology(settings).build();
    if (diff !== undefined) {
      const { topologyDiff } = await import("./topology-diff.js");
      const { text, exitCode } = topologyDiff(
        topology,
        { stateDir: diff, applicationId: settings.applicationId },
        { json },
      );
      process.stdout.write(text);
      return exitWith(exitCode);
    }
    const text = describe(topology, json ? "json" : format);
    process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
  });
}

interface TopologyFlags {
  readonly format: DescribeFormat;
  readonly json?: boolean;
  readonly diff?: string;
}

function addOptions(command: Command, name: string, definition: Setting<unknown>): void {
  const isSwitch = typeof definition.default === "boolean";
  const notes = [definition.variable, `default ${defaultText(definition)}`].filter((note) => note !== undefined);
  const option = new Option(
    `${flagName(name)} ${isSwitch ? "[on]" : "<value>"}`,
    `${definition.help} (${notes.join(", ")})`,
  );
  command.addOption(definition.help === "not there yet" ? option.hideHelp() : option);
  if (definition.isSecret)
    command.addOption(
      new Option(`${flagName(name)}-file <file>`, `file that holds it (${definition.variable}_FILE)`).hideHelp(
        definition.help === "not there yet",
      ),
    );
}

/** One command at work: its logger, and what ends it. */
class CommandRun {
  readonly bar: RestoreBar;
  readonly #process: Process;
  readonly #logger: Logger;

  constructor(process: Process, { logLevel, logFormat }: Values<typeof LOGGING>) {
    const isOnTerminal = isTerminal(process.stderr, process.environment);
    this.#process = process;
    this.bar = new RestoreBar(process.stderr, { isTerminal: isOnTerminal });
    this.#logger = openLogger({
      level: logLevel,
      format: logFormat,
      isTerminal: isOnTerminal,
      write: (line) => this.bar.print(line),
    });
  }

  /** For a command that handles the signals itself. */
  get io(): CommandIo {
    return { ...this.#process, logger: this.#logger, stop: new AbortController().signal };
  }

  /** Runs a command that ends when it is done, or cleanly at the first signal. */
  async until(command: (io: CommandIo) => Promise<number>): Promise<number> {
    const stop = listenForStop();
    try {
      return await command({ ...this.#process, logger: this.#logger, stop: stop.signal });
    } finally {
      stop.dispose();
    }
  }
}

/** Says what went wrong, in one line for each fault. */
function report(error: unknown, stderr: NodeJS.WriteStream): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? OK : USAGE;
  if (error instanceof SettingsError || error instanceof ConfigError) {
    for (const fault of error.faults) stderr.write(`${fault}\n`);
    return USAGE;
  }
  const isExpected = error instanceof StreamsError || error instanceof SendError;
  const text = error instanceof Error ? ((isExpected ? error.message : error.stack) ?? error.message) : String(error);
  stderr.write(`purchase: ${text}\n`);
  return FAILED;
}

const EXAMPLES = {
  program: `
Examples:
  $ purchase demo                                      everything in one process, no broker
  $ KAFKA_BROKERS=localhost:9092 purchase produce      purchases at 100 a second
  $ KAFKA_BROKERS=localhost:9092 purchase run          the pipeline
  $ KAFKA_BROKERS=localhost:9092 purchase live         what is going on

Every flag is an environment variable too: --commit-interval-ms is COMMIT_INTERVAL_MS. A flag wins.
Exit codes: 0 closed, 1 failed, 2 usage or setting, 130 and 143 after a second signal.`,
  run: `
Examples:
  $ purchase run --kafka-brokers localhost:9092
  $ KAFKA_BROKERS=kafka:9092 STATE_DIR=/data HTTP_HOST=0.0.0.0 purchase run --emit final
  $ purchase run --kafka-brokers localhost:9092 --state-dir ./state-2 --http-port 0     a second instance here
  $ purchase run --kafka-brokers localhost:9092 --json 2>run.log | jq -c '{state, reason}'            what it is at, for programs`,
  produce: `
Examples:
  $ purchase produce --kafka-brokers localhost:9092 --rate 500
  $ purchase produce --kafka-brokers localhost:9092 --count 20000 --late 0.02 --seed 42
  $ purchase produce --kafka-brokers localhost:9092 --late 0.1 --late-by 30m..60m --expired 0.01 --invalid 0.01 --time-scale 60
  $ purchase produce --kafka-brokers localhost:9092 --count 20000 --json | jq .late`,
  demo: `
Examples:
  $ purchase demo                                      until Ctrl-C
  $ purchase demo --count 20000                        ends by itself, and accounts for every record
  $ purchase demo --count 20000 --seed 7 | cat         plain lines
  $ purchase demo --count 20000 --json | jq 'select(.event == "summary")'`,
  live: `
Examples:
  $ purchase live --kafka-brokers localhost:9092
  $ NO_COLOR=1 purchase live --kafka-brokers localhost:9092 | grep late
  $ purchase live --kafka-brokers localhost:9092 --json | jq -r 'select(.event == "late").value.user_id'`,
  topology: `
Examples:
  $ purchase topology
  $ purchase topology --format mermaid --emit final
  $ purchase topology --json | jq '.subTopologies[].stores'
  $ purchase topology --diff ./state                   what a start would do with the state there`,
};
