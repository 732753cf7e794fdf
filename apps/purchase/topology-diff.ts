import { compareWithState, type ProcessorTopology, type StoreChange } from "millrace";

const OK = 0;
const REFUSED = 1;

/** `topology --diff`: a line for each store, or all as JSON, and an exit code that says whether `run` would start on that state. */
export function topologyDiff(
  topology: ProcessorTopology,
  directory: { readonly stateDir: string; readonly applicationId: string },
  { json }: { readonly json: boolean } = { json: false },
): { readonly text: string; readonly exitCode: number } {
  const changes = compareWithState(topology, directory);
  const isRefused = changes.some(({ refused }) => refused !== undefined);
  const lines = json ? [JSON.stringify(changes)] : changes.map(lineOf);
  return { text: lines.map((line) => `${line}\n`).join(""), exitCode: isRefused ? REFUSED : OK };
}

function lineOf({ store, what, refused, consequence }: StoreChange): string {
  if (refused !== undefined) return `refused  ${store}: ${refused}`;
  return `${what.padEnd(8)} ${store}${consequence === "" ? "" : `: ${consequence}`}`;
}
