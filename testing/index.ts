export {
  type PipeOptions,
  type TestInputTopic,
  type TestKeyValueStore,
  type TestOutputTopic,
  type TestRecord,
  type TestWindowStore,
  TopologyTestDriver,
  type TopologyTestDriverOptions,
} from "./topology-test-driver.js";
