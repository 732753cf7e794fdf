import { PrepareError, type SerdeUse, type Serializer } from "../serdes/serde.js";
import type { ProcessorTopology } from "../topology/processor-topology.js";
import { FatalError, UnavailableError } from "./errors.js";

/**
 * Lets every serde of a topology that needs it make itself ready, for each use.
 *
 * @throws FatalError SERDE_REFUSED when one can never work, as an incompatible schema
 * @throws UnavailableError when what it needs is away
 */
export async function prepareSerdes(topology: ProcessorTopology): Promise<void> {
  for (const { serde, use, where } of usesOf(topology)) {
    try {
      await serde.prepare?.(use);
    } catch (error) {
      if (!(error instanceof PrepareError)) throw error;
      const message = `${where}: ${error.message}`;
      if (error.isRetriable) throw new UnavailableError(message, { cause: error });
      throw new FatalError("SERDE_REFUSED", message, { cause: error });
    }
  }
}

interface Use {
  readonly serde: Serializer<never>;
  readonly use: SerdeUse;
  readonly where: string;
}

function usesOf(topology: ProcessorTopology): Use[] {
  return topology.subTopologies.flatMap(({ sources, sinks, stores }) => [
    ...sources.flatMap(({ name, key, value }) => both("read", `source "${name}"`, key, value)),
    ...stores.flatMap(({ name, key, value }) => both("store", `store "${name}"`, key, value)),
    ...sinks.flatMap(({ name, key, value }) => both("write", `sink "${name}"`, key, value)),
  ]);
}

function both(use: SerdeUse, where: string, key: Serializer<never>, value: Serializer<never>): Use[] {
  return [
    { serde: key, use, where: `${where}, key` },
    { serde: value, use, where: `${where}, value` },
  ];
}
