import { StreamsError } from "../topology/errors.js";
import type { TopicPartition } from "../topology/record.js";

// Named by the reaction they call for. Errors of one record go to its handler (topology/errors.ts, ProcessingError).

/** A setting is wrong: change it and start again. One line per fault, each naming its key. */
export class ConfigError extends StreamsError {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super("INVALID_CONFIG", faults.join("\n"));
    this.faults = faults;
  }
}

/** The application must stop: going on would lose, double or hide data, or can never work. */
export class FatalError extends StreamsError {}

/** What an authorizer grants or refuses, in the words of Kafka's own tools. */
export interface Acl {
  readonly operation: "Read" | "Write" | "Create" | "Delete" | "Describe" | "DescribeConfigs" | "IdempotentWrite";
  readonly resource: "topic" | "group" | "transactional id" | "cluster";
  /** `kafka-cluster` for the cluster. */
  readonly name: string;
}

/** The brokers' authorizer refuses what this client cannot do without: grant the ACL, and start again. */
export class NotAuthorizedError extends FatalError {
  readonly acl: Acl;

  /** `doing` goes on after "may not". */
  constructor(acl: Acl, doing: string, options?: { readonly cause?: unknown }) {
    const { operation, resource, name } = acl;
    super(
      "NOT_AUTHORIZED",
      `this client may not ${doing}: grant it ${operation} on ${resource} "${name}" by an ACL`,
      options,
    );
    this.acl = acl;
  }
}

/** This member no longer owns what it worked on: drop every buffer, join again, reopen from what Kafka says was committed. */
export class FencedError extends StreamsError {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super("FENCED", message, options);
  }
}

/** Another process has joined as this group instance: both of them going on would fence each other for ever (protocol 11). */
export class InstanceFencedError extends FencedError {}

/** Whether a commit happened is not known: the same safe path as for a fenced member, and Kafka tells which. */
export class AmbiguousCommitError extends StreamsError {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super("COMMIT_OUTCOME_UNKNOWN", message, options);
  }
}

/** A transaction that commits these offsets is still open: ask again soon. */
export class UnstableOffsetsError extends StreamsError {
  constructor(readonly partitions: readonly TopicPartition[]) {
    super(
      "UNSTABLE_OFFSETS",
      `offsets of ${partitions.map((p) => `${p.topic}-${p.partition}`).join(", ")} wait for an open transaction`,
    );
  }
}

/** The brokers cannot be reached or do not answer in time: back off and try again. */
export class UnavailableError extends StreamsError {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super("BROKER_UNAVAILABLE", message, options);
  }
}

export type StoreUnavailableCode = "NOT_RUNNING" | "STORE_RESTORING" | "STORE_MOVED";

/**
 * The rows that a query asks for are not here now: ask again soon (`NOT_RUNNING`, `STORE_RESTORING`), or another instance
 * (`STORE_MOVED`). Kafka Streams' InvalidStateStoreException.
 */
export class StoreUnavailableError extends StreamsError {
  declare readonly code: StoreUnavailableCode;

  constructor(code: StoreUnavailableCode, message: string) {
    super(code, message);
  }
}
