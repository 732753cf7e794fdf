import type { StateFiles } from "../../stores/state-files.js";
import type { ResolvedConfig } from "../config.js";
import type { ThreadIdentity } from "./open-threads.js";

/**
 * With fewer threads than at the last start, or another number of them, some members of then do not come back. After a
 * kill, or with `onClose: "stay"`, they would hold their partitions until their sessions end; so they are taken out of the
 * group. Nobody else can have these names: the directory is locked, and a copy of it makes names of its own (protocol 11).
 */
export async function removeDroppedMembers(
  config: ResolvedConfig,
  files: StateFiles,
  identities: readonly ThreadIdentity[],
): Promise<void> {
  const { applicationId, groupInstanceId, transport, logger } = config;
  const names = identities.map((identity) => identity.groupInstanceId);
  // A name that somebody has set may be in use elsewhere by now, and is left to its session.
  const base = groupInstanceId ?? files.identity;
  const dropped = files.members.filter(
    (name) => !names.includes(name) && (name === base || name.startsWith(`${base}-`)),
  );
  let left: readonly string[] = [];
  if (dropped.length > 0) {
    try {
      await transport.topics.removeMembers(applicationId, dropped);
      logger.info({ members: dropped }, "members of threads that are no more have left the group");
    } catch (error) {
      left = dropped;
      logger.warn(
        { err: error, members: dropped },
        "members of threads that are no more could not be taken out of the group: their sessions end by themselves",
      );
    }
  }
  files.rememberMembers([...names, ...left]);
}
