/**
 * The base of every error of Millrace. `code` is stable and made for programs; the message says what is wrong, where,
 * and what to do next. Subclasses are named by the reaction they call for.
 */
export class StreamsError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** One thing that is wrong with a topology, and the node it is about. */
export interface TopologyFault {
  readonly code: string;
  readonly node: string;
  readonly message: string;
}

/** The topology cannot run: change the code. Holds every fault that was found, not only the first. */
export class TopologyError extends StreamsError {
  readonly faults: readonly TopologyFault[];

  constructor(faults: readonly TopologyFault[]) {
    const lines = faults.map((fault) => `  ${fault.node}: ${fault.message} [${fault.code}]`);
    super(
      "INVALID_TOPOLOGY",
      `the topology cannot run, ${faults.length} fault${faults.length === 1 ? "" : "s"}:\n${lines.join("\n")}`,
    );
    this.faults = faults;
  }
}

/** A callback, serde or aggregator threw on a record: the processing handler decides. Names the node. */
export class ProcessingError extends StreamsError {
  readonly node: string;

  constructor(node: string, cause: unknown) {
    super("PROCESSING_FAILED", `node "${node}": ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.node = node;
  }
}

/** A mistake in Millrace itself, or state that must not exist: never caught, never handled. */
export class InvariantError extends StreamsError {
  constructor(message: string) {
    super("INVARIANT", message);
  }
}

/** States why `condition` must hold; when it does not, going on would spoil data. */
export function invariant(condition: unknown, why: string): asserts condition {
  if (!condition) throw new InvariantError(why);
}
