import Table from "cli-table3";
import type { CommandIo } from "./io.js";
import type { Setting } from "./setting-table.js";
import { explainSettings, type Sources } from "./settings.js";

/** The `config` command: what each setting of `run` is, and where it comes from. Secrets are masked. Exit code 2 where one is wrong. */
export function showConfig(
  definitions: Readonly<Record<string, Setting<unknown>>>,
  sources: Sources,
  io: Pick<CommandIo, "stdout" | "stderr">,
  { json }: { readonly json: boolean },
): number {
  const { settings, faults } = explainSettings(definitions, sources);
  if (json) {
    io.stdout.write(`${JSON.stringify({ settings, faults })}\n`);
  } else {
    const table = new Table({ head: ["setting", "value", "from"], style: { head: [], border: [] } });
    for (const { variable, value, from } of settings) table.push([variable, value, from]);
    io.stdout.write(`${table.toString()}\n`);
  }
  for (const fault of faults) io.stderr.write(`${fault}\n`);
  return faults.length > 0 ? 2 : 0;
}
