// The door `millrace/dashboard`.
export { Dashboard, type DashboardOptions, type WatchedStreams } from "./dashboard.js";
export type { Cell, Column, ColumnKind, Row } from "./messages.js";
export type { Lookup, Panel } from "./panels.js";
export { type FeedRecord, type TopicFeedOptions, topicFeed } from "./topic-feed.js";
