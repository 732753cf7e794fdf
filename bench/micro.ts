import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JSON_FORMAT } from "../apps/purchase/format.js";
import { GRACE_MS, WINDOW_MS } from "../apps/purchase/model.js";
import { partitionOf } from "../runtime/partitioner.js";
import { BATCH_RECORDS_MAX, RecordBatch } from "../runtime/record-batch.js";
import { RecordCursor } from "../runtime/record-cursor.js";
import { unvalidatedJson } from "../serdes/json.js";
import { type Serde, string } from "../serdes/serde.js";
import { windowed } from "../serdes/windowed.js";
import { openTaskState } from "../stores/open-stores.js";
import type { Checkpoint } from "../stores/task-state.js";
import type { StoreSpec, WindowStore } from "../topology/state-store.js";
import type { Bench } from "./bench.js";
import { userName } from "./oracle.js";
import { PurchaseSource } from "./purchase-source.js";
import { median } from "./statistics.js";

const ITEMS = 20_000;
const USERS = 5_000;
const ROUNDS = 9;
/** For the compiler; not counted. */
const WARM_UP_ROUNDS = 3;
const START_MS = 1_760_000_100_000;
const FETCHED = { partition: 0, offset: 0, topic: "bench", aborted: [] };

const STORE: StoreSpec = {
  ...{ kind: "window", name: "bench", changelog: true, sizeMs: WINDOW_MS, retentionMs: WINDOW_MS + GRACE_MS },
  key: string as Serde<unknown>,
  value: unvalidatedJson<{ sum: number }>() as Serde<unknown>,
};

/** One hot part: what it does to all its items, after what it needs was made ready. */
interface HotPart {
  readonly name: string;
  readonly items: number;
  /** Makes ready and returns the work; it is asked anew in each round. */
  readonly prepare: () => { readonly work: () => void; readonly close?: () => void };
}

function purchases(): { readonly key: Buffer; readonly value: Buffer }[] {
  const source = new PurchaseSource({ seed: 1, users: USERS, partitions: 1, late: 0.1 });
  return Array.from({ length: ITEMS }, (_, at) => {
    const { key, value } = source.next(START_MS + at);
    return { key, value };
  });
}

function batchesOf(records: readonly { readonly key: Buffer; readonly value: Buffer }[]): Buffer[] {
  const sealed: Buffer[] = [];
  for (let from = 0; from < records.length; ) {
    const batch = new RecordBatch();
    for (let count = 0; count < BATCH_RECORDS_MAX && from < records.length; count++, from++) {
      const { key, value } = records[from]!;
      if (!batch.hasRoomFor(key, value)) break;
      batch.append(START_MS + from, key, value, []);
    }
    sealed.push(Buffer.from(batch.seal()));
  }
  return sealed;
}

function codecParts(records: readonly { readonly key: Buffer; readonly value: Buffer }[]): HotPart[] {
  const sealed = batchesOf(records);
  const keys = windowed(string, { sizeMs: WINDOW_MS });
  const rows = Array.from({ length: ITEMS }, (_, at) => ({
    key: userName(at % USERS),
    window: { startMs: START_MS, endMs: START_MS + WINDOW_MS },
  }));
  return [
    {
      name: "decode a record of a batch",
      items: ITEMS,
      prepare: () => ({
        work: () => {
          for (const one of sealed) {
            const cursor = new RecordCursor({ ...FETCHED, records: one });
            while (cursor.next()) if (cursor.value === null) throw new Error("a value is missing");
          }
        },
      }),
    },
    {
      name: "encode a record into a batch",
      items: ITEMS,
      prepare: () => ({ work: () => void batchesOf(records) }),
    },
    {
      name: "parse and check a purchase (JSON)",
      items: ITEMS,
      prepare: () => ({
        work: () => {
          for (const { value } of records) JSON_FORMAT.purchase.deserialize(value);
        },
      }),
    },
    {
      name: "JSON.parse alone",
      items: ITEMS,
      prepare: () => ({
        work: () => {
          for (const { value } of records) JSON.parse(value.toString("utf8"));
        },
      }),
    },
    {
      name: "hash a key to its partition",
      items: ITEMS,
      prepare: () => ({
        work: () => {
          for (const { key } of records) partitionOf(key, 9);
        },
      }),
    },
    {
      name: "write a windowed key",
      items: ITEMS,
      prepare: () => ({
        work: () => {
          for (const row of rows) keys.serialize(row);
        },
      }),
    },
  ];
}

