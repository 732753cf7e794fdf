// The public door. Nothing inside imports it.
export type { StreamsMetrics } from "./metrics/metrics.js";
export type { Compression } from "./runtime/codecs.js";
export { CorruptBatchError } from "./runtime/compression.js";
export type { ProcessingGuarantee, StreamsConfig, ThreadFailureAction, ThreadsConfig } from "./runtime/config.js";
export { EmbeddedLog, type EmbeddedLogOptions } from "./runtime/embedded/embedded-log.js";
export { EmbeddedTransport, type EmbeddedTransportOptions } from "./runtime/embedded/transport.js";
export type { ErrorHandlers } from "./runtime/error-handling.js";
export {
  type Acl,
  AmbiguousCommitError,
  ConfigError,
  FatalError,
  FencedError,
  NotAuthorizedError,
  type StoreUnavailableCode,
  StoreUnavailableError,
  UnavailableError,
  UnstableOffsetsError,
} from "./runtime/errors.js";
export { type HttpEndpoints, type HttpOptions, serveHttp } from "./runtime/http-endpoints.js";
export { HttpError, type HttpRequest, type HttpRoute } from "./runtime/http-router.js";
export { KafkaJsTransport, type KafkaJsTransportOptions } from "./runtime/kafkajs/transport.js";
export { type Logger, silentLogger } from "./runtime/logger.js";
export { type OfflineState, openOfflineState } from "./runtime/offline-state.js";
export { partitionOf } from "./runtime/partitioner.js";
export { type NewRecord, RecordBatch } from "./runtime/record-batch.js";
export { RecordCursor } from "./runtime/record-cursor.js";
export { planReset, type ResetOptions, type ResetPlan, reset } from "./runtime/reset.js";
export { type RunOptions, run } from "./runtime/run.js";
export { QueryError, type QueryErrorCode } from "./runtime/sql-process.js";
export type { SqlOptions } from "./runtime/sql-queries.js";
export {
  KafkaStreams,
  type State,
  type StateListener,
  type StreamsStatus,
  type TaskStatus,
} from "./runtime/streams.js";
export {
  type Application,
  type ApplicationOptions,
  type BuildApplication,
  type BuildContext,
  type BuiltApplication,
  defineApplication,
} from "./runtime/threads/application.js";
export type * from "./runtime/transport.js";
export { VERSION } from "./runtime/version.js";
export type { SqlResult, SqlValue } from "./stores/sql-query.js";
export { describeState } from "./stores/state-directory.js";
export { compareWithState } from "./stores/stored-stores.js";
export * from "./topology/aggregators.js";
export { type DescribeFormat, describe } from "./topology/describe.js";
export { StreamsBuilder } from "./topology/dsl.js";
export type * from "./topology/dsl-options.js";
export { storeName, untilWindowCloses } from "./topology/dsl-options.js";
export type * from "./topology/dsl-types.js";
export { InvariantError, ProcessingError, StreamsError, TopologyError, type TopologyFault } from "./topology/errors.js";
export type {
  ErrorAction,
  ErrorHandler,
  ErrorStage,
  FailedRecord,
  ProcessorTopology,
} from "./topology/processor-topology.js";
export type * from "./topology/read-only-store.js";
export type { Header, Headers, RecordContext, TopicPartition } from "./topology/record.js";
export type { Row } from "./topology/state-store.js";
export type { StoreChange } from "./topology/store-changes.js";
export * from "./topology/windows.js";
