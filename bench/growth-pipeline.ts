// The purchase pipeline for `make growth`: as `purchase run`, but expired changelog records are deleted after 2 s, not 10
// minutes, because here ten minutes of event time pass in a fraction of a second.

import { purchaseTopology } from "../apps/purchase/topology.js";
import { KafkaJsTransport, run } from "../index.js";
import { silentLogger } from "../runtime/logger.js";

const [brokers = "", applicationId = "", inputTopic = "", stateDir = ""] = process.argv.slice(2);
const names = {
  inputTopic,
  outputTopic: `${applicationId}-out`,
  lateTopic: `${applicationId}-late`,
  expiredTopic: `${applicationId}-expired`,
  deadLetterTopic: `${applicationId}-dead`,
};

process.exitCode = await run(
  purchaseTopology({ ...names, emit: "update" }).build(),
  {
    applicationId,
    stateDir,
    changelogDeleteDelayMs: 2_000,
    transport: new KafkaJsTransport({ client: { brokers: brokers.split(",") }, logger: silentLogger }),
    logger: {
      ...silentLogger,
      info: (_, message) => console.log(message),
      error: (_, message) => console.error(message),
    },
  },
  { http: { port: 0 } },
);
