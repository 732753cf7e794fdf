import type { LocalState, QueriedStore } from "./local-state.js";

/** A store for who asks what there is: in names, sizes and numbers. */
export interface StoreInfo {
  readonly name: string;
  readonly kind: "key-value" | "window";
  /** Names of serdes. */
  readonly key: string;
  readonly value: string;
  /** Of windows; undefined without them. */
  readonly sizeMs: number | undefined;
  readonly retentionMs: number | undefined;
  /** Aggregators by field, where the rows are named aggregates. */
  readonly fields: Readonly<Record<string, string>> | undefined;
  /** Those that are here, with all their state. */
  readonly partitions: readonly number[];
  /** Undefined until the instance has joined its group. */
  readonly partitionCount: number | undefined;
}

export function storeInfo(store: QueriedStore, local: LocalState): StoreInfo {
  const { spec } = store;
  const isWindowed = spec.kind === "window";
  return {
    name: spec.name,
    kind: spec.kind,
    key: spec.key.name,
    value: spec.value.name,
    sizeMs: isWindowed ? spec.sizeMs : undefined,
    retentionMs: isWindowed ? spec.retentionMs : undefined,
    fields: spec.fields,
    partitions: local.partitions(store),
    partitionCount: local.partitionCount(store),
  };
}
