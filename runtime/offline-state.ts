import { existsSync } from "node:fs";
import { UnusableStateError } from "../stores/errors.js";
import type { SqlResult } from "../stores/sql-query.js";
import { applicationDirectory, taskFilesOf } from "../stores/state-directory.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import type { ReadOnlyStore } from "../topology/read-only-store.js";
import { LocalState } from "./local-state.js";
import { type SqlOptions, SqlQueries } from "./sql-queries.js";
import { openReadOnlyStore } from "./store-queries.js";
import { formatTaskId } from "./task.js";

/** The state in a directory, without a broker. It may be in use: what its instance has committed is read. */
export interface OfflineState {
  store(name: string): ReadOnlyStore;
  sql(query: string, options?: SqlOptions): Promise<SqlResult>;
  close(): void;
}

/**
 * Opens a state directory for queries; nothing in it is changed. It has what its instance had when it last worked on each
 * partition, which may be with another instance now.
 *
 * @throws UnusableStateError when there is no state of this application
 */
export function openOfflineState(
  topology: ProcessorTopology,
  directory: { readonly stateDir: string; readonly applicationId: string },
): OfflineState {
  const path = applicationDirectory(directory);
  if (!existsSync(path)) {
    const message = `there is no state of "${directory.applicationId}": ${path}`;
    throw new UnusableStateError("STATE_DIRECTORY_UNUSABLE", message);
  }
  const filesOf = (stores: readonly { readonly name: string }[]) =>
    taskFilesOf(
      path,
      stores.map(({ name }) => name),
    );
  const tasks = topology.subTopologies.flatMap(({ id, stores }) =>
    filesOf(stores).map(({ partition }) => ({
      id: formatTaskId({ subTopology: id, partition }),
      state: "running",
    })),
  );
  const local = new LocalState({
    topology,
    status: () => ({ state: "RUNNING", reason: "offline", tasks }),
    layout: () => ({ taskCounts: [], hosts: [] }),
    taskFile: (stores, partition) => filesOf(stores).find((one) => one.partition === partition)?.file,
  });
  const queries = new SqlQueries(local);
  return {
    store: (name) => openReadOnlyStore(local, local.find(name)),
    sql: (query, options) => queries.run(query, options),
    close: () => {
      local.close();
      queries.close();
    },
  };
}
