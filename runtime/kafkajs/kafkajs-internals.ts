import { createRequire } from "node:module";
import type { Socket } from "node:net";
import { AssignerProtocol, Kafka, type KafkaConfig, logLevel } from "kafkajs";
import { ConfigError, FatalError } from "../errors.js";
import type { Logger } from "../logger.js";
import { connectFailure, isCutInHandshake, loginExpected } from "./connect-failure.js";
import { CODE } from "./protocol-errors.js";
import { answersInPlain, hasAnsweredInTls, reset, watchedSockets } from "./sockets.js";
import { tlsFaults } from "./tls-material.js";
import { WireWriter } from "./wire.js";

// Every place where KafkaJS is reached below its public interface. It is frozen (its last release is of February 2023),
// and the exact version is checked, so nothing moves underneath; `selfCheck` says at start what is not as expected.

const KAFKAJS_VERSION = "2.2.4";
const CONNECTION_TIMEOUT_MS = 5_000;
const AUTHENTICATION_TIMEOUT_MS = 10_000;

/** One request in one version of its form, and how to read its answer. */
export interface WireRequest<T> {
  readonly apiName: string;
  readonly apiKey: number;
  readonly apiVersion: number;
  /** Without the header that all requests share; in parts, so that record batches need no copies. */
  encode(): readonly Buffer[] | Promise<readonly Buffer[]>;
  decode(payload: Buffer): T | Promise<T>;
}

interface RequestQueue {
  readonly pending: readonly unknown[];
  throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
  scheduleCheckPendingRequests(): void;
  maybeThrottle(clientSideThrottleTimeMs: number): void;
  push(request: {
    readonly entry: {
      readonly apiKey: number;
      readonly apiVersion: number;
      readonly apiName: string;
      readonly correlationId: number;
      resolve(answer: { readonly payload: Buffer }): void;
      reject(error: Error): void;
    };
    readonly expectResponse: boolean;
    readonly requestTimeout: null;
    sendRequest(): void;
  }): void;
  destroy(): void;
}

interface Connection {
  readonly requestQueue: RequestQueue;
  readonly clientId: string;
  readonly socket: Socket | undefined;
  isConnected(): boolean;
  isAuthenticated(): boolean;
  rejectRequests(error: Error): void;
  nextCorrelationId(): number;
}

interface ConnectionPool {
  readonly host: string;
  readonly port: number;
  readonly sasl: unknown;
  readonly pool: readonly Connection[];
}

interface Broker {
  readonly connectionPool: ConnectionPool;
  readonly versions: Readonly<Record<string, { readonly maxVersion: number }>> | null;
  connect(): Promise<void>;
}

interface Cluster {
  readonly connectionPoolBuilder: { build(address?: BrokerAddress): Promise<ConnectionPool> };
  readonly brokerPool: { createBroker(options: { connectionPool: ConnectionPool; logger: unknown }): Broker };
}

type CreateCluster = (options: { allowAutoTopicCreation: boolean; maxInFlightRequests: null }) => Cluster;

type Protocol = (parameters: object) => {
  readonly request: {
    readonly apiKey: number;
    readonly apiVersion: number;
    readonly apiName: string;
    encode(): Promise<{ readonly buffer: Buffer }>;
  };
  readonly response: { decode(payload: Buffer): Promise<unknown> };
};

type RequestTable = Readonly<Record<string, { protocol(options: { version: number }): Protocol | undefined }>>;

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

const require = createRequire(import.meta.url);
const { requests } = require("kafkajs/src/protocol/requests/index.js") as { requests: RequestTable };

/** The requests that KafkaJS writes for us, in the versions used. */
const KAFKAJS_REQUESTS = {
  ListOffsets: 3,
  GroupCoordinator: 2,
  JoinGroup: 5,
  Heartbeat: 3,
  LeaveGroup: 3,
  SyncGroup: 3,
  DescribeGroups: 2,
  DeleteGroups: 1,
  CreateTopics: 3,
  DeleteTopics: 1,
  DeleteRecords: 1,
  InitProducerId: 1,
  AddPartitionsToTxn: 1,
  AddOffsetsToTxn: 1,
  EndTxn: 1,
  DescribeConfigs: 2,
  SaslHandshake: 1,
} as const;

/**
 * One of KafkaJS's own requests. Only its encoder and decoder are used: its `parse` turns error codes that it does not
 * know (PRODUCER_FENCED among them) into one and the same error.
 */
