import type { Command } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** A script that completes the program's commands and their options, made of the program itself. */
export function completionScript(program: Command, shell: Shell): string {
  const name = program.name();
  const commands = program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    options: command.options.filter(({ hidden }) => !hidden),
  }));
  const words = [...commands.map((command) => command.name), "--help", "--version"].join(" ");
  const flagsOf = ({ options }: (typeof commands)[number]): string =>
    [...options.map(({ long }) => long ?? ""), "--help"].join(" ");
  switch (shell) {
    case "bash":
      return `_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}"
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "${words}" -- "$current")); return; fi
  case "\${COMP_WORDS[1]}" in
${commands.map((command) => `    ${command.name}) COMPREPLY=($(compgen -W "${flagsOf(command)}" -- "$current")) ;;`).join("\n")}
  esac
}
complete -o default -F _${name} ${name}
`;
    case "zsh":
      return `#compdef ${name}
_${name}() {
  if (( CURRENT == 2 )); then compadd -- ${words}; return; fi
  case "\${words[2]}" in
${commands.map((command) => `    ${command.name}) compadd -- ${flagsOf(command)} ;;`).join("\n")}
  esac
}
compdef _${name} ${name}
`;
    case "fish":
      return [
        `complete -c ${name} -f`,
        ...commands.map(
          (command) =>
            `complete -c ${name} -n __fish_use_subcommand -a ${command.name} -d ${quoted(command.description)}`,
        ),
        `complete -c ${name} -n __fish_use_subcommand -l version -d 'the version'`,
        `complete -c ${name} -n '__fish_use_subcommand; or __fish_seen_subcommand_from ${commands.map((command) => command.name).join(" ")}' -l help -d 'what there is'`,
        ...commands.flatMap((command) =>
          command.options.map(
            ({ long, description }) =>
              `complete -c ${name} -n '__fish_seen_subcommand_from ${command.name}' -l ${(long ?? "").slice(2)} -d ${quoted(description)}`,
          ),
        ),
        "",
      ].join("\n");
  }
}

/** For fish: in single quotes a backslash and a quote need one before them. */
function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
