import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { runCommand } from "./commands.js";

async function bashScript(): Promise<string> {
  let script = "";
  const write = (text: string): boolean => {
    script += text;
    return true;
  };
  const stream = { write, isTTY: false } as unknown as NodeJS.WriteStream;
  await runCommand(["completion"], { stdout: stream, stderr: stream, environment: {} });
  return script;
}

/** What bash offers for the last of these words, as when the tab key is pressed behind it. */
async function offered(...words: readonly string[]): Promise<string[]> {
  const press = `
    script=$1; shift
    eval "$script"
    complete -p purchase | grep -q -- "-F _purchase " || exit 1
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _purchase
    printf "%s\\n" "\${COMPREPLY[@]}"`;
  const { stdout } = await promisify(execFile)("bash", ["--norc", "-c", press, "bash", await bashScript(), ...words]);
  return stdout.split("\n").filter((word) => word !== "");
}

test("bash completes the name of a command", async () => {
  expect(await offered("purchase", "de")).toEqual(["demo"]);
  expect((await offered("purchase", "r")).sort()).toEqual(["reset", "run"]);
  expect(await offered("purchase", "")).toContain("--help");
});

test("bash completes the flags of that command and of no other", async () => {
  expect(await offered("purchase", "run", "--commit-i")).toEqual(["--commit-interval-ms"]);
  expect(await offered("purchase", "produce", "--late")).toEqual(["--late", "--late-by"]);
  expect(await offered("purchase", "produce", "--commit-i")).toEqual([]);
  expect(await offered("purchase", "live", "--kafka-brokers", "localhost:9092", "--js")).toEqual(["--json"]);
});

test("bash is offered nothing for a command that there is not", async () => {
  expect(await offered("purchase", "bogus", "--")).toEqual([]);
});
