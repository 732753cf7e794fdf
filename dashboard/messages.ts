// What the server says to the page; both sides are compiled against it. Times are milliseconds since the epoch by the
// server's clock; a page compares them with `atMs` of the same message, never with its own clock.

/** Sent once to each page that connects, and to one that has missed messages. */
export interface Hello {
  readonly applicationId: string;
  readonly title: string;
  /** Made anew at each start of the process: a page that sees another one has lost everything it knew. */
  readonly processId: string;
  readonly startedAtMs: number;
  readonly graph: Graph;
  readonly panels: readonly PanelDescription[];
  readonly lookups: readonly LookupDescription[];
  readonly history: History;
  readonly historyMax: number;
}

export interface Snapshot {
  readonly atMs: number;
  /** Null: the last point of the history is still the same. */
  readonly point: HistoryPoint | null;
  readonly state: string;
  readonly reason: string;
  readonly totals: Totals;
  readonly tasks: readonly TaskRow[];
  /** Tasks beyond the ones listed. */
  readonly tasksLeftOut: number;
  readonly stores: readonly StoreRow[];
  /** Records per second by edge of the graph; null where nothing counts them. */
  readonly edgeRates: readonly (number | null)[];
  readonly panels: readonly PanelData[];
}

export interface Totals {
  readonly records: number;
  readonly recordsPerSecond: number;
  readonly producedPerSecond: number;
  readonly lag: number;
  readonly commits: number;
  readonly failedCommits: number;
  readonly taskFailures: number;
  readonly dropped: number;
  readonly droppedLate: number;
  readonly deadLetters: number;
  readonly bufferedBytes: number;
  readonly rebalances: number;
}

export interface TaskRow {
  readonly id: string;
  readonly state: string;
  /** Changelog offsets, while restoring. */
  readonly done: number | null;
  readonly total: number | null;
  readonly lag: number | null;
  readonly streamTimeMs: number | null;
}

export interface StoreRow {
  readonly name: string;
  /** Null: not counted yet. */
  readonly rows: number | null;
  readonly rowsAtMs: number | null;
  /** Changelog offsets that are still to be read back. */
  readonly restoreRemaining: number;
  readonly restored: number;
  readonly changelogPerSecond: number;
}

// ---- the graph ----

export type GraphNodeKind = "topic" | "dead-letter" | "processor" | "store";

export interface GraphNode {
  readonly kind: GraphNodeKind;
  /** What it is called in metrics and the topology's description. */
  readonly name: string;
  /** The short name that is drawn. */
  readonly label: string;
  readonly subTopology: number | null;
}

export interface GraphEdge {
  /** Indexes of nodes. */
  readonly from: number;
  readonly to: number;
}

export interface Layout {
  readonly width: number;
  readonly height: number;
  /** Centre and size of each node, in the nodes' order. */
  readonly nodes: readonly {
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
  }[];
  /** Corners of each edge, in the edges' order. */
  readonly edges: readonly (readonly { readonly x: number; readonly y: number }[])[];
}

export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  /** From left to right, for wide screens. */
  readonly wide: Layout;
  /** From top to bottom, for narrow ones. */
  readonly tall: Layout;
}

// ---- plots ----

export const SERIES = [
  "consumedPerSecond",
  "producedPerSecond",
  "lag",
  "latencyP50Ms",
  "latencyP99Ms",
  "latenessP90Ms",
  "latenessP99Ms",
  "latePerSecond",
  "droppedLatePerSecond",
  "commitP50Ms",
  "commitP99Ms",
] as const;
export type SeriesName = (typeof SERIES)[number];

/** One moment: null where nothing is known of it. */
export interface HistoryPoint {
  readonly atMs: number;
  readonly values: readonly (number | null)[];
}

/** Columns, oldest first: the times, then the values of each of `SERIES`. */
export interface History {
  readonly atMs: readonly number[];
  readonly values: readonly (readonly (number | null)[])[];
}

// ---- panels and look-ups of the application ----

/** How a column is shown; `time` and `duration` are milliseconds, `money` whole cents. */
export type ColumnKind = "text" | "number" | "time" | "duration" | "money";

export interface Column {
  readonly title: string;
  readonly kind: ColumnKind;
}

export type Cell = string | number | null;
export type Row = readonly Cell[];

export interface PanelDescription {
  readonly name: string;
  readonly title: string;
  /** What is shown, and how fresh and complete it is, in a sentence. */
  readonly note: string;
  readonly columns: readonly Column[];
  /** What stands there while there are no rows. */
  readonly empty: string;
}

export interface PanelData {
  readonly rows: readonly Row[];
  /** When the rows were read; null before the first time. */
  readonly atMs: number | null;
  /** Why there is nothing newer. */
  readonly trouble: string | null;
  /** One line about the whole, as how many there were. */
  readonly summary: string;
}

export interface LookupDescription {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  readonly label: string;
  readonly placeholder: string;
  readonly columns: readonly Column[];
}

export interface LookupAnswer {
  readonly atMs: number;
  readonly rows: readonly Row[];
  readonly summary: string;
}