export function kafkaJsRequest<T>(api: keyof typeof KAFKAJS_REQUESTS, parameters: object): WireRequest<T> {
  const protocol = requests[api]?.protocol({ version: KAFKAJS_REQUESTS[api] });
  if (protocol === undefined) throw unexpected(`no request ${api} in version ${KAFKAJS_REQUESTS[api]}`);
  const { request, response } = protocol(parameters);
  return {
    apiName: request.apiName,
    apiKey: request.apiKey,
    apiVersion: request.apiVersion,
    encode: async () => [(await request.encode()).buffer],
    decode: (payload) => response.decode(payload) as Promise<T>,
  };
}

/** The consumer protocol's subscription, so that Kafka's tools can show the group. */
export function encodeSubscription(topics: readonly string[], userData: Uint8Array): Buffer {
  return AssignerProtocol.MemberMetadata.encode({ version: 1, topics: [...topics], userData: Buffer.from(userData) });
}

export function decodeSubscription(bytes: Buffer): Uint8Array {
  return AssignerProtocol.MemberMetadata.decode(bytes)?.userData ?? new Uint8Array();
}

export function encodeAssignment(userData: Uint8Array): Buffer {
  return AssignerProtocol.MemberAssignment.encode({ version: 1, assignment: {}, userData: Buffer.from(userData) });
}

export function decodeAssignment(bytes: Buffer): Uint8Array {
  return AssignerProtocol.MemberAssignment.decode(bytes)?.userData ?? new Uint8Array();
}

/** KafkaJS's own options, and where its log goes. */
export interface KafkaJsClientOptions {
  readonly client: KafkaConfig;
  readonly logger: Logger;
}

/** Opens connections with KafkaJS's sockets, TLS and SASL; its cluster, retries and metadata stay unused. */
export class KafkaJsClient {
  readonly #cluster: Cluster;
  readonly #logger: unknown;
  readonly #openTimeoutMs: number;
  readonly #options: KafkaConfig;

  /** @throws ConfigError when a certificate or key is none */
  constructor({ client, logger }: KafkaJsClientOptions) {
    const faults = tlsFaults(client.ssl);
    if (faults.length > 0) throw new ConfigError(faults);
    this.#options = client;
    const connectionTimeout = client.connectionTimeout ?? CONNECTION_TIMEOUT_MS;
    const authenticationTimeout = client.authenticationTimeout ?? AUTHENTICATION_TIMEOUT_MS;
    const kafka = new Kafka({
      clientId: "millrace",
      logLevel: logLevel.WARN,
      logCreator: bridgeTo(logger),
      ...client,
      connectionTimeout,
      authenticationTimeout,
      socketFactory: watchedSockets(client.socketFactory),
      // Requests have their deadlines here, with one timer each; KafkaJS's check wakes up ten times a second per connection.
      enforceRequestTimeout: false,
    });
    this.#cluster = createCluster(kafka)({ allowAutoTopicCreation: false, maxInFlightRequests: null });
    this.#logger = kafka.logger();
    this.#openTimeoutMs = 2 * connectionTimeout + authenticationTimeout;
  }

