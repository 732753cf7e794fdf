import type { TopicNames } from "./topics.js";

/** The topics' names by default, as the contract has them. */
export const names: TopicNames = {
  inputTopic: "purchases",
  outputTopic: "purchase-aggregates",
  lateTopic: "late-purchases",
  expiredTopic: "expired-purchases",
  deadLetterTopic: "purchases-dead-letter",
};
