import { string } from "../../serdes/serde.js";
import {
  append,
  type Definitions,
  firstWord,
  group,
  long,
  longs,
  nullableKey,
  plainKey,
  text,
  texts,
} from "./definition.js";

const out = { outputs: { out: plainKey } };

/** Aggregates without windows. */
export const aggregations: Definitions = {
  count: {
    ...out,
    build: (builder, _, { cache }) => {
      builder.stream("in", longs).groupByKey().count("counts", { cache }).toStream().to("out", { value: long });
    },
  },
  "count-filter": {
    ...out,
    build: (builder, p, { cache }) => {
      const min = p("min");
      builder
        .stream("in", longs)
        .groupByKey()
        .count("counts", { cache })
        .filter((n) => n >= min)
        .mapValues((n) => n * 10)
        .toStream()
        .to("out", { value: long });
    },
  },
  reduce: {
    ...out,
    build: (builder, p, { cache }) => {
      const mod = p("mod");
      builder
        .stream("in", longs)
        .groupByKey()
        .reduce("sums", (a, b) => ((a + b) % mod === 0 ? null : a + b), { cache })
        .toStream()
        .to("out");
    },
  },
  aggregate: {
    ...out,
    build: (builder, p, { cache }) => {
      const mod = p("mod");
      builder
        .stream("in", longs)
        .groupByKey()
        .aggregate("lists", {
          initial: () => "",
          add: (list, v) => (v % mod === 0 ? null : append(list, v)),
          value: text,
          cache,
        })
        .toStream()
        .to("out");
    },
  },
  "group-by-count": {
    ...out,
    build: (builder, _, { cache }) => {
      builder
        .stream("in", texts)
        .groupBy(firstWord, { key: string })
        .count("counts", { cache })
        .toStream()
        .to("out", { value: long });
    },
  },
  "group-by-aggregate": {
    ...out,
    build: (builder, p, { cache }) => {
      const n = p("n");
      builder
        .stream("in", longs)
        .filter((v) => v !== null)
        .groupBy((v) => group(v, n), { key: string })
        .aggregate("sums", { initial: () => 0, add: (sum, v) => sum + v, value: long, cache })
        .toStream()
        .to("out");
    },
  },
  "select-key-reduce": {
    ...out,
    build: (builder, p, { cache }) => {
      const n = p("n");
      builder
        .stream("in", longs)
        .selectKey((v, { key }) => (v === null ? key : group(v, n)), { key: nullableKey })
        .groupByKey()
        .reduce("maxima", (a, b) => Math.max(a, b), { cache })
        .toStream()
        .to("out");
    },
  },
};
