import type { StateFiles } from "../../stores/state-files.js";
import type { ProcessorTopology } from "../../topology/processor-topology.js";
import { BYTES_MAX_MIN, type ResolvedConfig } from "../config.js";
import { LocalThread } from "./local-thread.js";
import { sharedConfig } from "./messages.js";
import type { Thread } from "./thread.js";
import { WorkerThread } from "./worker-thread.js";

export interface ThreadIdentity {
  readonly groupInstanceId: string;
  readonly transactionalId: string;
}

/** Who the stream threads of an instance are (protocol 11); the first is thread 1. */
export function threadIdentities(config: ResolvedConfig, identity: string): readonly ThreadIdentity[] {
  const { applicationId, groupInstanceId, threads } = config;
  return Array.from({ length: threads.count }, (_, at) => {
    const own = `${identity}-${at + 1}`;
    const named = threads.count === 1 ? groupInstanceId : groupInstanceId && `${groupInstanceId}-${at + 1}`;
    return { groupInstanceId: named ?? own, transactionalId: `${applicationId}-${own}` };
  });
}

/** One thread works in the main thread; several each in a worker, so that the main one is free for whoever asks it something. */
export function openThreads(
  topology: ProcessorTopology,
  config: ResolvedConfig,
  files: StateFiles,
  identities: readonly ThreadIdentity[],
): readonly Thread[] {
  const { threads, metrics, logger } = config;
  if (threads.count === 1)
    return identities.map((identity) => new LocalThread({ topology, config, files, ...identity }));
  const share = (bytes: number): number => Math.max(BYTES_MAX_MIN, Math.floor(bytes / threads.count));
  const shared = {
    ...sharedConfig(config),
    cacheBytesMax: share(config.cacheBytesMax),
    bufferedBytesMax: share(config.bufferedBytesMax),
  };
  const onSourcesFound = together(config.onSourcesFound);
  return identities.map(({ groupInstanceId, transactionalId }, at) => {
    const setup = {
      isStreamThread: true as const,
      number: at + 1,
      module: String(threads.module),
      data: threads.data,
      topologyHash: topology.hash,
      config: shared,
      directory: files.directory,
      groupInstanceId,
      transactionalId,
    };
    return new WorkerThread({ setup, threads, metrics, logger, onSourcesFound });
  });
}

/** Threads that begin at the same time need their output topics made once. */
function together(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}
