import { StreamsError } from "../../topology/errors.js";

/** The error codes of the Kafka protocol that something here reacts to. */
export const CODE = {
  UNKNOWN_SERVER_ERROR: -1,
  NONE: 0,
  OFFSET_OUT_OF_RANGE: 1,
  CORRUPT_MESSAGE: 2,
  UNKNOWN_TOPIC_OR_PARTITION: 3,
  LEADER_NOT_AVAILABLE: 5,
  NOT_LEADER_OR_FOLLOWER: 6,
  REQUEST_TIMED_OUT: 7,
  BROKER_NOT_AVAILABLE: 8,
  REPLICA_NOT_AVAILABLE: 9,
  MESSAGE_TOO_LARGE: 10,
  OFFSET_METADATA_TOO_LARGE: 12,
  NETWORK_EXCEPTION: 13,
  COORDINATOR_LOAD_IN_PROGRESS: 14,
  COORDINATOR_NOT_AVAILABLE: 15,
  NOT_COORDINATOR: 16,
  INVALID_TOPIC_EXCEPTION: 17,
  RECORD_LIST_TOO_LARGE: 18,
  NOT_ENOUGH_REPLICAS: 19,
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 20,
  ILLEGAL_GENERATION: 22,
  INCONSISTENT_GROUP_PROTOCOL: 23,
  INVALID_GROUP_ID: 24,
  UNKNOWN_MEMBER_ID: 25,
  INVALID_SESSION_TIMEOUT: 26,
  REBALANCE_IN_PROGRESS: 27,
  TOPIC_AUTHORIZATION_FAILED: 29,
  GROUP_AUTHORIZATION_FAILED: 30,
  CLUSTER_AUTHORIZATION_FAILED: 31,
  INVALID_TIMESTAMP: 32,
  ILLEGAL_SASL_STATE: 34,
  UNSUPPORTED_VERSION: 35,
  TOPIC_ALREADY_EXISTS: 36,
  NOT_CONTROLLER: 41,
  POLICY_VIOLATION: 44,
  OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
  DUPLICATE_SEQUENCE_NUMBER: 46,
  INVALID_PRODUCER_EPOCH: 47,
  INVALID_TXN_STATE: 48,
  INVALID_PRODUCER_ID_MAPPING: 49,
  INVALID_TRANSACTION_TIMEOUT: 50,
  CONCURRENT_TRANSACTIONS: 51,
  TRANSACTION_COORDINATOR_FENCED: 52,
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 53,
  OPERATION_NOT_ATTEMPTED: 55,
  KAFKA_STORAGE_ERROR: 56,
  UNKNOWN_PRODUCER_ID: 59,
  NON_EMPTY_GROUP: 68,
  GROUP_ID_NOT_FOUND: 69,
  FENCED_LEADER_EPOCH: 74,
  UNKNOWN_LEADER_EPOCH: 75,
  OFFSET_NOT_AVAILABLE: 78,
  MEMBER_ID_REQUIRED: 79,
  GROUP_MAX_SIZE_REACHED: 81,
  FENCED_INSTANCE_ID: 82,
  INVALID_RECORD: 87,
  UNSTABLE_OFFSET_COMMIT: 88,
  THROTTLING_QUOTA_EXCEEDED: 89,
  PRODUCER_FENCED: 90,
  TRANSACTION_ABORTABLE: 120,
} as const;

const NAMES = new Map<number, string>(Object.entries(CODE).map(([name, code]) => [code, name]));

export function codeName(code: number): string {
  return NAMES.get(code) ?? `ERROR_${code}`;
}

/** The same request may succeed a little later, perhaps at another broker. */
const RETRIABLE: ReadonlySet<number> = new Set([
  CODE.UNKNOWN_SERVER_ERROR,
  CODE.CORRUPT_MESSAGE,
  CODE.UNKNOWN_TOPIC_OR_PARTITION,
  CODE.LEADER_NOT_AVAILABLE,
  CODE.NOT_LEADER_OR_FOLLOWER,
  CODE.REQUEST_TIMED_OUT,
  CODE.BROKER_NOT_AVAILABLE,
  CODE.REPLICA_NOT_AVAILABLE,
  CODE.NETWORK_EXCEPTION,
  CODE.COORDINATOR_LOAD_IN_PROGRESS,
  CODE.COORDINATOR_NOT_AVAILABLE,
  CODE.NOT_COORDINATOR,
  CODE.NOT_ENOUGH_REPLICAS,
  CODE.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  CODE.NOT_CONTROLLER,
  CODE.CONCURRENT_TRANSACTIONS,
  CODE.KAFKA_STORAGE_ERROR,
  CODE.FENCED_LEADER_EPOCH,
  CODE.UNKNOWN_LEADER_EPOCH,
  CODE.OFFSET_NOT_AVAILABLE,
  CODE.THROTTLING_QUOTA_EXCEEDED,
]);

const COORDINATOR_MOVED: ReadonlySet<number> = new Set([
  CODE.COORDINATOR_NOT_AVAILABLE,
  CODE.NOT_COORDINATOR,
  CODE.COORDINATOR_LOAD_IN_PROGRESS,
]);

/** The producer, its transaction or its generation is over: nothing it still holds may be committed. */
const FENCING: ReadonlySet<number> = new Set([
  CODE.OUT_OF_ORDER_SEQUENCE_NUMBER,
  CODE.DUPLICATE_SEQUENCE_NUMBER,
  CODE.UNKNOWN_PRODUCER_ID,
  CODE.INVALID_PRODUCER_EPOCH,
  CODE.PRODUCER_FENCED,
  CODE.INVALID_TXN_STATE,
  CODE.INVALID_PRODUCER_ID_MAPPING,
  CODE.TRANSACTION_COORDINATOR_FENCED,
  CODE.TRANSACTION_ABORTABLE,
  CODE.ILLEGAL_GENERATION,
  CODE.UNKNOWN_MEMBER_ID,
  CODE.FENCED_INSTANCE_ID,
  CODE.REBALANCE_IN_PROGRESS,
]);

export function isRetriableCode(code: number): boolean {
  return RETRIABLE.has(code);
}

export function isCoordinatorMoved(code: number): boolean {
  return COORDINATOR_MOVED.has(code);
}

export function isFencingCode(code: number): boolean {
  return FENCING.has(code);
}

/** A broker answered with an error. Stays inside this folder: what leaves it is a class of `runtime/errors.ts`. */
export class ProtocolError extends StreamsError {
  readonly errorCode: number;

  constructor(errorCode: number, doing: string, brokerMessage?: string | null) {
    super(codeName(errorCode), `${doing}: ${codeName(errorCode)}${brokerMessage ? ` (${brokerMessage})` : ""}`);
    this.errorCode = errorCode;
  }
}

/** A broker could not be reached, or the connection broke or fell silent. `sent`: the request may have taken effect. */
export class ConnectionLostError extends StreamsError {
  readonly sent: boolean;

  constructor(message: string, options: { readonly sent: boolean; readonly cause?: unknown }) {
    super("CONNECTION_LOST", message, options);
    this.sent = options.sent;
  }
}

export function throwIfFailed(errorCode: number, doing: string, brokerMessage?: string | null): void {
  if (errorCode !== CODE.NONE) throw new ProtocolError(errorCode, doing, brokerMessage);
}

export function isRetriable(error: unknown): boolean {
  return error instanceof ConnectionLostError || (error instanceof ProtocolError && isRetriableCode(error.errorCode));
}
