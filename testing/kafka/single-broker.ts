/** A throwaway Kafka: one broker, KRaft, one replica of everything. */
export interface LocalKafka {
  readonly brokers: readonly string[];
  /** Ends it, in order if a directory was given; else its data goes with it, and is not worth the 10 s that an order may take. */
  stop(): Promise<void>;
  /** As a crash would; `restart` brings it back with its data. */
  kill(): Promise<void>;
  /** Stops it in order if it runs, and starts it again with the same address and data. */
  restart(): Promise<void>;
}

export interface LocalKafkaOptions {
  /** A free one by default. */
  readonly port?: number;
  /** Where its data and log stand, and stay. By default a temporary one; a container has its own. */
  readonly directory?: string;
  /** Further listeners beside the plaintext one: the port of each security protocol. */
  readonly listeners?: Readonly<Record<string, number>>;
  /** Users that log in with SCRAM, each for both of its mechanisms. */
  readonly scramUsers?: Readonly<Record<string, { readonly password: string }>>;
  /** Server properties on top of ours. */
  readonly properties?: Readonly<Record<string, string>>;
}

export const SINGLE_BROKER_PROPERTIES: Readonly<Record<string, string>> = {
  "process.roles": "broker,controller",
  "node.id": "1",
  "controller.listener.names": "CONTROLLER",
  "inter.broker.listener.name": "PLAINTEXT",
  "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL",
  "auto.create.topics.enable": "false",
  "offsets.topic.replication.factor": "1",
  "offsets.topic.num.partitions": "4",
  "transaction.state.log.replication.factor": "1",
  "transaction.state.log.min.isr": "1",
  "transaction.state.log.num.partitions": "4",
  "group.initial.rebalance.delay.ms": "0",
};

export const SCRAM_MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-512"] as const;

/** The properties that say where the broker listens; the bind host is empty where a container maps its ports. */
export function listenerProperties(
  bindHost: string,
  ports: { readonly plaintext: number; readonly controller: number },
  further: Readonly<Record<string, number>> = {},
): Record<string, string> {
  const clients = Object.entries({ PLAINTEXT: ports.plaintext, ...further });
  const bound = clients.map(([name, port]) => `${name}://${bindHost}:${port}`);
  return {
    "controller.quorum.voters": `1@127.0.0.1:${ports.controller}`,
    listeners: [...bound, `CONTROLLER://${bindHost}:${ports.controller}`].join(","),
    "advertised.listeners": clients.map(([name, port]) => `${name}://127.0.0.1:${port}`).join(","),
  };
}
