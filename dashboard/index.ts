// The door `millrace/dashboard`.
export { Dashboard, type DashboardOptions, type WatchedStreams } from "./dashboard.js";
export type { Cell, Column, ColumnKind, Row } from "./messages.js";
export { type OpenWindowsOptions, openWindows } from "./open-windows.js";
export type { Lookup, Panel, PanelRows } from "./panels.js";
export type { SampledStreams } from "./sampler.js";
export { type FeedRecord, type TopicFeedOptions, topicFeed } from "./topic-feed.js";
