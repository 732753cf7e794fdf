import { string } from "../../serdes/serde.js";
import { untilWindowCloses } from "../../topology/dsl-options.js";
import { hopping, type TimeWindows, tumbling } from "../../topology/windows.js";
import {
  append,
  type Definitions,
  firstWord,
  long,
  longs,
  type Params,
  text,
  texts,
  windowedKey,
} from "./definition.js";

const outputs = { out: windowedKey };
const out = { outputs, windows: (p: Params) => ({ sizeMs: p("sizeMs"), retentionMs: p("sizeMs") + p("graceMs") }) };

const tumblingOf = (p: Params): TimeWindows => tumbling({ sizeMs: p("sizeMs"), graceMs: p("graceMs") });
const hoppingOf = (p: Params): TimeWindows =>
  hopping({ sizeMs: p("sizeMs"), advanceMs: p("advanceMs"), graceMs: p("graceMs") });

// Kafka Streams loses final results with its default retention (notes on the vectors, 17), so those were recorded with a longer one.
const retentionMs = (p: Params): number => 10 * (p("sizeMs") + p("graceMs"));
const outLong = { outputs, windows: (p: Params) => ({ sizeMs: p("sizeMs"), retentionMs: retentionMs(p) }) };

/** Aggregates in tumbling and hopping windows. */
export const windows: Definitions = {
  "tumbling-count-no-grace": {
    outputs,
    windows: (p) => ({ sizeMs: p("sizeMs"), retentionMs: p("sizeMs") }),
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(tumbling({ sizeMs: p("sizeMs"), graceMs: 0 }))
        .count("counts", { cache })
        .toStream()
        .to("out", { value: long });
    },
  },
  "tumbling-count-grace": {
    ...out,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(tumblingOf(p))
        .count("counts", { cache })
        .toStream()
        .to("out", { value: long });
    },
  },
  "tumbling-sum-grace": {
    ...out,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(tumblingOf(p))
        .aggregate("sums", { initial: () => 0, add: (sum, v) => sum + v, value: long, cache })
        .toStream()
        .to("out");
    },
  },
  "tumbling-reduce": {
    ...out,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(tumblingOf(p))
        .reduce("maxima", (a, b) => (Math.max(a, b) % 5 === 0 ? null : Math.max(a, b)), { cache })
        .toStream()
        .to("out");
    },
  },
  "tumbling-count-null-values": {
    ...out,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(tumblingOf(p))
        .count("counts", { cache })
        .toStream()
        .to("out", { value: long });
    },
  },
  "tumbling-group-by": {
    ...out,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", texts)
        .groupBy(firstWord, { key: string })
        .windowedBy(tumblingOf(p))
        .count("counts", { cache })
        .toStream()
        .to("out", { value: long });
    },
  },
  "hopping-count": {
    ...out,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(hoppingOf(p))
        .count("counts", { cache })
        .toStream()
        .to("out", { value: long });
    },
  },
  "hopping-list": {
    ...out,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(hoppingOf(p))
        .aggregate("lists", { initial: () => "", add: append, value: text, cache })
        .toStream()
        .to("out");
    },
  },
  "tumbling-suppress": {
    ...out,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(tumblingOf(p))
        .count("counts", { cache })
        .suppress(untilWindowCloses)
        .toStream()
        .to("out", { value: long });
    },
  },
  "hopping-suppress": {
    ...out,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(hoppingOf(p))
        .count("counts", { cache })
        .suppress(untilWindowCloses)
        .toStream()
        .to("out", { value: long });
    },
  },
  "tumbling-on-close": {
    ...outLong,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(tumblingOf(p))
        .emit("on-window-close")
        .aggregate("sums", {
          initial: () => 0,
          add: (sum, v) => sum + v,
          value: long,
          cache,
          retentionMs: retentionMs(p),
        })
        .toStream()
        .to("out");
    },
  },
  "hopping-on-close": {
    ...outLong,
    build: (builder, p, { cache }) => {
      builder
        .stream("in", longs)
        .groupByKey()
        .windowedBy(hoppingOf(p))
        .emit("on-window-close")
        .count("counts", { cache, retentionMs: retentionMs(p) })
        .toStream()
        .to("out", { value: long });
    },
  },
};
