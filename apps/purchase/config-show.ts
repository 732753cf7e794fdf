import type { CommandIo } from "./io.js";
import type { Setting } from "./setting-table.js";
import { explainSettings, type Sources } from "./settings.js";
import { tableOf } from "./table.js";

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
    const rows = settings.map(({ variable, value, from }) => [variable, value, from]);
    io.stdout.write(`${tableOf(["setting", "value", "from"], rows)}
`);
  }
  for (const fault of faults) io.stderr.write(`${fault}\n`);
  return faults.length > 0 ? 2 : 0;
}
