import { type Command, Option } from "commander";
import { completionScript, SHELLS, type Shell } from "./completion.js";
import type { CommandIo } from "./io.js";
import {
  CONNECTION,
  DOCTOR,
  HTTP,
  INPUT,
  INSTANCE,
  LAG,
  type LOGGING,
  QUERY,
  QUIET_LOGGING,
  RESET,
  type Setting,
  TOPICS,
} from "./setting-table.js";
import type { Values } from "./settings.js";

const { applicationId, stateDir } = INSTANCE;
const { httpHost, httpPort, httpToken } = HTTP;

const LAG_COMMAND = { ...LAG, ...CONNECTION, ...INPUT, applicationId, ...QUIET_LOGGING };
const QUERY_COMMAND = { ...QUERY, httpHost, httpPort, httpToken, applicationId, stateDir, ...TOPICS, ...QUIET_LOGGING };
const RESET_COMMAND = { ...RESET, ...CONNECTION, ...TOPICS, applicationId, stateDir, ...QUIET_LOGGING };
const DOCTOR_COMMAND = {
  ...DOCTOR,
  ...CONNECTION,
  ...TOPICS,
  applicationId,
  stateDir,
  httpHost,
  httpPort,
  httpToken,
  ...QUIET_LOGGING,
};

/** A command at work: ended cleanly at the first signal. */
interface Running {
  until(command: (io: CommandIo) => Promise<number>): Promise<number>;
}

/** Adds a command of settings, as `commandLine` does it. */
export type AddCommand = <D extends { readonly [K in keyof D]: Setting<unknown> } & typeof LOGGING>(
  name: string,
  definitions: D,
  action: (settings: Values<D>, run: Running, argument: string | undefined) => Promise<number>,
) => Command;

/** The commands that look at a pipeline, and the one that begins it anew. */
export function addTools(add: AddCommand): void {
  add("lag", LAG_COMMAND, async (settings, run) => {
    const { lag } = await import("./lag.js");
    return run.until((io) => lag(settings, io));
  })
    .description("how far the pipeline is behind its input, and how long that takes")
    .addHelpText("after", EXAMPLES.lag);
  add("query [sql]", QUERY_COMMAND, async (settings, run, sql) => {
    const { query } = await import("./query.js");
    return run.until((io) => query(sql, settings, io));
  })
    .description("SQL or one user's windows, from a running instance or a state directory")
    .addHelpText("after", EXAMPLES.query);
  add("doctor", DOCTOR_COMMAND, async (settings, run) => {
    const { doctor } = await import("./doctor.js");
    return run.until((io) => doctor(settings, io));
  })
    .description("looks at everything that `run` needs, and says what is wrong")
    .addHelpText("after", EXAMPLES.doctor);
  add("reset", RESET_COMMAND, async (settings, run) => {
    const { resetPipeline } = await import("./reset-command.js");
    return run.until((io) => resetPipeline(settings, io));
  })
    .description("deletes offsets, internal topics and state, so that the pipeline begins anew")
    .addHelpText("after", EXAMPLES.reset);
}

/** `config`: the settings of `run`, where each comes from. */
export function addConfig(
  command: Command,
  definitions: Readonly<Record<string, Setting<unknown>>>,
  io: Pick<CommandIo, "stdout" | "stderr" | "environment">,
  exitWith: (code: number) => void,
): void {
  command
    .description("shows the settings of `run`, and where each comes from; secrets are masked")
    .option("--show", "show them, which is what it does anyway")
    .option("--json", "as JSON")
    .addHelpText("after", EXAMPLES.config)
    .action(async ({ json, ...flags }: Record<string, unknown>) => {
      const { showConfig } = await import("./config-show.js");
      exitWith(showConfig(definitions, { flags, environment: io.environment }, io, { json: json === true }));
    });
}

export function addCompletion(program: Command, write: (text: string) => void): void {
  program
    .command("completion")
    .description("prints a script that completes commands and flags in a shell")
    .addOption(new Option("--shell <shell>", "for which").choices([...SHELLS]).default("bash"))
    .addHelpText("after", EXAMPLES.completion)
    .action(({ shell }: { readonly shell: Shell }) => write(completionScript(program, shell)));
}

const EXAMPLES = {
  lag: `
Examples:
  $ purchase lag --kafka-brokers localhost:9092
  $ purchase lag --kafka-brokers localhost:9092 --json | jq .lag`,
  query: `
Examples:
  $ purchase query "select key, sum(total_cents) / 100.0 total from purchases_per_user group by key order by total desc limit 10"
  $ purchase query --user user-000042 --from 2026-11-22T12:00:00.000Z
  $ purchase query --offline --state-dir ./state "select count(*) from purchases_per_user"`,
  doctor: `
Examples:
  $ purchase doctor --kafka-brokers localhost:9092
  $ purchase doctor --json | jq '.[] | select(.result != "ok")'`,
  reset: `
Examples:
  $ purchase reset --kafka-brokers localhost:9092 --dry-run        what would be deleted
  $ purchase reset --kafka-brokers localhost:9092                  asks before it does
  $ purchase reset --kafka-brokers localhost:9092 --yes --outputs  the output topics as well`,
  config: `
Examples:
  $ purchase config --show
  $ COMMIT_INTERVAL_MS=50 purchase config --json | jq '.settings[] | select(.from != "default")'`,
  completion: `
Examples:
  $ source <(purchase completion)                                   bash
  $ source <(purchase completion --shell zsh)                       zsh
  $ purchase completion --shell fish > ~/.config/fish/completions/purchase.fish`,
};
