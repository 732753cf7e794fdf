import { createInterface } from "node:readline/promises";
import { planReset, type ResetPlan, reset } from "millrace";
import { type ConnectionSettings, connectKafka } from "./connection.js";
import { JSON_FORMAT } from "./format.js";
import type { CommandIo } from "./io.js";
import type { INSTANCE, RESET } from "./setting-table.js";
import { SettingsError, type Values } from "./settings.js";
import { formatBytes, formatCount } from "./text.js";
import type { TopicNames } from "./topics.js";
import { purchaseTopology } from "./topology.js";

export type ResetSettings = ConnectionSettings &
  TopicNames &
  Values<Pick<typeof INSTANCE, "applicationId" | "stateDir"> & typeof RESET>;

/** The `reset` command: the application begins anew, from the first purchase. */
export async function resetPipeline(settings: ResetSettings, io: CommandIo): Promise<number> {
  const { applicationId, stateDir, outputTopic, lateTopic, expiredTopic, deadLetterTopic } = settings;
  const transport = connectKafka("reset", settings, io.logger);
  const topology = purchaseTopology({ ...settings, emit: "update", format: JSON_FORMAT }).build();
  const outputs = [outputTopic, lateTopic, expiredTopic, deadLetterTopic];
  const options = { applicationId, stateDir, transport, alsoDelete: settings.outputs ? outputs : [] };
  try {
    await transport.connect();
    const plan = await planReset(topology, options);
    const isBlocked = plan.members.length > 0;
    if (!settings.json) io.stdout.write(planText(plan, settings));
    if (isBlocked) {
      io.stderr.write(
        `purchase: group "${applicationId}" has ${plan.members.length} live members; stop every instance first\n`,
      );
      for (const member of plan.members) io.stderr.write(`  ${member}\n`);
    }
    const isDone = !isBlocked && !settings.dryRun && (await isAgreed(settings, io));
    if (isDone) await reset(plan, options);
    if (settings.json) io.stdout.write(`${JSON.stringify({ ...plan, is_done: isDone })}\n`);
    else if (isDone) io.stdout.write("done: the next start begins at the first purchase\n");
    return isBlocked || (!isDone && !settings.dryRun) ? 1 : 0;
  } finally {
    await transport.close();
  }
}

function planText(plan: ResetPlan, { dryRun, outputs, inputTopic, outputTopic }: ResetSettings): string {
  const { applicationId, topics, state, offsets } = plan;
  const lines = [`${dryRun ? "would delete" : "deletes"}, for application "${applicationId}":`];
  lines.push(`  offsets  of group "${applicationId}", ${formatCount(offsets)} partitions`);
  for (const { topic, partitions, records } of topics)
    lines.push(`  topic    ${topic}, ${formatCount(partitions)} partitions, ${formatCount(records)} offsets`);
  if (topics.length === 0) lines.push("  topics   none: there are no internal topics");
  if (state === undefined) lines.push("  state    none on this machine");
  else lines.push(`  state    ${state.path}, ${formatCount(state.files)} files, ${formatBytes(state.bytes)}`);
  lines.push(
    `keeps: ${inputTopic}${outputs ? "" : `, ${outputTopic} and the other outputs (--outputs deletes them too)`}`,
  );
  lines.push("Other machines keep their state directories: delete them there, or run `reset` there as well.");
  return `${lines.join("\n")}\n`;
}

/** @throws SettingsError where nobody can be asked */
async function isAgreed({ yes, applicationId, json }: ResetSettings, io: CommandIo): Promise<boolean> {
  if (yes) return true;
  if (json || process.stdin.isTTY !== true || io.stdout.isTTY !== true)
    throw new SettingsError(["--yes: is needed where nobody can be asked; --dry-run shows what would be deleted"]);
  const terminal = createInterface({ input: process.stdin, output: io.stdout });
  try {
    const typed = await terminal.question(`type ${applicationId} to delete all this: `, { signal: io.stop });
    if (typed.trim() === applicationId) return true;
    io.stderr.write("purchase: nothing was deleted\n");
    return false;
  } finally {
    terminal.close();
  }
}