function checkpoint(commitNumber: number): Checkpoint {
  const nothing = { sourceOffsets: [], changelogOffsets: {}, clocks: {}, topicIds: {} };
  return { commitNumber, ...nothing, wallClockMs: START_MS };
}

/** A state file with a row for each user, or none. */
function openState(isFilled: boolean) {
  const directory = mkdtempSync(join(tmpdir(), "millrace-micro-"));
  const open = () => openTaskState({ file: join(directory, "state.db"), stores: [STORE] });
  let state = open();
  const put = (from: number): void => {
    const store = state.store("bench") as WindowStore<string, { sum: number }>;
    for (let at = 0; at < USERS; at++) store.put(userName(at), START_MS, { sum: from + at }, START_MS);
    state.keep();
  };
  if (isFilled) {
    put(0);
    state.take();
    state.apply(checkpoint(1), { bench: 0 });
    state.close();
    state = open();
  }
  const close = (): void => {
    state.close();
    rmSync(directory, { recursive: true, force: true });
  };
  return { state, store: state.store("bench") as WindowStore<string, { sum: number }>, put, close };
}

function storeParts(): HotPart[] {
  return [
    {
      name: "read and write a row in the write buffer",
      items: ITEMS,
      prepare: () => {
        const { state, store, put, close } = openState(false);
        put(0);
        const work = (): void => {
          for (let at = 0; at < ITEMS; at++) {
            const key = userName(at % USERS);
            store.put(key, START_MS, { sum: (store.get(key, START_MS)?.value.sum ?? 0) + 1 }, START_MS);
            state.keep();
          }
        };
        return { work, close };
      },
    },
    {
      name: "serialize a changed row",
      items: USERS,
      prepare: () => {
        const { state, put, close } = openState(false);
        put(0);
        return { work: () => void state.take(), close };
      },
    },
    {
      name: "write a row to SQLite",
      items: USERS,
      prepare: () => {
        const { state, put, close } = openState(false);
        put(0);
        state.take();
        return { work: () => state.apply(checkpoint(1), { bench: 0 }), close };
      },
    },
    {
      name: "read a row from SQLite",
      items: USERS,
      prepare: () => {
        const { store, close } = openState(true);
        const work = (): void => {
          for (let at = 0; at < USERS; at++) {
            if (store.get(userName(at), START_MS) === undefined) throw new Error("a row is missing");
          }
        };
        return { work, close };
      },
    },
  ];
}

/** CPU per item of the parts that every record goes through: one thread, no broker, the median of nine rounds. */
export function micro(bench: Bench): void {
  bench.progress.begin("hot parts");
  const rounds = bench.options.isQuick ? 3 : ROUNDS;
  for (const { name, items, prepare } of [...codecParts(purchases()), ...storeParts()]) {
    const micros: number[] = [];
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      const { work, close } = prepare();
      const before = process.cpuUsage();
      work();
      const { user, system } = process.cpuUsage(before);
      close?.();
      if (round >= 0) micros.push((user + system) / items);
    }
    const figures = { microsPerItem: Math.round(median(micros) * 1_000) / 1_000, leastMicros: Math.min(...micros) };
    bench.results.add({ part: "micro", contender: "millrace", variant: name, round: 1, figures });
  }
  bench.progress.end("done");
}
