import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { freePort } from "./free-port.js";
import { HOST, JarBroker } from "./jar-broker.js";
import { clusterId } from "./jar-kafka.js";
import { kafkaClassPath } from "./kafka-jars.js";
import { SINGLE_BROKER_PROPERTIES } from "./single-broker.js";

export interface PartitionState {
  readonly topic: string;
  readonly partition: number;
  /** Node id; -1 while there is none. */
  readonly leader: number;
  /** Node ids. */
  readonly inSync: readonly number[];
}

/** Brokers that replicate to each other, each with a node id. */
export interface LocalCluster {
  readonly brokers: readonly string[];
  readonly nodeIds: readonly number[];
  partitions(topics: readonly string[]): Promise<PartitionState[]>;
  /** As a crash would: what it led moves to others. */
  kill(nodeId: number): Promise<void>;
  /** Starts one that was killed, with its address and data. */
  restart(nodeId: number): Promise<void>;
  stop(): Promise<void>;
}

const NODES = [1, 2, 3] as const;
/** Three of these and a test fit beside each other, and each is started again and again: quick to start rather than fast. */
const FLAGS = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
const REPLICATION = {
  "default.replication.factor": "3",
  "min.insync.replicas": "2",
  "offsets.topic.replication.factor": "3",
  "transaction.state.log.replication.factor": "3",
  "transaction.state.log.min.isr": "2",
  // What a dead broker led moves after 2 s instead of 9, and one that comes back is let in as soon.
  "broker.session.timeout.ms": "2000",
  "broker.heartbeat.interval.ms": "250",
};

/** Three brokers from Apache Kafka's jars, each a controller as well: any one of them may die. */
export async function startJarCluster(properties: Readonly<Record<string, string>> = {}): Promise<LocalCluster> {
  const directory = await mkdtemp(join(tmpdir(), "millrace-cluster-"));
  const classPath = await kafkaClassPath();
  const nodes = new Map<number, { readonly broker: JarBroker; readonly port: number; readonly controller: number }>();
  for (const nodeId of NODES) {
    const [port, controller] = [await freePort(), await freePort()];
    const own = { directory: join(directory, String(nodeId)), port, classPath, flags: FLAGS };
    nodes.set(nodeId, { broker: new JarBroker(own), port, controller });
  }
  const all = [...nodes];
  const voters = all.map(([nodeId, { controller }]) => `${nodeId}@${HOST}:${controller}`).join(",");
  const brokerOf = (nodeId: number): JarBroker => {
    const node = nodes.get(nodeId);
    if (node === undefined) throw new Error(`there is no broker ${nodeId}`);
    return node.broker;
  };
  const stop = async (): Promise<void> => {
    await Promise.all(all.map(([, { broker }]) => broker.end("SIGKILL")));
    await rm(directory, { recursive: true, force: true });
  };
  const id = clusterId();
  try {
    await Promise.all(
      all.map(async ([nodeId, { broker, port, controller }]) => {
        await broker.format(id, {
          ...SINGLE_BROKER_PROPERTIES,
          ...REPLICATION,
          "node.id": String(nodeId),
          "controller.quorum.voters": voters,
          listeners: `PLAINTEXT://${HOST}:${port},CONTROLLER://${HOST}:${controller}`,
          "advertised.listeners": `PLAINTEXT://${HOST}:${port}`,
          "log.dirs": join(directory, String(nodeId), "data"),
          ...properties,
        });
        await broker.start();
      }),
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    brokers: all.map(([, { port }]) => `${HOST}:${port}`),
    nodeIds: NODES,
    partitions: (topics) =>
      partitionsOf(
        all.map(([, { port }]) => `${HOST}:${port}`),
        topics,
      ),
    kill: (nodeId) => brokerOf(nodeId).end("SIGKILL"),
    restart: (nodeId) => brokerOf(nodeId).start(),
    stop,
  };
}

/** Asked anew each time: a connection of before may lead to a broker that was killed. */
async function partitionsOf(brokers: string[], topics: readonly string[]): Promise<PartitionState[]> {
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
  try {
    await admin.connect();
    const answer = await admin.fetchTopicMetadata({ topics: [...topics] });
    return answer.topics.flatMap(({ name: topic, partitions }) =>
      partitions.map(({ partitionId: partition, leader, isr: inSync }) => ({ topic, partition, leader, inSync })),
    );
  } finally {
    await admin.disconnect();
  }
}
