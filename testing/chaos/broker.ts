import { join } from "node:path";
import { freePort } from "../kafka/free-port.js";
import { startJarKafka } from "../kafka/jar-kafka.js";
import type { LocalKafka } from "../kafka/single-broker.js";
import type { Namespaces } from "./namespaces.js";

export interface ChaosBroker {
  readonly kafka: LocalKafka;
  /** As the instances reach it. */
  readonly address: string;
  isUp: boolean;
}

/** One broker that comes back with its data; with namespaces it has a second listener, at the end of their cables. */
export async function startBroker(directory: string, namespaces: Namespaces | undefined): Promise<ChaosBroker> {
  const [port, fleetPort, controller] = [await freePort(), await freePort(), await freePort()];
  // A killed broker may come back when its session in the controller is over: 9 s by default.
  const quick = {
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "250",
    "group.min.session.timeout.ms": "1000",
  };
  const cabled = (host: string): Record<string, string> => ({
    "controller.quorum.voters": `1@127.0.0.1:${controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},FLEET://${host}:${fleetPort},CONTROLLER://127.0.0.1:${controller}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${port},FLEET://${host}:${fleetPort}`,
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,FLEET:PLAINTEXT",
  });
  const properties = { ...quick, ...(namespaces === undefined ? {} : cabled(namespaces.hostAddress)) };
  const kafka = await startJarKafka({ port, directory: join(directory, "broker"), properties });
  const address = namespaces === undefined ? `127.0.0.1:${port}` : `${namespaces.hostAddress}:${fleetPort}`;
  return { kafka, address, isUp: true };
}