  /**
   * A connected and authenticated broker; without an address the next of the configured ones.
   * @throws FatalError AUTHENTICATION_FAILED, TLS_FAILED: what a setting has to mend
   * @throws ConnectionLostError
   */
  async open(address: BrokerAddress | undefined, signal: AbortSignal): Promise<OpenBroker> {
    const connectionPool = await this.#cluster.connectionPoolBuilder.build(address);
    const broker = this.#cluster.brokerPool.createBroker({ connectionPool, logger: this.#logger });
    const open = new OpenBroker(broker);
    let giveUp: (reason: Error) => void = () => undefined;
    const givenUp = new Promise<never>((_, reject) => {
      giveUp = reject;
    });
    const onAbort = (): void => giveUp(new Error("closed"));
    const timer = setTimeout(() => giveUp(new Error("no answer while connecting")), this.#openTimeoutMs);
    signal.addEventListener("abort", onAbort);
    try {
      // KafkaJS itself waits for ever when a connection dies in the middle of an authentication.
      await Promise.race([broker.connect(), givenUp]);
      return open;
    } catch (error) {
      const { isStillConnected, hasMetTls } = open;
      open.destroy(error instanceof Error ? error : new Error(String(error)));
      const { ssl, sasl } = this.#options;
      throw connectFailure({
        cause: error,
        address: open.address,
        hasClientCertificate: typeof ssl === "object" && ssl.cert !== undefined,
        mechanism: sasl?.mechanism,
        isStillConnected,
        shows: hasMetTls ? "tls" : (await this.#isPlain(error, connectionPool)) ? "plain" : undefined,
      });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Why a broker closed a connection before it answered anything: a listener with SASL hangs up on who does not log in.
   * Undefined when there is nothing to be found out.
   */
  async whyClosed(closed: OpenBroker, signal: AbortSignal): Promise<FatalError | undefined> {
    if (this.#options.sasl !== undefined || closed.hasAnswered || signal.aborted) return undefined;
    const again = await this.open(closed.hostAndPort, signal);
    const handshake = kafkaJsRequest<{ errorCode: number; enabledMechanisms: string[] }>("SaslHandshake", {
      mechanism: "PLAIN",
    });
    const giveUp = (): void => again.destroy(new Error("no answer while asking for logins"));
    const timer = setTimeout(giveUp, AUTHENTICATION_TIMEOUT_MS);
    signal.addEventListener("abort", giveUp);
    try {
      const { errorCode, enabledMechanisms } = await again.send(handshake, await handshake.encode());
      if (errorCode === CODE.ILLEGAL_SASL_STATE) return undefined;
      return loginExpected(closed.address, enabledMechanisms);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
      again.destroy(new Error("asked"));
    }
  }

  /** A client with sockets of its own may have a way there that a plain socket has not. */
  async #isPlain(error: unknown, { host, port }: BrokerAddress): Promise<boolean> {
    if (this.#options.socketFactory !== undefined || !isCutInHandshake(error)) return false;
    return answersInPlain(host, port);
  }
}

/**
 * One connection to a broker. KafkaJS keeps a second one for fetches; here whoever polls has brokers of his own.
 * A connection that broke is not used again: KafkaJS leaves a half-read answer in its buffer.
 */
export class OpenBroker {
  readonly #broker: Broker;
  readonly #connection: Connection;
  #isDestroyed = false;
  #hasAnswered = false;
  /** Requests on their way or at the broker. */
  #unanswered = 0;

  constructor(broker: Broker) {
    this.#broker = broker;
    const connection = broker.connectionPool.pool[0];
    if (connection === undefined) throw unexpected("a connection pool without a connection");
    this.#connection = connection;
    quietQueue(connection.requestQueue);
  }

  get address(): string {
    return `${this.#broker.connectionPool.host}:${this.#broker.connectionPool.port}`;
  }

  get hostAndPort(): BrokerAddress {
    const { host, port } = this.#broker.connectionPool;
    return { host, port };
  }

  /** True once a request was answered, those of the login not counted. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  get isStillConnected(): boolean {
    return !this.#isDestroyed && this.#connection.isConnected();
  }

  /** This client talks plain, and the broker has answered in TLS. */
  get hasMetTls(): boolean {
    return hasAnsweredInTls(this.#connection.socket);
  }

  /** False when the connection broke, or its SASL session nears its end: open another one. */
  get isUsable(): boolean {
    if (this.#isDestroyed || !this.#connection.isConnected()) return false;
    return !this.#broker.connectionPool.sasl || this.#connection.isAuthenticated();
  }

  /** The highest version of an API that this broker speaks, -1 for none. */
  maxVersion(apiKey: number): number {
    return this.#broker.versions?.[apiKey]?.maxVersion ?? -1;
  }

  /** As KafkaJS's own `send`, which copies every request twice into buffers that it fills with zeros first. */
  async send<T>(request: WireRequest<T>, encoded: readonly Buffer[]): Promise<T> {
    const { apiKey, apiVersion, apiName } = request;
    const { requestQueue, socket, clientId } = this.#connection;
    const correlationId = this.#connection.nextCorrelationId();
    const header = requestHeader({ apiKey, apiVersion, correlationId, clientId }, encoded);
    this.#unanswered++;
    const { payload } = await new Promise<{ readonly payload: Buffer }>((resolve, reject) => {
      if (!this.#connection.isConnected() || socket === undefined) throw new Error("not connected");
      requestQueue.push({
        entry: { apiKey, apiVersion, apiName, correlationId, resolve, reject },
        expectResponse: true,
        requestTimeout: null,
        sendRequest: () => {
          socket.cork();
          socket.write(header);
          for (const part of encoded) socket.write(part);
          socket.uncork();
        },
      });
    }).finally(() => this.#unanswered--);
    this.#hasAnswered = true;
    const answer = await request.decode(payload);
    requestQueue.maybeThrottle(throttleTimeOf(answer));
    return answer;
  }

  /** Ends it at once: `disconnect` would wait for answers that may never come. */
  destroy(reason: Error): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    const { requestQueue, socket } = this.#connection;
    const isUnanswered = this.#unanswered > 0;
    this.#connection.rejectRequests(reason);
    requestQueue.destroy();
    if (isUnanswered) reset(socket);
    else socket?.destroy();
  }
}

function requestHeader(
  fields: {
    readonly apiKey: number;
    readonly apiVersion: number;
    readonly correlationId: number;
    readonly clientId: string;
  },
  body: readonly Buffer[],
): Buffer {
  const out = new WireWriter(64).int16(fields.apiKey).int16(fields.apiVersion).int32(fields.correlationId);
  const rest = Buffer.concat(out.string(fields.clientId).parts);
  const length = body.reduce((sum, part) => sum + part.length, rest.length);
  return Buffer.concat([...new WireWriter(4).int32(length).parts, rest]);
}

/** How long the broker wants this client to be quiet; KafkaJS's decoders call it so, and ours do as well. */
function throttleTimeOf(answer: unknown): number {
  if (typeof answer !== "object" || answer === null || !("clientSideThrottleTime" in answer)) return 0;
  return Number(answer.clientSideThrottleTime) || 0;
}

/** KafkaJS re-arms this timer every millisecond on every idle connection: 5 % of a core for nothing, 0.2 % without. */
function quietQueue(queue: RequestQueue): void {
  queue.scheduleCheckPendingRequests = () => {
    if (queue.pending.length === 0 || queue.throttleCheckTimeoutId !== null) return;
    const waitMs = Math.max(10, queue.throttledUntil - Date.now());
    queue.throttleCheckTimeoutId = setTimeout(() => {
      queue.throttleCheckTimeoutId = null;
      queue.checkPendingRequests();
    }, waitMs);
  };
}

/** KafkaJS's connection errors go to debug: they are retried here, and whoever gives up says so. */
function bridgeTo(logger: Logger): NonNullable<KafkaConfig["logCreator"]> {
  return () =>
    ({ namespace, level, log }) => {
      const { message, timestamp: _timestamp, logger: _logger, ...data } = log;
      const line = `kafkajs: ${message}`;
      // A login that fails is said by whoever wanted the connection, with what to do about it.
      const isOfConnection = namespace === "Connection" || namespace.startsWith("SaslAuthenticator");
      if (level === logLevel.DEBUG || isOfConnection) logger.debug(data, line);
      else if (level === logLevel.INFO) logger.info(data, line);
      else if (level === logLevel.WARN) logger.warn(data, line);
      else logger.error(data, line);
    };
}

function createCluster(kafka: Kafka): CreateCluster {
  const name = Object.getOwnPropertySymbols(kafka).find((symbol) => symbol.description?.endsWith("createCluster"));
  const create = name === undefined ? undefined : (kafka as unknown as Record<symbol, unknown>)[name];
  if (typeof create !== "function") throw unexpected("no way to make a cluster from a client");
  return create as CreateCluster;
}

function unexpected(what: string): FatalError {
  return new FatalError(
    "KAFKAJS_INTERNALS",
    `KafkaJS is not as expected: ${what}; install kafkajs ${KAFKAJS_VERSION}, exactly`,
  );
}

/**
 * Fails at start, with a clear line, when KafkaJS is not the one that was tried.
 * @throws FatalError KAFKAJS_INTERNALS
 */
export async function selfCheck(): Promise<void> {
  const { version } = require("kafkajs/package.json") as { version: string };
  if (version !== KAFKAJS_VERSION) throw unexpected(`its version is ${version}`);
  const cluster = createCluster(new Kafka({ brokers: ["127.0.0.1:9"], logLevel: logLevel.NOTHING }))({
    allowAutoTopicCreation: false,
    maxInFlightRequests: null,
  });
  const { pool } = await cluster.connectionPoolBuilder.build({ host: "127.0.0.1", port: 9 });
  const connection = pool[0];
  if (typeof cluster.brokerPool.createBroker !== "function") throw unexpected("no way to make a broker");
  for (const name of ["isConnected", "isAuthenticated", "rejectRequests", "nextCorrelationId"] as const) {
    if (typeof connection?.[name] !== "function") throw unexpected(`a connection without ${name}`);
  }
  for (const name of ["push", "maybeThrottle", "scheduleCheckPendingRequests", "checkPendingRequests"] as const) {
    if (typeof connection?.requestQueue[name] !== "function") throw unexpected(`a request queue without ${name}`);
  }
  const heartbeat = kafkaJsRequest<unknown>("Heartbeat", {
    groupId: "g",
    groupGenerationId: 1,
    memberId: "m",
    groupInstanceId: "instance",
  });
  const encoded = await heartbeat.encode();
  if (!encoded[0]?.includes("instance")) throw unexpected("a heartbeat without its group instance id");
}
