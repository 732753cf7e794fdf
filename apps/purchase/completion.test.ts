import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { runCommand } from "./commands.js";
import { SHELLS, type Shell } from "./completion.js";

// In the shells themselves: no other program knows what they make of a script.

/** A shell starts, reads its own completions, and is waited for. */
vi.setConfig({ testTimeout: 60_000 });

async function scriptFor(shell: Shell): Promise<string> {
  let script = "";
  const write = (text: string): boolean => {
    script += text;
    return true;
  };
  const stream = { write, isTTY: false } as unknown as NodeJS.WriteStream;
  await runCommand(["completion", "--shell", shell], { stdout: stream, stderr: stream, environment: {} });
  return script;
}

/** @throws with what to install, where there is no such shell: these tests are never skipped */
async function run(shell: Shell, args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  try {
    return await promisify(execFile)(shell, args, { env: { ...process.env, ...environment } });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      throw new Error(`no ${shell} here: apt-get install ${shell}`, { cause: error });
    throw error;
  }
}

const linesOf = (text: string): string[] => text.split("\n").filter((line) => line !== "");

/** What a shell offers for the last of these words, as when the tab key is pressed behind it. */
const OFFERED: Readonly<Record<Shell, (words: readonly string[]) => Promise<string[]>>> = {
  async bash(words) {
    const press = `
      script=$1; shift
      eval "$script"
      complete -p purchase | grep -q -- "-F _purchase " || exit 1
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
      _purchase
      printf "%s\\n" "\${COMPREPLY[@]}"`;
    const { stdout } = await run("bash", ["--norc", "-c", press, "bash", await scriptFor("bash"), ...words]);
    return linesOf(stdout);
  },

  /** An interactive zsh on a pseudo-terminal, where the key is pressed; each match that it adds goes into a file. */
  async zsh(words) {
    const directory = await mkdtemp(join(tmpdir(), "millrace-zsh-"));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const offered = join(directory, "offered");
    await writeFile(join(directory, "script"), await scriptFor("zsh"));
    await writeFile(
      join(directory, ".zshrc"),
      `autoload -Uz compinit && compinit -u -D
      source ${directory}/script
      compadd() { local -a found; builtin compadd -A found "$@"; print -rl -- $found >> ${offered}.part; builtin compadd "$@" }
      finished() { touch ${offered}.part; mv ${offered}.part ${offered} }
      comppostfuncs=(finished)
      bindkey "^I" complete-word`,
    );
    const press = `
      zmodload zsh/zpty
      zpty shell zsh -i
      zpty -w -n shell "$1"$'\\t'
      for ((waited = 0; waited < 400; waited++)); do
        [[ -e ${offered} ]] && exit 0
        zpty -r -t shell && true
        sleep 0.1
      done
      exit 1`;
    await run("zsh", ["-f", "-c", press, "zsh", words.join(" ")], { ZDOTDIR: directory });
    return linesOf(await readFile(offered, "utf8"));
  },

  async fish(words) {
    const press = "echo $argv[1] | source; complete --do-complete $argv[2]";
    const home = await mkdtemp(join(tmpdir(), "millrace-fish-"));
    onTestFinished(() => rm(home, { recursive: true, force: true }));
    const args = ["--no-config", "-c", press, await scriptFor("fish"), words.join(" ")];
    const { stdout } = await run("fish", args, { HOME: home });
    return linesOf(stdout).map((line) => line.split("\t")[0] ?? "");
  },
};

test.each(SHELLS)("%s completes the name of a command", async (shell) => {
  expect(await OFFERED[shell](["purchase", "de"])).toEqual(["demo"]);
  expect((await OFFERED[shell](["purchase", "r"])).sort()).toEqual(["reset", "run"]);
});

test.each(SHELLS)("%s completes the flags of that command and of no other", async (shell) => {
  const offered = OFFERED[shell];
  expect(await offered(["purchase", "run", "--commit-i"])).toEqual(["--commit-interval-ms"]);
  expect((await offered(["purchase", "produce", "--late"])).sort()).toEqual(["--late", "--late-by"]);
  expect(await offered(["purchase", "produce", "--commit-i"])).toEqual([]);
  expect(await offered(["purchase", "live", "--kafka-brokers", "localhost:9092", "--js"])).toEqual(["--json"]);
});

test.each(SHELLS)("%s is offered what the program itself takes", async (shell) => {
  expect(await OFFERED[shell](["purchase", "--v"])).toEqual(["--version"]);
  expect(await OFFERED[shell](["purchase", "--h"])).toEqual(["--help"]);
});

test.each(SHELLS)("%s is offered nothing for a command that there is not", async (shell) => {
  expect(await OFFERED[shell](["purchase", "bogus", "--"])).toEqual([]);
});
